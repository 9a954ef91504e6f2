//! What a registry says when it answers with an error.
//!
//! Owns reading the distribution specification's `errors` out of an answer, and their words, which
//! follow containerd's. Never reads more than a little of a body.

use std::fmt;

use http::StatusCode;
use reqwest::Response;
use serde::Deserialize;

use super::read_bounded;

/// More than any registry has to say about a failure.
const BODY_LIMIT_BYTES: usize = 64 << 10;

/// A response with an unexpected status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub method: &'static str,
    pub url: String,
    pub status: StatusCode,
    /// `code: message` of the registry's first error.
    pub message: Option<String>,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    errors: Vec<Complaint>,
}

#[derive(Deserialize)]
struct Complaint {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Refusal {
    /// Reads the response's errors, if there are any.
    pub async fn read(method: &'static str, url: &str, response: Response) -> Self {
        let status = response.status();
        // A body that is incomplete or too long is not reported.
        let body = read_bounded(response, BODY_LIMIT_BYTES).await.ok().flatten().unwrap_or_default();
        Self { method, url: url.to_owned(), status, message: message(&body) }
    }

    /// In the words for a registry that does not know who asks.
    pub fn denial(&self) -> String {
        match &self.message {
            Some(message) => format!("server message: {message}: authorization failed"),
            None => "authorization failed".to_owned(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unexpected status from {} request to {}: {}", self.method, self.url, self.status)?;
        match &self.message {
            Some(message) => write!(f, ": {message}"),
            None => Ok(()),
        }
    }
}

fn message(body: &[u8]) -> Option<String> {
    let first = serde_json::from_slice::<Body>(body).ok()?.errors.into_iter().next()?;
    let code = first.code.to_lowercase().replace('_', "");
    match (code.is_empty(), first.message.is_empty()) {
        (true, true) => None,
        (false, true) => Some(code),
        (true, false) => Some(first.message),
        (false, false) => Some(format!("{code}: {}", first.message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_the_registry_said() {
        let refusal = |body: &[u8]| Refusal {
            method: "GET",
            url: "https://x/v2/a/manifests/1".to_owned(),
            status: StatusCode::TOO_MANY_REQUESTS,
            message: message(body),
        };
        let told = refusal(br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down","detail":{}}]}"#);
        assert_eq!(
            told.to_string(),
            "unexpected status from GET request to https://x/v2/a/manifests/1: 429 Too Many Requests: \
             toomanyrequests: slow down"
        );
        for body in [&b""[..], b"<html>", b"[]", b"{\"errors\":[]}", b"{\"errors\":[{}]}", b"{\"errors\":7}"]
        {
            assert_eq!(refusal(body).message, None);
            assert_eq!(refusal(body).denial(), "authorization failed");
        }
    }
}
