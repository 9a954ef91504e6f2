//! A request without credentials is by `system:anonymous`; roles define what that user may do.

use std::sync::Arc;

use super::authenticator::{Authenticator, Credentials, ReviewedToken};
use crate::eventual::Eventual;
use crate::request::User;

pub(crate) const USER: &str = "system:anonymous";
pub(crate) const GROUP: &str = "system:unauthenticated";

/// Takes requests without credentials. Stands last; left out, they are refused.
#[derive(Debug, Clone)]
pub struct Anonymous {
    user: Arc<User>,
    /// The only paths; all where there are none.
    paths: Vec<String>,
}

impl Anonymous {
    /// Takes requests for these paths only, if there are any.
    pub fn on(paths: Vec<String>) -> Self {
        Self { paths, ..Self::default() }
    }
}

impl Default for Anonymous {
    fn default() -> Self {
        let user = User { name: USER.to_owned(), groups: vec![GROUP.to_owned()], ..User::default() };
        Self { user: Arc::new(user), paths: Vec::new() }
    }
}

impl Authenticator for Anonymous {
    fn authenticate<'a>(
        &'a self,
        credentials: &'a Credentials<'_>,
    ) -> Eventual<'a, Result<Option<Arc<User>>, api::Error>> {
        let here = self.paths.is_empty() || self.paths.iter().any(|path| path == credentials.path);
        // A token nobody knows is wrong rather than absent.
        Ok((here && credentials.bearer_token.is_none()).then(|| Arc::clone(&self.user))).into()
    }

    fn review_token<'a>(
        &'a self,
        _: &'a str,
        _: &'a [String],
    ) -> Eventual<'a, Result<Option<ReviewedToken>, String>> {
        Ok(None).into()
    }
}
