//! The cluster's Ingress: a reverse proxy for HTTP whose rules are the objects of its class.
//!
//! Start with [`router`], which says where a request goes, and [`translate`], which makes the router's rules and the
//! endpoints behind them out of Ingresses, Services and slices. Both are pure. [`proxy`] serves clients by the rules,
//! within [`limits`], and [`tls`] has the certificates that clients are shown. `feed` has all of them follow the API's
//! objects, `ports` opens ports only while there is an Ingress, `controller` writes status and events; [`start`] puts
//! the parts together.
//!
//! Never here: a rule that is not an object of the API; a write to the store around the API.

mod claims;
mod class;
mod controller;
mod feed;
pub mod limits;
pub mod metrics;
mod pools;
mod ports;
pub mod proxy;
pub mod router;
mod start;
pub mod tls;
mod told;
pub mod translate;
mod view;

pub use start::{Config, StartError, start};
