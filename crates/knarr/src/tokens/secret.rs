//! The Secret of a new token.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::core::ObjectMeta;
use resources::bootstrap_token::{self, NAMESPACE, PATTERN, SECRET_TYPE, Token, USAGES, check_group, key};

use crate::arguments::WantedToken;

/// The token and its Secret, as the command line describes them.
///
/// # Errors
/// Says what is wrong with the command line, in kubeadm's words.
pub(super) fn secret(new: &WantedToken, now: Timestamp) -> Result<(Token, Secret)> {
    let token = match &new.token {
        None => Token::generate(),
        Some(text) => Token::parse(text)
            .with_context(|| format!("the bootstrap token {text:?} was not of the form {PATTERN:?}"))?,
    };
    check(new)?;
    let mut data = BTreeMap::from([
        (key::ID.to_owned(), token.id.clone()),
        (key::SECRET.to_owned(), token.secret.clone()),
    ]);
    if !new.description.is_empty() {
        data.insert(key::DESCRIPTION.to_owned(), new.description.clone());
    }
    if !new.ttl.is_zero() {
        let at = now.checked_add(new.ttl).context("the token would expire too late")?;
        data.insert(key::EXPIRATION.to_owned(), at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    }
    for usage in &new.usages {
        data.insert(format!("{}{usage}", key::USAGE_PREFIX), "true".to_owned());
    }
    let groups: Vec<&str> = groups(new).collect();
    if !groups.is_empty() {
        data.insert(key::EXTRA_GROUPS.to_owned(), groups.join(","));
    }
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(bootstrap_token::secret_name(&token.id)),
            namespace: Some(NAMESPACE.to_owned()),
            ..ObjectMeta::default()
        },
        type_: Some(SECRET_TYPE.to_owned()),
        data: Some(data.into_iter().map(|(key, value)| (key, ByteString(value.into_bytes()))).collect()),
        ..Secret::default()
    };
    Ok((token, secret))
}

/// An empty argument stands for none.
fn groups(new: &WantedToken) -> impl Iterator<Item = &str> {
    new.groups.iter().map(String::as_str).filter(|group| !group.is_empty())
}

fn check(new: &WantedToken) -> Result<()> {
    let mut unknown: Vec<&str> =
        new.usages.iter().map(String::as_str).filter(|usage| !USAGES.contains(usage)).collect();
    unknown.sort_unstable();
    if !unknown.is_empty() {
        bail!(
            "invalid bootstrap token usage string: {}, valid usage options: {}",
            unknown.join(","),
            USAGES.join(",")
        );
    }
    if groups(new).next().is_some() && !new.usages.iter().any(|usage| usage == "authentication") {
        bail!(r#"token groups cannot be specified unless --usages includes "authentication""#);
    }
    groups(new).try_for_each(check_group).map_err(anyhow::Error::msg)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use resources::bootstrap_token::{Expiration, Stored};

    use super::*;
    use crate::arguments::{Arguments, Command};

    fn asked(arguments: &[&str]) -> WantedToken {
        let words = ["knarr", "token", "create"].iter().chain(arguments);
        let Command::Token(crate::arguments::Token::Create(new)) =
            Arguments::try_parse_from(words).expect("understood").command
        else {
            panic!("another command")
        };
        new.wanted
    }

    fn now() -> Timestamp {
        "2026-06-01T12:00:00.7Z".parse().expect("a time")
    }

    fn why(arguments: &[&str]) -> String {
        format!("{:#}", secret(&asked(arguments), now()).expect_err("refused"))
    }

    #[test]
    fn a_token_lives_a_day_signs_and_lets_nodes_in() {
        let (token, made) =
            secret(&asked(&["abcdef.0123456789abcdef", "--description", "for the rack"]), now())
                .expect("made");
        assert_eq!(token.to_string(), "abcdef.0123456789abcdef");
        assert_eq!(made.metadata.name.as_deref(), Some("bootstrap-token-abcdef"));
        let stored = Stored(&made);
        assert_eq!(stored.text(key::EXPIRATION), "2026-06-02T12:00:00Z");
        assert_eq!(stored.text(key::DESCRIPTION), "for the rack");
        assert_eq!(
            stored.groups().expect("good"),
            ["system:bootstrappers", "system:bootstrappers:kubeadm:default-node-token"]
        );
        assert!(stored.is_for("authentication"));
        assert_eq!(stored.for_signing(now()), Some(token));
        let (_, forever) =
            secret(&asked(&["--ttl", "0", "--usages", "signing", "--groups", ""]), now()).expect("made");
        assert_eq!(Stored(&forever).expiration(now()), Expiration::Never);
        assert!(!Stored(&forever).is_for("authentication"));
    }

    #[test]
    fn what_cannot_be_is_refused_in_kubeadms_words() {
        assert_eq!(
            why(&["x"]),
            r#"the bootstrap token "x" was not of the form "\\A([a-z0-9]{6})\\.([a-z0-9]{16})\\z""#
        );
        assert_eq!(
            why(&["--usages", "signing,b,a"]),
            "invalid bootstrap token usage string: a,b, valid usage options: signing,authentication"
        );
        assert_eq!(
            why(&["--usages", "signing"]),
            r#"token groups cannot be specified unless --usages includes "authentication""#
        );
        assert!(
            why(&["--groups", "system:masters"]).contains("bootstrap group \"system:masters\" is invalid")
        );
    }
}
