//! Needs root: Services as pods and the node reach them, in network namespaces the tests make for themselves.

mod ground;
mod machines;
mod outside;
mod overlay;
mod services;
