//! Which zeros say something. Upstream's types leave plain fields out when they are `false` or 0
//! (`omitempty`); only where a field is a pointer is its zero something else than its absence.

/// The fields of all kinds that are pointers to booleans and numbers, sorted.
const POINTERS: &[&str] = &[
    "activeDeadlineSeconds",
    "adminAccess",
    "allNodes",
    "allocateLoadBalancerNodePorts",
    "allowMultipleAllocations",
    "allowPrivilegeEscalation",
    "allowVolumeExpansion",
    "attachRequired",
    "automountServiceAccountToken",
    "averageUtilization",
    "backoffLimit",
    "backoffLimitPerIndex",
    "bindsToNode",
    "blockOwnerDeletion",
    "borrowingLimitPercent",
    "completions",
    "controller",
    "defaultMode",
    "enableServiceLinks",
    "expirationSeconds",
    "failedJobsHistoryLimit",
    "fsGroup",
    "gracePeriodSeconds",
    "hostProcess",
    "hostUsers",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "immutable",
    "leaseDurationSeconds",
    "leaseTransitions",
    "lendablePercent",
    "manualSelector",
    "maxFailedIndexes",
    "maxSurge",
    "maxUnavailable",
    "minAvailable",
    "minReplicas",
    "mode",
    "nominalConcurrencyShares",
    "optional",
    "orphanDependents",
    "parallelism",
    "partition",
    "podInfoOnMount",
    "preemptionPolicy",
    "priority",
    "privileged",
    "progressDeadlineSeconds",
    "readOnlyRootFilesystem",
    "ready",
    "recursiveReadOnlyMounts",
    "replicas",
    "requiresRepublish",
    "revisionHistoryLimit",
    "runAsGroup",
    "runAsNonRoot",
    "runAsUser",
    "seLinuxMount",
    "serving",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
    "stabilizationWindowSeconds",
    "started",
    "startingDeadlineSeconds",
    "storageCapacity",
    "storageClassName",
    "successfulJobsHistoryLimit",
    "supplementalGroupsPolicy",
    "suspend",
    "terminating",
    "terminationGracePeriodSeconds",
    "timeoutSeconds",
    "tolerationSeconds",
    "ttlSecondsAfterFinished",
    "userNamespaces",
];

/// Whether the zero of an optional field of this name differs from its absence.
pub(super) fn zero_says_something(field: &str) -> bool {
    POINTERS.binary_search(&field).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_found() {
        assert!(POINTERS.is_sorted());
        assert!(zero_says_something("runAsUser") && zero_says_something("suspend"));
        assert!(!zero_says_something("hostNetwork") && !zero_says_something("publishNotReadyAddresses"));
    }
}
