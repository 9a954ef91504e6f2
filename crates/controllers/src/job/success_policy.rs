//! Whether the indexes that succeeded satisfy a Job's `successPolicy` (`pkg/controller/job/success_policy.go`).

use k8s_openapi::api::batch::v1::SuccessPolicy;

use super::indexes::Indexes;

/// What to tell the user when a rule is satisfied.
pub(super) fn met(policy: &SuccessPolicy, completions: u32, succeeded: &Indexes) -> Option<String> {
    let satisfied = policy.rules.iter().position(|rule| {
        if succeeded.is_empty() {
            return false;
        }
        let count = rule.succeeded_count;
        let Some(wanted) = &rule.succeeded_indexes else {
            return count.is_some_and(|count| succeeded.total() >= count);
        };
        let wanted = Indexes::parse(wanted, completions);
        let found = succeeded.in_common(&wanted);
        !wanted.is_empty() && (found == wanted.total() || count.is_some_and(|count| found >= count))
    });
    satisfied.map(|at| format!("Matched rules at index {at}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_are_of_indexes_of_a_number_or_of_both() {
        let policy = serde_json::from_value(json!({"rules": [
            {"succeededIndexes": "0,2-3"},
            {"succeededIndexes": "5-9", "succeededCount": 2},
            {"succeededCount": 6},
        ]}))
        .expect("a policy");
        let met = |succeeded: &str| met(&policy, 10, &Indexes::parse(succeeded, 10));
        assert_eq!(met(""), None);
        assert_eq!(met("0,2"), None);
        assert_eq!(met("0-3").as_deref(), Some("Matched rules at index 0"));
        assert_eq!(met("1,5,9").as_deref(), Some("Matched rules at index 1"));
        assert_eq!(met("1-4,9"), None);
        assert_eq!(met("1-5,9").as_deref(), Some("Matched rules at index 1"));
        assert_eq!(met("0,1,3,4,9"), None);
    }
}
