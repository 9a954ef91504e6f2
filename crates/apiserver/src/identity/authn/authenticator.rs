//! [`Authenticator`]: the trait of authenticators, its inputs and results.

use std::sync::Arc;

use crate::eventual::Eventual;
use crate::request::User;

/// The group of everybody who has shown who they are.
pub const AUTHENTICATED_GROUP: &str = "system:authenticated";

/// What authentication may look at.
#[derive(Debug, Clone, Default)]
pub struct Credentials<'a> {
    /// The verified client certificate (DER), if the connection has one. The TLS layer has already
    /// checked its chain against the client CA.
    pub client_certificate: Option<&'a [u8]>,
    /// The token of `Authorization: Bearer …` (or of the WebSocket subprotocol).
    pub bearer_token: Option<&'a str>,
    /// The path that is asked for; empty where there is none.
    pub path: &'a str,
}

/// What a token that somebody asks about says (`TokenReview`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewedToken {
    pub user: Arc<User>,
    /// Those of the audiences asked for that the token is meant for; for the API server's own when none were
    /// asked for.
    pub audiences: Vec<String>,
}

/// Turns credentials into a user. `Ok(None)`: this method has nothing to say (no credentials of its
/// sort); `Err`: credentials are there and wrong.
///
/// Cancellation safe: a request may be given up while an authenticator waits.
pub trait Authenticator: Send + Sync + 'static {
    fn authenticate<'a>(
        &'a self,
        credentials: &'a Credentials<'_>,
    ) -> Eventual<'a, Result<Option<Arc<User>>, api::Error>>;

    /// Checks a token for a third party that is reached under one of `audiences` (none: the API server).
    ///
    /// # Errors
    /// Why the token is wrong, in words for `status.error` of the review.
    fn review_token<'a>(
        &'a self,
        token: &'a str,
        audiences: &'a [String],
    ) -> Eventual<'a, Result<Option<ReviewedToken>, String>> {
        Eventual::later(async move {
            let credentials = Credentials { bearer_token: Some(token), ..Credentials::default() };
            match self.authenticate(&credentials).await {
                Ok(user) => Ok(user.map(|user| ReviewedToken { user, audiences: audiences.to_vec() })),
                Err(_) => Err("invalid bearer token".to_owned()),
            }
        })
    }
}
