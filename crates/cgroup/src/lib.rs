//! cgroups of either version, by their path below the controllers' roots (`/kubepods/pod1/c1`): how they are
//! mounted, their processes, creation, removal, OOM counts, limits and usage.
//!
//! Start at [`CgroupMounts::detect`]. The kubelet uses it for its pods, the runtime and its shims for containers, and
//! teardown for all of a cluster. A container's cgroup is created by the OCI library, not here. Never knows a pod,
//! starts no task and never waits.

mod figures;
mod limits;
mod members;
mod mounts;
mod tree;
mod usage;

pub use figures::{Device, Figures};
pub use limits::Limits;
pub use mounts::CgroupMounts;
pub use tree::{remove_tree, subtree};
pub use usage::Usage;
