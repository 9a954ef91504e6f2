//! What is running, as `/version` and the metrics say it. Pure.

use prometheus_client::encoding::EncodeLabelSet;
use serde::Serialize;

/// In upstream's order (`apimachinery/pkg/version/types.go`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Version {
    major: &'static str,
    minor: &'static str,
    emulation_major: &'static str,
    emulation_minor: &'static str,
    min_compatibility_major: &'static str,
    min_compatibility_minor: &'static str,
    git_version: &'static str,
    git_commit: &'static str,
    git_tree_state: &'static str,
    build_date: &'static str,
    go_version: &'static str,
    compiler: &'static str,
    platform: &'static str,
}

/// The labels of `kubernetes_build_info` (upstream: `component-base/metrics/version.go`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct BuildInfo {
    major: &'static str,
    minor: &'static str,
    git_version: &'static str,
    git_commit: &'static str,
    git_tree_state: &'static str,
    build_date: &'static str,
    go_version: &'static str,
    compiler: &'static str,
    platform: &'static str,
}

impl Version {
    /// `commit`: what the server is built from.
    pub(crate) const fn built_from(commit: &'static str) -> Self {
        Self {
            major: "1",
            minor: api::TRACKED_MINOR,
            emulation_major: "1",
            emulation_minor: api::TRACKED_MINOR,
            min_compatibility_major: "1",
            min_compatibility_minor: "35",
            git_version: api::TRACKED_VERSION,
            git_commit: commit,
            git_tree_state: "clean",
            build_date: "1970-01-01T00:00:00Z",
            go_version: "",
            compiler: "rustc",
            platform: concat!("linux/", "amd64"),
        }
    }

    pub(crate) const fn info(&self) -> BuildInfo {
        BuildInfo {
            major: self.major,
            minor: self.minor,
            git_version: self.git_version,
            git_commit: self.git_commit,
            git_tree_state: self.git_tree_state,
            build_date: self.build_date,
            go_version: self.go_version,
            compiler: self.compiler,
            platform: self.platform,
        }
    }
}
