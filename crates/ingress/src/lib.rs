//! The cluster's Ingress: a reverse proxy for HTTP whose rules are the objects of its class.
//!
//! Start with [`router`], which says where a request goes, and [`translate`], which makes the router's rules and the
//! endpoints behind them out of Ingresses, Services and slices. Both are pure. [`proxy`] serves clients by the rules,
//! within [`limits`], and [`tls`] has the certificates that clients are shown.
//!
//! Never here: a rule that is not an object of the API; a write to the store around the API.

pub mod limits;
pub mod metrics;
pub mod proxy;
pub mod router;
pub mod tls;
pub mod translate;
