//! The server's interfaces to the identity components besides authentication: issuing tokens and
//! listing rules.

use std::sync::Arc;

use api::{Error, Object};
use jiff::Timestamp;
use serde_json::Value;

use crate::request::User;

/// A service account token that is asked for (`TokenRequest`).
#[derive(Debug, Clone)]
pub struct TokenDemand {
    /// The service account as stored.
    pub account: Object,
    /// Empty: the API server itself.
    pub audiences: Vec<String>,
    /// How long the token shall live; the issuer may cap it.
    pub expiration_s: i64,
    /// What the token is bound to, where it is: (apiVersion, kind, name, uid).
    pub bound: Option<BoundObject>,
}

/// The object a token dies with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundObject {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
    /// The node a bound pod runs on, with its uid, where known.
    pub node: Option<(String, String)>,
}

/// A token and when it ends.
#[derive(Debug, Clone)]
pub struct IssuedToken {
    pub token: String,
    pub expires: Timestamp,
    /// The audiences the token was issued for.
    pub audiences: Vec<String>,
}

/// Issues service account tokens and publishes the keys to check them with.
pub trait TokenIssuer: Send + Sync + 'static {
    /// # Errors
    /// When the demand is out of bounds or no key is there.
    fn issue(&self, demand: &TokenDemand) -> Result<IssuedToken, Error>;

    /// The token of an account that lies in the Secret of the name, in the account's namespace. It has no end.
    ///
    /// # Errors
    /// When no key is there.
    fn issue_for_secret(&self, account: &Object, secret: &str) -> Result<String, Error>;

    /// The JSON Web Key Set of `/openid/v1/jwks`.
    fn jwks(&self) -> Value;

    /// The document of `/.well-known/openid-configuration`.
    fn openid_configuration(&self) -> Value;
}

/// What a user may do in a namespace, as RBAC rules.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// `ResourceRule` objects.
    pub resource_rules: Vec<Value>,
    /// `NonResourceRule` objects.
    pub non_resource_rules: Vec<Value>,
    /// Whether rules may be missing.
    pub incomplete: bool,
    /// Why, where rules are missing.
    pub evaluation_error: String,
}

/// Lists a user's rules.
pub trait RuleResolver: Send + Sync + 'static {
    fn rules(&self, user: &Arc<User>, namespace: &str) -> Rules;
}
