//! Bootstrap tokens, by which machines join a cluster: their form, and what the Secrets say that hold them.
//!
//! A [`Token`] is what a user types, a [`Stored`] is the Secret that makes the token valid, [`signature`] signs with a
//! token. Upstream: `staging/src/k8s.io/cluster-bootstrap`. Pure: whoever asks brings the time along.

pub mod signature;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use regex::Regex;

/// The type of the Secrets.
pub const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
/// The namespace of the Secrets.
pub const NAMESPACE: &str = "kube-system";
/// What the names of the Secrets begin with; the token's id follows.
pub const SECRET_PREFIX: &str = "bootstrap-token-";
/// What the user of a token is called; the token's id follows.
pub const USER_PREFIX: &str = "system:bootstrap:";
/// The group of all tokens' users.
pub const GROUP: &str = "system:bootstrappers";
/// The uses of tokens, as they are written in lists.
pub const USAGES: [&str; 2] = ["signing", "authentication"];
/// The public id of a token, as a regular expression.
pub const ID_PATTERN: &str = r"\A([a-z0-9]{6})\z";
/// A token, as a regular expression.
pub const PATTERN: &str = r"\A([a-z0-9]{6})\.([a-z0-9]{16})\z";
/// A group that a token may add, as a regular expression.
pub const GROUP_PATTERN: &str = r"\Asystem:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]\z";

/// Keys of a Secret's data.
pub mod key {
    pub const ID: &str = "token-id";
    pub const SECRET: &str = "token-secret";
    pub const EXPIRATION: &str = "expiration";
    pub const DESCRIPTION: &str = "description";
    pub const EXTRA_GROUPS: &str = "auth-extra-groups";
    /// A use of the token follows.
    pub const USAGE_PREFIX: &str = "usage-bootstrap-";
}

const ID_LENGTH: usize = 6;
const SECRET_LENGTH: usize = 16;

static GROUP_FORM: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(GROUP_PATTERN).expect("the pattern is part of the program"));

/// A token. Its [`Display`](fmt::Display) shows the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Public.
    pub id: String,
    pub secret: String,
}

impl Token {
    /// Reads `id.secret`; `None` for what has another form.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.split_once('.')?;
        let formed = is_id(id) && is_alphanumeric(secret, SECRET_LENGTH);
        formed.then(|| Self { id: id.to_owned(), secret: secret.to_owned() })
    }

    /// A new token.
    pub fn generate() -> Self {
        Self { id: random_text(ID_LENGTH), secret: random_text(SECRET_LENGTH) }
    }

    /// The name of the Secret that makes the token valid.
    pub fn secret_name(&self) -> String {
        secret_name(&self.id)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.id, self.secret)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Whether the text has the form of a token's id.
pub fn is_id(text: &str) -> bool {
    is_alphanumeric(text, ID_LENGTH)
}

/// The name of the Secret of a token with this id.
pub fn secret_name(id: &str) -> String {
    format!("{SECRET_PREFIX}{id}")
}

/// Whether a token may add the group.
///
/// # Errors
/// Upstream's words.
pub fn check_group(name: &str) -> Result<(), String> {
    match GROUP_FORM.is_match(name) {
        true => Ok(()),
        false => Err(format!("bootstrap group {name:?} is invalid (must match {GROUP_PATTERN})")),
    }
}

fn is_alphanumeric(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Every character is equally likely: bytes that do not divide evenly are thrown away.
fn random_text(length: usize) -> String {
    const CHARACTERS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let fair = u8::MAX - u8::MAX % 36;
    std::iter::repeat_with(base::random::bytes::<16>)
        .flatten()
        .filter(|byte| *byte < fair)
        .take(length)
        .map(|byte| char::from(CHARACTERS[usize::from(byte) % CHARACTERS.len()]))
        .collect()
}

/// How long a token is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiration {
    Never,
    /// More than nothing.
    In(SignedDuration),
    /// It is no more, or its time cannot be read.
    Past,
}

/// The Secret of a token.
#[derive(Clone, Copy)]
pub struct Stored<'a>(pub &'a Secret);

impl<'a> Stored<'a> {
    /// Whether the Secret is of the type.
    pub fn is_token(self) -> bool {
        self.0.type_.as_deref() == Some(SECRET_TYPE)
    }

    /// A value of the Secret, empty where there is none.
    pub fn text(self, key: &str) -> &'a str {
        let value = self.0.data.as_ref().and_then(|data| data.get(key));
        value.and_then(|value| std::str::from_utf8(&value.0).ok()).unwrap_or_default()
    }

    /// Whether the token may be used for this.
    pub fn is_for(self, usage: &str) -> bool {
        self.text(&format!("{}{usage}", key::USAGE_PREFIX)) == "true"
    }

    /// How long the token is valid from now.
    pub fn expiration(self, now: Timestamp) -> Expiration {
        let text = self.text(key::EXPIRATION);
        if text.is_empty() {
            return Expiration::Never;
        }
        match text.parse::<Timestamp>().map(|at| at.duration_since(now)) {
            Ok(left) if left.is_positive() => Expiration::In(left),
            Ok(_) | Err(_) => Expiration::Past,
        }
    }

    /// The groups of the token's user, sorted.
    ///
    /// # Errors
    /// Names the group that a token may not add.
    pub fn groups(self) -> Result<Vec<String>, String> {
        let mut groups = BTreeSet::from([GROUP.to_owned()]);
        let extra = self.text(key::EXTRA_GROUPS);
        if !extra.is_empty() {
            for group in extra.split(',') {
                check_group(group)?;
                groups.insert(group.to_owned());
            }
        }
        Ok(groups.into_iter().collect())
    }

    /// The token, where it may sign what machines that join are told.
    pub fn for_signing(self, now: Timestamp) -> Option<Token> {
        let named = self.0.metadata.name.as_deref()?.strip_prefix(SECRET_PREFIX)?;
        let (id, secret) = (self.text(key::ID), self.text(key::SECRET));
        let valid = self.is_token()
            && is_id(named)
            && named == id
            && !secret.is_empty()
            && self.expiration(now) != Expiration::Past
            && self.is_for("signing");
        valid.then(|| Token { id: id.to_owned(), secret: secret.to_owned() })
    }
}
