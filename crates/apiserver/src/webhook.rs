//! Calls of webhooks: HTTPS to what the cluster's users run, at a URL or behind a Service.
//!
//! Start with [`Callee`] (where a webhook is) and [`Caller::post`]. `connector` connects, `credentials` knows as whom, `trust` checks certificates,
//! `resolve` finds a Service's endpoint, `failure` has upstream's words for what goes wrong. What is said to a webhook
//! is the business of whoever calls it (admission, conversion). Servers that requests are forwarded to are reached the
//! same way (`crates/apiserver/src/aggregator`).

mod callee;
mod caller;
pub(crate) mod connector;
mod credentials;
pub(crate) mod failure;
mod fetch;
mod remote;
mod resolve;
pub(crate) mod trust;

pub(crate) use callee::{Callee, ServiceRef};
pub use caller::Caller;
pub(crate) use caller::Tasks;
pub use credentials::Credentials;
pub(crate) use fetch::Fetcher;
pub(crate) use remote::Remote;
pub use resolve::{Resolve, Services};
