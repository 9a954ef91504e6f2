//! Jobs and cron jobs.

use super::*;

fn job() -> Value {
    json!({
        "metadata": {"name": "j", "namespace": "ns", "uid": "u-1"},
        "spec": {"template": {"spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "a", "image": "b:1"}],
        }}},
    })
}

fn cron_job() -> Value {
    json!({
        "metadata": {"name": "c", "namespace": "ns"},
        "spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": job()["spec"]}},
    })
}

#[test]
fn of_jobs() {
    assert_eq!(created("jobs", &job()), [""; 0]);
    for (pointer, value, expect) in [
        (
            "/spec/parallelism",
            json!(-1),
            "spec.parallelism: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            "/spec",
            json!({"completionMode": "Indexed", "parallelism": 2, "template": job()["spec"]["template"]}),
            "spec.completions: Required value: when completion mode is Indexed",
        ),
        (
            "/spec/template/spec/restartPolicy",
            json!("Always"),
            "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
        ),
        (
            "/spec/template/spec/restartPolicy",
            json!("Sometimes"),
            "spec.template.spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"OnFailure\", \"Never\"",
        ),
    ] {
        let said = created("jobs", &with(&job(), pointer, value));
        assert!(said.iter().any(|s| s == expect), "{pointer}: {said:?}");
    }
    let by_hand = with(&job(), "/spec/selector", json!({"matchLabels": {"app": "x"}}));
    let said = created("jobs", &by_hand);
    assert!(said.iter().any(|s| s.contains("`selector` not auto-generated")), "{said:?}");
}

#[test]
fn changes_of_jobs() {
    let base = with(&job(), "/spec/selector", json!({"matchLabels": {"controller-uid": "u-1"}}));
    let base = with(&base, "/spec/template/metadata", json!({"labels": {"controller-uid": "u-1"}}));
    let base = with(&base, "/spec/completions", json!(2));
    assert_eq!(updated("jobs", &with(&base, "/spec/parallelism", json!(3)), &base), [""; 0]);
    assert_eq!(
        updated("jobs", &with(&base, "/spec/completions", json!(3)), &base),
        ["spec.completions: Invalid value: 3: field is immutable"]
    );
    let other_image = with(&base, "/spec/template/spec/containers/0/image", json!("b:2"));
    let said = updated("jobs", &other_image, &base);
    assert!(said.len() == 1 && said[0].starts_with("spec.template: Invalid value:"), "{said:?}");
    let held = |job: &Value| with(job, "/spec/suspend", json!(true));
    let said = updated("jobs", &held(&other_image), &held(&base));
    assert!(said.len() == 1 && said[0].starts_with("spec.template: Invalid value:"), "{said:?}");
    // Where its pods run and what they are given may change while a job is held and has none.
    let placed = with(&base, "/spec/template/spec/nodeSelector", json!({"disk": "ssd"}));
    let sized = with(&base, "/spec/template/spec/containers/0/resources", json!({"requests": {"cpu": "1"}}));
    let near = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}});
    let near = with(&base, "/spec/template/spec/affinity", near);
    for changed in [&placed, &sized, &near] {
        assert_eq!(updated("jobs", &held(changed), &held(&base)), [""; 0]);
        assert_eq!(updated("jobs", &held(&base), &held(changed)), [""; 0]);
        assert_eq!(updated("jobs", changed, &base).len(), 1);
        let busy = with(&held(&base), "/status", json!({"active": 1}));
        assert_eq!(updated("jobs", &held(changed), &busy).len(), 1);
    }
}

#[test]
fn elastic_jobs_change_both_numbers() {
    let indexed = json!({"completionMode": "Indexed", "completions": 2, "parallelism": 2,
        "selector": {"matchLabels": {"controller-uid": "u-1"}}, "template": job()["spec"]["template"]});
    let base = with(&job(), "/spec", indexed);
    let base = with(&base, "/spec/template/metadata", json!({"labels": {"controller-uid": "u-1"}}));
    let four = with(&base, "/spec/completions", json!(4));
    let why = "spec.completions: Invalid value: 4: can only be modified in tandem with spec.parallelism";
    assert_eq!(updated("jobs", &four, &base), [why]);
    assert_eq!(updated("jobs", &with(&four, "/spec/parallelism", json!(4)), &base), [""; 0]);
}

