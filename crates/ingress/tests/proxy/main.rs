//! The proxy between clients and endpoints on the loopback.

mod ground;
mod hostile;
mod manners;
mod protocols;
mod requests;
mod rolling;
mod tls;
