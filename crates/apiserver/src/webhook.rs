//! Calls of webhooks: HTTPS to what the cluster's users run, at a URL or behind a Service.
//!
//! Start with [`Callee`] (where a webhook is) and [`Caller::post`]. `connector` connects, `trust` checks certificates,
//! `resolve` finds a Service's endpoint, `failure` has upstream's words for what goes wrong. What is said to a webhook
//! is the business of whoever calls it (admission, conversion).

mod callee;
mod caller;
mod connector;
mod failure;
mod resolve;
mod trust;

pub(crate) use callee::Callee;
pub use caller::Caller;
pub use resolve::{Resolve, Services};