fn indexed() -> Value {
    with(&with(&job(), "/spec/completions", json!(3)), "/spec/completionMode", json!("Indexed"))
}

/// What is said of a job with a changed field, among other things.
fn said_of(base: &Value, pointer: &str, value: Value, expect: &str) {
    let said = created("jobs", &with(base, pointer, value));
    assert!(said.iter().any(|s| s == expect), "{pointer}: {said:?}");
}

#[test]
fn of_indexed_jobs() {
    for (base, field, value, expect) in [
        (job(), "backoffLimitPerIndex", 1, "Invalid value: 1: requires indexed completion mode"),
        (
            indexed(),
            "parallelism",
            100_001,
            "Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed",
        ),
    ] {
        said_of(&base, &format!("/spec/{field}"), json!(value), &format!("spec.{field}: {expect}"));
    }
    let expect = "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified";
    said_of(&indexed(), "/spec/maxFailedIndexes", json!(1), expect);
    let expect =
        "spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path (such as \"acme.io/foo\")";
    said_of(&indexed(), "/spec/managedBy", json!("me"), expect);
    let named = with(&indexed(), "/metadata/name", json!("n".repeat(62)));
    let said = created("jobs", &named);
    assert!(
        said.iter().any(|s| s.contains("will not able to create pod with invalid DNS label")),
        "{said:?}"
    );
}

#[test]
fn of_success_policies() {
    let refused = |rule: Value, expect: &str| {
        said_of(
            &indexed(),
            "/spec/successPolicy",
            json!({"rules": [rule]}),
            &format!("spec.successPolicy.rules[0]{expect}"),
        );
    };
    refused(
        json!({}),
        ": Required value: at least one of succeededCount or succeededIndexes must be specified",
    );
    refused(
        json!({"succeededIndexes": "0-1", "succeededCount": 3}),
        ".succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of indexes in the specified succeededIndexes field)",
    );
    refused(
        json!({"succeededIndexes": "3"}),
        ".succeededIndexes: Invalid value: \"3\": error parsing succeededIndexes: too large index: \"3\"",
    );
    let expect = "spec.successPolicy: Invalid value: {\"rules\":[]}: requires indexed completion mode";
    said_of(&job(), "/spec/successPolicy", json!({"rules": []}), expect);
}

#[test]
fn of_failure_policies() {
    let policy = |rule: Value| json!({"rules": [rule]});
    let refused = |rule: Value, expect: &str| {
        said_of(
            &job(),
            "/spec/podFailurePolicy",
            policy(rule),
            &format!("spec.podFailurePolicy.rules[0]{expect}"),
        );
    };
    let codes = |action: &str, values: Value| json!({"action": action, "onExitCodes": {"operator": "In", "values": values}});
    refused(
        json!({"action": "Ignore"}),
        ": Invalid value: specifying one of OnExitCodes and OnPodConditions is required",
    );
    refused(
        codes("FailIndex", json!([1])),
        ".action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set",
    );
    refused(
        codes("", json!([1])),
        ".action: Required value: valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]",
    );
    refused(
        codes("Count", json!([0])),
        ".onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator",
    );
    refused(codes("Count", json!([2, 1])), ".onExitCodes.values: Invalid value: [2,1]: must be ordered");
    let mut elsewhere = codes("Count", json!([2]));
    elsewhere["onExitCodes"]["containerName"] = json!("z");
    refused(
        elsewhere,
        ".onExitCodes.containerName: Invalid value: \"z\": must be one of the container or initContainer names in the pod template",
    );
    let failed = with(&job(), "/spec/podFailurePolicy", policy(codes("Ignore", json!([1, 2]))));
    assert_eq!(created("jobs", &with(&failed, "/spec/podReplacementPolicy", json!("Failed"))), [""; 0]);
    let said = created("jobs", &with(&failed, "/spec/podReplacementPolicy", json!("TerminatingOrFailed")));
    let expect =
        "spec.podReplacementPolicy: Unsupported value: \"TerminatingOrFailed\": supported values: \"Failed\"";
    assert_eq!(said, [expect]);
}

