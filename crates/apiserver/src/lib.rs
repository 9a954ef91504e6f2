//! The API server: one request pipeline for every kind, authentication, authorization, admission,
//! the watch cache, discovery, OpenAPI and the streaming proxies.
//!
//! Start with [`Server`], `pipeline` (a request's way) and `handlers` (the generic verbs).
//!
//! Never here: a kind's name outside `admission`, `authz`, `bootstrap` and `subresources`; a handler per kind.

pub mod admission;
pub mod audit;
pub mod authn;
pub mod authz;
mod body;
pub mod bootstrap;
pub mod cache;
mod call;
mod context;
pub mod conversion;
mod discovery;
pub mod eventual;
mod follow;
mod handlers;
mod health;
pub mod identity;
mod inflight;
mod kubelet;
pub mod lookup;
mod metrics;
mod negotiate;
mod openapi;
mod path;
mod paths;
mod pipeline;
mod pretty;
mod proxy;
mod query;
pub mod request;
mod respond;
mod router;
pub mod security;
mod server;
mod specs;
mod subresources;
#[cfg(test)]
mod testing;

pub use body::{Body, BoxError};
pub use context::{Deps, Limits};
pub use eventual::Eventual;
pub use kubelet::KubeletClient;
pub use server::{Config, InProcess, Server, tls};
pub use specs::cache_specs;
