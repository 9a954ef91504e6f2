//! Needs root: Services as pods and the node reach them, and what policies let pass, in network namespaces the tests make for themselves.

mod announce;
mod fence;
mod ground;
mod machines;
mod outside;
mod overlay;
mod pod_tables;
mod policies;
mod policies_kept;
mod services;