#[test]
fn a_status_takes_nothing_back() {
    let told = |types: &[&str], more: Value| {
        let conditions: Vec<Value> =
            types.iter().map(|type_| json!({"type": type_, "status": "True"})).collect();
        let mut status = more;
        status["conditions"] = conditions.into();
        with(&job(), "/status", status)
    };
    let none = told(&[], json!({}));
    let start = "2026-01-01T00:00:00Z";
    let done = json!({"startTime": start, "completionTime": start, "succeeded": 1});
    let complete = told(&["SuccessCriteriaMet", "Complete"], done.clone());
    assert_eq!(status_updated("jobs", &complete, &none), [""; 0]);
    let said = |new: &Value, old: &Value| status_updated("jobs", new, old).join("; ");
    let early = told(&["Complete"], done.clone());
    assert!(said(&early, &none).contains("status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition"));
    let both = told(&["SuccessCriteriaMet", "Complete", "FailureTarget", "Failed"], done);
    assert!(said(&both, &none).contains("cannot set Complete=True and Failed=true conditions"));
    let undone = said(&none, &complete);
    for part in [
        "cannot disable the terminal Complete=True condition",
        "cannot decrease the succeeded counter",
        "status.startTime: Invalid value: null: field is immutable for unsuspended job once set",
    ] {
        assert!(undone.contains(part), "{undone}");
    }
    let busy = told(
        &["FailureTarget", "Failed"],
        json!({"startTime": start, "active": 1, "uncountedTerminatedPods": {"failed": ["a", "a"]}}),
    );
    let busy = said(&busy, &none);
    for part in [
        "status.active: Invalid value: 1: active>0 is invalid for finished job",
        "status.uncountedTerminatedPods: Invalid value: {\"failed\":[\"a\",\"a\"]}: must be empty for finished job",
        "failed[1]: Duplicate value: \"a\"",
    ] {
        assert!(busy.contains(part), "{busy}");
    }
    let indexes = told(&[], json!({"completedIndexes": "0"}));
    assert!(
        said(&indexes, &none)
            .contains("cannot set non-empty completedIndexes when non-indexed completion mode")
    );
}

#[test]
fn of_cron_jobs() {
    assert_eq!(created("cronjobs", &cron_job()), [""; 0]);
    for (pointer, value, expect) in [
        ("/spec/schedule", json!(null), "spec.schedule: Required value"),
        (
            "/spec/schedule",
            json!("* * *"),
            "spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields, found 3: [* * *]",
        ),
        (
            "/spec/schedule",
            json!("CRON_TZ=UTC * * * * *"),
            "spec.schedule: Invalid value: \"CRON_TZ=UTC * * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        ),
        (
            "/spec/timeZone",
            json!(""),
            "spec.timeZone: Invalid value: \"\": timeZone must be nil or non-empty string",
        ),
        (
            "/spec/timeZone",
            json!("local"),
            "spec.timeZone: Invalid value: \"local\": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
        ),
        (
            "/spec/timeZone",
            json!("Europe//Paris"),
            "spec.timeZone: Invalid value: \"Europe//Paris\": unknown time zone Europe//Paris",
        ),
        (
            "/spec/concurrencyPolicy",
            json!("Maybe"),
            "spec.concurrencyPolicy: Unsupported value: \"Maybe\": supported values: \"Allow\", \"Forbid\", \"Replace\"",
        ),
        (
            "/metadata/name",
            json!("n".repeat(53)),
            "metadata.name: Invalid value: \"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn\": must be no more than 52 characters",
        ),
    ] {
        assert_eq!(created("cronjobs", &with(&cron_job(), pointer, value)), [expect], "{pointer}");
    }
}
