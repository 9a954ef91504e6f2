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
    assert_eq!(updated("jobs", &held(&other_image), &held(&base)), [""; 0]);
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
