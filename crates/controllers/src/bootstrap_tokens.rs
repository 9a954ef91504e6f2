//! The tokens by which machines join: expired ones are deleted, and with valid ones is signed what a machine is told of
//! the cluster before it can trust anybody.
//!
//! A controller a file: [`cleaner`], [`signer`]. What the tokens' Secrets say is read by [`resources::bootstrap_token`].
//! Upstream: `pkg/controller/bootstrap`.

pub mod cleaner;
pub mod signer;

#[cfg(test)]
mod tests;

use informer::{Delta, Scope};
use k8s_openapi::api::core::v1::Secret;
use resources::bootstrap_token::{NAMESPACE, SECRET_TYPE};

/// The Secrets of all tokens, and of whoever else uses the type in another namespace.
fn secrets() -> Scope {
    Scope::fields(format!("type={SECRET_TYPE}"))
}

/// Whether a change is about a token's Secret.
fn is_about_token(delta: &Delta<Secret>) -> bool {
    delta.object().namespace() == NAMESPACE
}
