//! Authorizing at a registry: what it asks for, and the token of the service it names.
//!
//! Owns the challenge's grammar (RFC 9110 §11.6.1, as registries use it) and the distribution project's
//! token protocol. Never keeps a token: the endpoint does.

use std::collections::HashMap;

use base64::Engine as _;
use http::HeaderValue;
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;

use super::refusal::Refusal;
use super::{Credentials, chain, read_bounded};

const TOKEN_LIMIT_BYTES: usize = 1 << 20;

/// Why there is nothing to authorize with; the words are containerd's.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizeError {
    #[error("authorization failed: no basic auth credentials")]
    NoCredentials,
    #[error("failed to authorize: failed to fetch {kind} token: {reason}")]
    Token { kind: &'static str, reason: String },
    #[error("the registry asks for no known kind of authorization")]
    Unknown,
}

/// One way of authorizing that a registry offers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Challenge {
    /// In lower case.
    scheme: String,
    /// Names in lower case.
    parameters: HashMap<String, String>,
}

/// Answers `challenges` (the values of `WWW-Authenticate`) for pulling `repository`.
pub async fn authorize(
    client: &Client,
    credentials: &Credentials,
    repository: &str,
    challenges: &[String],
) -> Result<HeaderValue, AuthorizeError> {
    if let Credentials::Bearer(token) = credentials {
        return header("Bearer", token);
    }
    let challenges: Vec<Challenge> = challenges.iter().filter_map(|text| parse(text)).collect();
    let by = |scheme: &str| challenges.iter().find(|c| c.scheme == scheme);
    match (by("bearer"), credentials) {
        (Some(challenge), _) => {
            header("Bearer", &fetch_token(client, credentials, repository, challenge).await?)
        }
        (None, Credentials::Basic { user, password }) if by("basic").is_some() => {
            header("Basic", &base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
        }
        (None, _) if by("basic").is_some() => Err(AuthorizeError::NoCredentials),
        (None, _) => Err(AuthorizeError::Unknown),
    }
}

async fn fetch_token(
    client: &Client,
    credentials: &Credentials,
    repository: &str,
    challenge: &Challenge,
) -> Result<String, AuthorizeError> {
    let kind = if matches!(credentials, Credentials::Basic { .. }) { "oauth" } else { "anonymous" };
    let failed = |reason: String| AuthorizeError::Token { kind, reason };
    let parameter = |name: &str| challenge.parameters.get(name).map(String::as_str);
    let realm =
        parameter("realm").ok_or_else(|| failed("no realm specified for token auth challenge".to_owned()))?;
    let mut url: Url = realm.parse().map_err(|_| failed("invalid token auth challenge realm".to_owned()))?;
    if let Some(service) = parameter("service") {
        url.query_pairs_mut().append_pair("service", service);
    }
    let own_scope = format!("repository:{repository}:pull");
    url.query_pairs_mut().append_pair("scope", parameter("scope").unwrap_or(&own_scope));
    let mut request = client.get(url.clone());
    if let Credentials::Basic { user, password } = credentials {
        request = request.basic_auth(user, Some(password));
    }
    let response = request.send().await.map_err(|e| failed(chain(&e)))?;
    if response.status() != StatusCode::OK {
        return Err(failed(Refusal::read("GET", url.as_str(), response).await.to_string()));
    }
    let body = read_bounded(response, TOKEN_LIMIT_BYTES).await.map_err(|e| failed(chain(&e)))?;
    token(&body.unwrap_or_default())
        .ok_or_else(|| failed("authorization server did not include a token in the response".to_owned()))
}

fn token(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        token: String,
        #[serde(default)]
        access_token: String,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    [answer.token, answer.access_token].into_iter().find(|token| !token.is_empty())
}

fn header(scheme: &str, secret: &str) -> Result<HeaderValue, AuthorizeError> {
    let mut value = HeaderValue::try_from(format!("{scheme} {secret}")).map_err(|_| {
        AuthorizeError::Token { kind: "usable", reason: "it holds characters that cannot be sent".to_owned() }
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// One challenge: `Bearer realm="https://…",service="…",scope="a:b:pull,push"`.
fn parse(text: &str) -> Option<Challenge> {
    let (scheme, mut rest) = match text.trim().split_once(' ') {
        Some((scheme, rest)) => (scheme, rest),
        None => (text.trim(), ""),
    };
    if scheme.is_empty() {
        return None;
    }
    let mut parameters = HashMap::new();
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => quoted_value(quoted)?,
            None => {
                let end = after.find(',').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        parameters.insert(name.trim_matches([' ', ',', '\t']).to_lowercase(), value);
        rest = after;
    }
    Some(Challenge { scheme: scheme.to_lowercase(), parameters })
}

/// The text up to the closing quote, and what follows it.
fn quoted_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn challenge(text: &str) -> Option<(String, Vec<(String, String)>)> {
        let challenge = parse(text)?;
        let mut parameters: Vec<_> = challenge.parameters.into_iter().collect();
        parameters.sort();
        Some((challenge.scheme, parameters))
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let pairs = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(
            challenge(r#"Bearer realm="https://a/token",service="a b",scope="repository:x:pull,push""#),
            Some((
                "bearer".to_owned(),
                pairs(&[
                    ("realm", "https://a/token"),
                    ("scope", "repository:x:pull,push"),
                    ("service", "a b")
                ])
            ))
        );
        assert_eq!(
            challenge(r#"BASIC Realm = "say \"hi\"", charset=UTF-8"#),
            Some(("basic".to_owned(), pairs(&[("charset", "UTF-8"), ("realm", "say \"hi\"")])))
        );
        assert_eq!(challenge("Negotiate"), Some(("negotiate".to_owned(), vec![])));
        for broken in ["", " ", r#"Bearer realm="open"#, r#"Bearer realm="open\"#] {
            assert_eq!(challenge(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_token_comes_under_either_name() {
        assert_eq!(token(br#"{"token":"a","expires_in":1}"#).as_deref(), Some("a"));
        assert_eq!(token(br#"{"token":"","access_token":"b"}"#).as_deref(), Some("b"));
        for body in [&b"{}"[..], b"", b"[]", b"{\"token\":1}"] {
            assert_eq!(token(body), None);
        }
    }

    proptest! {
        #[test]
        fn any_challenge_is_read_or_refused(text in "[Bb]earer [a-z]{0,4}=\"?[^\"]{0,10}\"?,?[\\PC]{0,20}|\\PC{0,60}") {
            let _ = parse(&text);
        }

        #[test]
        fn a_quoted_value_is_read_as_it_was_meant(value in "\\PC{0,30}", next in "[a-z]{1,8}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let read = challenge(&format!("Bearer realm=\"{quoted}\",zz=\"{next}\""));
            let pairs = [("realm", &value), ("zz", &next)].map(|(k, v)| (k.to_owned(), v.clone()));
            prop_assert_eq!(read, Some(("bearer".to_owned(), pairs.to_vec())));
        }
    }
}
