//! Authentication: from a connection and its headers to a [`crate::request::User`].
//!
//! [`Union`] asks in order: [`ClientCertificate`], [`StaticTokens`], [`service_account::ServiceAccounts`],
//! [`service_account::SecretTokens`], [`BootstrapTokens`], those who are configured ([`jwt`], [`WebhookTokens`]), and
//! finally [`Anonymous`]. The requests of a front proxy
//! ([`RequestHeaders`]) are known before any of them by their connection.

mod anonymous;
mod authenticator;
mod bootstrap_token;
mod certificate;
pub mod jwt;
pub mod request_header;
pub mod service_account;
mod static_token;
mod union;
mod webhook_tokens;

pub use anonymous::Anonymous;
pub use authenticator::{AUTHENTICATED_GROUP, Authenticator, Credentials, ReviewedToken};
pub use bootstrap_token::BootstrapTokens;
pub use certificate::ClientCertificate;
pub use request_header::RequestHeaders;
pub use static_token::StaticTokens;
pub use union::{ForTheApi, Union};
pub use webhook_tokens::{TokenWebhook, WebhookTokens};
