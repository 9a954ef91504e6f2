//! Tokens from the configuration.

use std::sync::Arc;

use ring::digest::{SHA256, digest};

use super::authenticator::{AUTHENTICATED_GROUP, Authenticator, Credentials};
use crate::eventual::Eventual;
use crate::request::User;

/// A fixed set of tokens. Only their digests are kept.
#[derive(Default)]
pub struct StaticTokens {
    users: Vec<([u8; 32], Arc<User>)>,
}

impl StaticTokens {
    /// Adds a token. The user becomes a member of `system:authenticated`. An empty token is never accepted.
    pub fn add(&mut self, token: &str, mut user: User) {
        if token.is_empty() {
            return;
        }
        if !user.groups.iter().any(|group| group == AUTHENTICATED_GROUP) {
            user.groups.push(AUTHENTICATED_GROUP.to_owned());
        }
        self.users.push((fingerprint(token), Arc::new(user)));
    }
}

/// Comparing digests tells nothing about how much of a guessed token was right.
pub(super) fn fingerprint(token: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    out
}

impl StaticTokens {
    fn user_of(&self, credentials: &Credentials<'_>) -> Result<Option<Arc<User>>, api::Error> {
        let Some(token) = credentials.bearer_token else { return Ok(None) };
        if self.users.is_empty() {
            return Ok(None);
        }
        let wanted = fingerprint(token);
        Ok(self.users.iter().find(|(known, _)| *known == wanted).map(|(_, user)| Arc::clone(user)))
    }
}

impl Authenticator for StaticTokens {
    fn authenticate<'a>(
        &'a self,
        credentials: &'a Credentials<'_>,
    ) -> Eventual<'a, Result<Option<Arc<User>>, api::Error>> {
        self.user_of(credentials).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_known_token_is_somebody() {
        let mut tokens = StaticTokens::default();
        tokens.add("secret", User { name: "node".into(), ..User::default() });
        tokens.add("", User { name: "nobody".into(), ..User::default() });
        let ask = |token| {
            let credentials = Credentials { bearer_token: token, ..Credentials::default() };
            tokens.user_of(&credentials).unwrap().map(|user| user.name.clone())
        };
        assert_eq!(ask(Some("secret")).as_deref(), Some("node"));
        assert_eq!((ask(Some("secre")), ask(Some("")), ask(None)), (None, None, None));
    }
}
