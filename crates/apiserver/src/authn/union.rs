//! Several authenticators as one: the first that knows the user wins.

use std::sync::Arc;

use super::{Authenticator, Credentials, ReviewedToken};
use crate::request::User;

/// Asks in order. Credentials that are wrong for one may be right for another, so an error counts only when
/// nobody knows the user.
pub struct Union(pub Vec<Arc<dyn Authenticator>>);

impl Authenticator for Union {
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Option<Arc<User>>, api::Error> {
        let mut refused = None;
        for authenticator in &self.0 {
            match authenticator.authenticate(credentials) {
                Ok(None) => {}
                Ok(Some(user)) => return Ok(Some(user)),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        refused.map_or(Ok(None), Err)
    }

    fn review_token(&self, token: &str, audiences: &[String]) -> Result<Option<ReviewedToken>, String> {
        let mut refused = None;
        for authenticator in &self.0 {
            match authenticator.review_token(token, audiences) {
                Ok(None) => {}
                Ok(Some(reviewed)) => return Ok(Some(reviewed)),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        refused.map_or(Ok(None), Err)
    }
}
