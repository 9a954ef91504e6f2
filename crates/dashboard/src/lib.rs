//! The dashboard: a web page about a cluster and the guarded way from the page to the API server, under one identity.
//!
//! Start with [`Dashboard`]. `guard` decides who may ask for what, `paths` which paths of the API are passed on,
//! `proxy` passes them on, `assets` holds the page, built from the sources in `web/`, and `respond` puts the same
//! limits on every response. `docs/dashboard.md` says what each check is against.
//!
//! Never here: more rights than the identity's, an address other than the loopback's, content of the cluster as a
//! page of its own.

mod assets;
mod guard;
mod paths;
mod proxy;
mod respond;
mod server;
#[cfg(test)]
mod tests;

pub use server::{Dashboard, DashboardDeps};
