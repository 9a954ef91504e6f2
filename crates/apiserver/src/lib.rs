//! The API server: one request pipeline for every kind, authentication, authorization, admission,
//! the watch cache, discovery, OpenAPI and the streaming proxies.
//!
//! Start with `pipeline` (a request's way) and `handlers` (the generic verbs).
//!
//! Never here: a kind's name outside `admission`, `authz`, `bootstrap` and `subresources`; a handler per kind.

pub mod admission;
pub mod authn;
pub mod authz;
pub mod request;
