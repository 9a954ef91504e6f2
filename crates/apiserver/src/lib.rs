//! The API server: one request pipeline for every kind, authentication, authorization, admission,
//! the watch cache, discovery, OpenAPI and the streaming proxies.
//!
//! Start with [`Server`] (a request's steps are in `server::pipeline`) and `handlers` (the generic
//! verbs). Authentication and authorization are in [`identity`]; the stored objects are kept in memory by [`cache`].
//!
//! Never here: a kind's name outside `admission`, `identity`, `bootstrap` and `subresources`; a handler per kind.

pub mod admission;
pub mod aggregator;
pub mod audit;
mod body;
pub mod bootstrap;
mod build;
pub mod cache;
mod context;
pub mod conversion;
mod custom;
mod discovery;
pub mod eventual;
mod fairness;
mod handlers;
mod health;
pub mod identity;
mod kubelet;
mod metrics;
mod openapi;
mod proxy;
mod remembered;
pub mod request;
mod respond;
pub mod security;
mod server;
mod service_addresses;
mod subresources;
#[cfg(test)]
mod testing;
mod usage;
pub mod webhook;
mod websocket;

pub use body::{Body, BoxError};
pub use cache::specs::cache_specs;
pub use context::{Deps, Limits};
pub use custom::CustomKinds;
pub use eventual::Eventual;
pub use health::Steps;
pub use kubelet::KubeletClient;
pub use server::{Config, InProcess, Server, tls};
