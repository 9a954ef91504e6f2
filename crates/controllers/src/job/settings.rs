//! [`Settings`]: a Job's specification with its defaults.

use k8s_openapi::api::batch::v1::{JobSpec, PodFailurePolicy, SuccessPolicy};

pub(super) struct Settings<'a> {
    /// Any success will do where there is no number.
    pub completions: Option<i32>,
    /// How many indexes there are, of an Indexed Job.
    pub indexes: Option<u32>,
    pub parallelism: i32,
    pub backoff_limit: i32,
    pub per_index: Option<PerIndex>,
    pub deadline_s: Option<i64>,
    pub suspended: bool,
    /// Whether a pod that is being deleted counts as running until it has ended.
    pub replaces_only_failed: bool,
    /// Whether the pods' containers are restarted where they are.
    pub restarts_in_place: bool,
    pub failure_policy: Option<&'a PodFailurePolicy>,
    pub success_policy: Option<&'a SuccessPolicy>,
}

/// Failures are counted index by index.
#[derive(Debug, Clone, Copy)]
pub(super) struct PerIndex {
    pub backoff_limit: i32,
    pub max_failed: Option<i32>,
}

impl<'a> Settings<'a> {
    pub fn of(spec: &'a JobSpec) -> Self {
        let indexed = spec.completion_mode.as_deref() == Some("Indexed");
        let indexes = spec.completions.filter(|_| indexed).map(|n| u32::try_from(n).unwrap_or(0));
        let per_index = spec.backoff_limit_per_index.filter(|_| indexes.is_some());
        let template = spec.template.spec.as_ref();
        Self {
            completions: spec.completions,
            indexes,
            parallelism: spec.parallelism.unwrap_or(1),
            backoff_limit: spec.backoff_limit.unwrap_or(6),
            per_index: per_index
                .map(|backoff_limit| PerIndex { backoff_limit, max_failed: spec.max_failed_indexes }),
            deadline_s: spec.active_deadline_seconds,
            suspended: spec.suspend == Some(true),
            replaces_only_failed: spec.pod_replacement_policy.as_deref() == Some("Failed")
                || spec.pod_failure_policy.is_some(),
            restarts_in_place: template.and_then(|pod| pod.restart_policy.as_deref()) == Some("OnFailure"),
            failure_policy: spec.pod_failure_policy.as_ref(),
            success_policy: spec.success_policy.as_ref(),
        }
    }
}
