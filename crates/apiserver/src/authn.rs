//! Authentication: from a connection and its headers to a [`User`].

use std::sync::Arc;

use crate::request::User;

/// What authentication may look at.
#[derive(Debug, Clone, Default)]
pub struct Credentials<'a> {
    /// The verified client certificate (DER), if the connection has one. The TLS layer has already
    /// checked its chain against the client CA.
    pub client_certificate: Option<&'a [u8]>,
    /// The token of `Authorization: Bearer …` (or of the WebSocket subprotocol).
    pub bearer_token: Option<&'a str>,
}

/// Turns credentials into a user. `Ok(None)`: this method has nothing to say (no credentials of its
/// sort); `Err`: credentials are there and wrong.
pub trait Authenticator: Send + Sync + 'static {
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Option<Arc<User>>, api::Error>;
}
