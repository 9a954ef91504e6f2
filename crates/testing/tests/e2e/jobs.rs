//! Jobs and cron jobs: W107, W108 and the Jobs' part of W109.

use serde_json::{Value, json};
use testing::Shell;

use crate::manifests::{STAY, container};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w107_jobs_run_to_their_end", w107),
    ("w107b_indexes_and_policies", w107b),
    ("w107c_a_job_ends_while_the_server_is_killed", w107c),
    ("w108_cron_jobs_run_on_time", w108),
    ("w109b_a_job_never_always_restarts", w109b),
];

/// A Job whose container runs a script, with more of a specification.
fn job(name: &str, script: &str, spec: Value) -> Value {
    let mut job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"template": {"spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container("main", script)],
        }}},
    });
    for (key, value) in spec.as_object().expect("a specification") {
        job["spec"][key] = value.clone();
    }
    job
}

fn field(sh: &Shell, what: &str, path: &str) -> String {
    sh.ok(&format!("kubectl get {what} -o jsonpath='{{{path}}}'")).trim().to_owned()
}

fn ends(sh: &Shell, job: &str, how: &str) {
    sh.ok(&format!("kubectl wait --for=condition={how} job/{job} --timeout=90s"));
}

fn w107(scene: &Scene) {
    let sh = &scene.shell;
    sh.apply(&job("five", "sleep 0.2", json!({"completions": 5, "parallelism": 2})).to_string());
    let mut watch =
        sh.start("kubectl get job five -w -o jsonpath='{.status.active} {.status.succeeded}{\"\\n\"}'");
    watch.wait_until("two pods", |line| line.trim().starts_with("2"));
    ends(sh, "five", "complete");
    let table = sh.ok("kubectl get job five");
    assert!(
        table.split_whitespace().take(6).eq("NAME STATUS COMPLETIONS DURATION AGE five".split(' ')),
        "{table}"
    );
    assert!(table.contains("Complete") && table.contains("5/5"), "{table}");
    let described = sh.ok("kubectl describe job five");
    for part in [
        "Parallelism:",
        "Pods Statuses:    0 Active (0 Ready) / 5 Succeeded / 0 Failed",
        "Created pod: five-",
        "SuccessfulCreate",
        "Job completed",
    ] {
        assert!(described.contains(part), "{part}: {described}");
    }
    for label in ["batch.kubernetes.io/job-name=five", "job-name=five"] {
        assert_eq!(sh.ok(&format!("kubectl get pods -l {label} -o name")).lines().count(), 5, "{label}");
    }
    assert_eq!(field(sh, "pods -l job-name=five", ".items[*].metadata.finalizers"), "");
    sh.ok("kubectl delete job five");
    sh.ok("kubectl wait --for=delete pod -l job-name=five --timeout=60s");
    w107_failures(sh);
    w107_suspend(sh);
    w107_by_hand(sh);
}

fn w107_failures(sh: &Shell) {
    sh.apply(&job("fails", "exit 1", json!({"backoffLimit": 0})).to_string());
    ends(sh, "fails", "failed");
    let reason = field(sh, "job fails", ".status.conditions[?(@.type==\"Failed\")].reason");
    assert_eq!(
        (reason, field(sh, "job fails", ".status.failed")),
        ("BackoffLimitExceeded".into(), "1".into())
    );
    assert!(sh.ok("kubectl describe job fails").contains("Job has reached the specified backoff limit"));
    let mut local =
        job("local", "test -e /data/once || { touch /data/once; exit 1; }", json!({"completions": 2}));
    let pod = &mut local["spec"]["template"]["spec"];
    pod["restartPolicy"] = "OnFailure".into();
    pod["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
    pod["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    sh.apply(&local.to_string());
    ends(sh, "local", "complete");
    assert_eq!(field(sh, "job local", ".status.failed"), "", "containers were restarted where they are");
    sh.apply(&job("late", STAY, json!({"activeDeadlineSeconds": 2})).to_string());
    ends(sh, "late", "failed");
    let why = field(sh, "job late", ".status.conditions[?(@.type==\"Failed\")].message");
    assert_eq!(why, "Job was active longer than specified deadline");
    sh.ok("kubectl wait --for=delete pod -l job-name=late --timeout=60s");
    let brief = job("brief", "true", json!({"ttlSecondsAfterFinished": 1}));
    sh.apply(&brief.to_string());
    sh.ok("kubectl wait --for=delete job/brief --timeout=60s");
    sh.ok("kubectl wait --for=delete pod -l job-name=brief --timeout=60s");
}

fn w107_suspend(sh: &Shell) {
    sh.apply(&job("held", STAY, json!({"suspend": true, "parallelism": 2, "completions": 2})).to_string());
    sh.ok("kubectl wait --for=condition=suspended job/held --timeout=30s");
    assert_eq!(sh.ok("kubectl get pods -l job-name=held -o name"), "");
    sh.ok("kubectl patch job held -p '{\"spec\":{\"suspend\":false}}'");
    sh.ok("kubectl wait job/held --for=jsonpath={.status.ready}=2 --timeout=60s");
    sh.ok("kubectl patch job held -p '{\"spec\":{\"suspend\":true}}'");
    sh.ok("kubectl wait --for=delete pod -l job-name=held --timeout=60s");
    sh.ok("kubectl wait --for=condition=suspended job/held --timeout=30s");
    assert_eq!(field(sh, "job held", ".status.startTime"), "", "time does not run");
    let described = sh.ok("kubectl describe job held");
    for part in ["Job suspended", "Job resumed", "SuccessfulDelete"] {
        assert!(described.contains(part), "{part}: {described}");
    }
    sh.ok("kubectl delete job held");
}

fn w107_by_hand(sh: &Shell) {
    sh.apply(
        &job(
            "kept",
            STAY,
            json!({"parallelism": 1, "completions": 3, "podReplacementPolicy": "TerminatingOrFailed"}),
        )
        .to_string(),
    );
    sh.ok("kubectl wait job/kept --for=jsonpath={.status.ready}=1 --timeout=60s");
    let pod = field(sh, "pods -l job-name=kept", ".items[0].metadata.name");
    sh.ok(&format!("kubectl delete pod {pod} --wait=false"));
    sh.ok("kubectl wait job/kept --for=jsonpath={.status.failed}=1 --timeout=60s");
    sh.ok(&format!("kubectl wait --for=delete pod/{pod} --timeout=60s"));
    sh.ok("kubectl wait job/kept --for=jsonpath={.status.ready}=1 --timeout=60s");
    sh.ok("kubectl patch job kept -p '{\"spec\":{\"parallelism\":2}}'");
    sh.ok("kubectl wait job/kept --for=jsonpath={.status.ready}=2 --timeout=60s");
    sh.ok("kubectl delete job kept --cascade=foreground");
    assert_eq!(sh.ok("kubectl get pods -l job-name=kept -o name"), "");
}

fn w107b(scene: &Scene) {
    let sh = &scene.shell;
    let script = "echo index $JOB_COMPLETION_INDEX on $(hostname)";
    sh.apply(
        &job("ix", script, json!({"completionMode": "Indexed", "completions": 3, "parallelism": 3}))
            .to_string(),
    );
    ends(sh, "ix", "complete");
    assert_eq!(field(sh, "job ix", ".status.completedIndexes"), "0-2");
    for index in 0..3 {
        let said = sh.ok(&format!("kubectl logs -l batch.kubernetes.io/job-completion-index={index}"));
        assert_eq!(said, format!("index {index} on ix-{index}\n"));
    }
    let script = "exit $((JOB_COMPLETION_INDEX % 2))";
    let spec =
        json!({"completionMode": "Indexed", "completions": 4, "parallelism": 4, "backoffLimitPerIndex": 0});
    sh.apply(&job("per", script, spec.clone()).to_string());
    ends(sh, "per", "failed");
    let indexes = field(sh, "job per", ".status.completedIndexes}/{.status.failedIndexes");
    assert_eq!(indexes, "0,2/1,3");
    let mut most = spec;
    most["maxFailedIndexes"] = 0.into();
    sh.apply(&job("most", script, most).to_string());
    ends(sh, "most", "failed");
    let reason = field(sh, "job most", ".status.conditions[?(@.type==\"Failed\")].reason");
    assert_eq!(reason, "MaxFailedIndexesExceeded");
    let rules = json!([{"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]}}]);
    sh.apply(&job("policy", "exit 42", json!({"podFailurePolicy": {"rules": rules}})).to_string());
    ends(sh, "policy", "failed");
    let message = field(sh, "job policy", ".status.conditions[?(@.type==\"Failed\")].message");
    let end = "failed with exit code 42 matching FailJob rule at index 0";
    assert!(
        message.starts_with("Container main for pod w107b/policy-") && message.ends_with(end),
        "{message}"
    );
    let script = format!("test $JOB_COMPLETION_INDEX = 0 || {{ {STAY}; }}");
    let rules = json!([{"succeededIndexes": "0"}]);
    let spec = json!({"completionMode": "Indexed", "completions": 3, "parallelism": 3, "successPolicy": {"rules": rules}});
    sh.apply(&job("early", &script, spec).to_string());
    ends(sh, "early", "complete");
    let reason = field(sh, "job early", ".status.conditions[?(@.type==\"Complete\")].reason");
    assert_eq!((reason, field(sh, "job early", ".status.succeeded")), ("SuccessPolicy".into(), "1".into()));
    let elsewhere = job("other", "true", json!({"managedBy": "example.com/someone"}));
    sh.apply(&elsewhere.to_string());
    sh.apply(&job("after", "true", json!({})).to_string());
    ends(sh, "after", "complete");
    assert_eq!(sh.ok("kubectl get pods -l job-name=other -o name"), "", "another controller runs the job");
}

/// A Job's ends are counted once, whenever the server dies.
fn w107c(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("jobkl", 1);
    sh.ok("kubectl wait --for=create serviceaccount/default --timeout=30s");
    let spec = json!({"completions": 24, "parallelism": 6});
    sh.apply(&job("many", "sleep 0.5", spec).to_string());
    for number in ["4", "12"] {
        let mut watch = sh.start("kubectl get job many -w -o jsonpath='{.status.succeeded}{\"\\n\"}'");
        watch.wait_until("some successes", |line| {
            line.trim().parse::<u32>().is_ok_and(|n| n >= number.parse().expect("a number"))
        });
        drop(watch);
        let pid = cluster.server_pid().expect("the server's process");
        sh.ok(&format!("kill -KILL {pid} && timeout 30 tail --pid={pid} -f /dev/null"));
        cluster.knarr(&["up", "--no-kubeconfig"]).expect("the server again");
    }
    ends(&sh, "many", "complete");
    assert_eq!(field(&sh, "job many", ".status.succeeded"), "24");
    assert_eq!(field(&sh, "job many", ".status.failed"), "");
    let succeeded =
        sh.ok("kubectl get pods -l job-name=many --field-selector=status.phase=Succeeded -o name");
    assert_eq!(succeeded.lines().count(), 24, "{succeeded}");
    assert_eq!(field(&sh, "pods -l job-name=many", ".items[*].metadata.finalizers"), "");
    cluster.take_down().expect("the cluster goes");
}

/// A cron job of a version, whose schedule names every minute.
fn cron(version: &str, name: &str, script: &str) -> Value {
    json!({
        "apiVersion": version, "kind": "CronJob", "metadata": {"name": name},
        "spec": {"schedule": "* * * * *", "startingDeadlineSeconds": 30, "successfulJobsHistoryLimit": 1,
            "jobTemplate": {"spec": job("x", script, json!({}))["spec"].clone()}},
    })
}

fn w108(scene: &Scene) {
    let sh = &scene.shell;
    let mut quarters = cron("batch/v1beta1", "quarters", "true");
    quarters["spec"]["schedule"] = "0,15,30,45 * * * *".into();
    sh.file("old.json", &quarters.to_string());
    let said = sh.ok("kubectl create -f old.json 2>&1");
    let warning =
        "Warning: batch/v1beta1 CronJob is deprecated in v1.21+, unavailable in v1.25+; use batch/v1 CronJob";
    assert!(said.contains(warning) && said.contains("cronjob.batch/quarters created"), "{said}");
    assert_eq!(field(sh, "cronjob quarters", ".apiVersion"), "batch/v1");
    let old = sh.ok("kubectl get cronjobs.v1beta1.batch quarters -o jsonpath='{.apiVersion}' 2>/dev/null");
    assert_eq!(old, "batch/v1beta1");
    let table = sh.ok("kubectl get cronjob quarters");
    let head = "NAME SCHEDULE TIMEZONE SUSPEND ACTIVE LAST SCHEDULE AGE quarters 0,15,30,45";
    assert!(table.split_whitespace().take(10).eq(head.split(' ')), "{table}");
    w108_every_minute(sh);
    w108_by_hand(sh);
    let bad = cron("batch/v1", "bad", "true");
    for (pointer, value, why) in [
        ("/spec/schedule", "* * *", "expected exactly 5 fields, found 3: [* * *]"),
        (
            "/spec/schedule",
            "TZ=UTC * * * * *",
            "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        ),
        ("/spec/timeZone", "Nowhere/Land", "unknown time zone Nowhere/Land"),
    ] {
        let mut one = bad.clone();
        one["spec"]["timeZone"] = "Europe/Berlin".into();
        *one.pointer_mut(pointer).expect("a field") = value.into();
        sh.file("bad.json", &one.to_string());
        let said = sh.fails("kubectl create -f bad.json");
        assert!(said.contains(why), "{said}");
    }
}

/// Waits for a whole minute, in which all policies of concurrency are seen at work.
fn w108_every_minute(sh: &Shell) {
    let mut manifests = Vec::new();
    for policy in ["Forbid", "Replace", "Allow"] {
        let name = policy.to_lowercase();
        let mut one = cron("batch/v1", &name, STAY);
        one["spec"]["concurrencyPolicy"] = policy.into();
        manifests.push(one.to_string());
    }
    let mut held = cron("batch/v1", "suspended", "true");
    held["spec"]["suspend"] = true.into();
    manifests.push(held.to_string());
    manifests.push(cron("batch/v1", "short", "true").to_string());
    sh.apply(&manifests.join("\n"));
    let count = |name: &str| {
        let owned = format!("{{.items[?(@.metadata.ownerReferences[0].name==\"{name}\")].metadata.name}}");
        sh.ok(&format!("kubectl get jobs -o jsonpath='{owned}'"))
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    sh.ok("kubectl wait cronjob/short --for=jsonpath={.status.lastSuccessfulTime} --timeout=100s");
    sh.ok("timeout 30 sh -c 'until kubectl get cronjob allow -o jsonpath={.status.active[0].name}; do sleep 0.5; done'");
    let first = [count("forbid"), count("replace"), count("allow"), count("short")];
    assert!(first.iter().all(|jobs| jobs.len() == 1), "{first:?}");
    assert_eq!(count("suspended"), Vec::<String>::new());
    let name = &first[3][0];
    let minutes: i64 = name.trim_start_matches("short-").parse().expect("minutes");
    let at = field(
        sh,
        &format!("job {name}"),
        ".metadata.annotations.batch\\.kubernetes\\.io/cronjob-scheduled-timestamp",
    );
    let expected = sh.ok(&format!("date -u -d @{} +%Y-%m-%dT%H:%M:%SZ", minutes * 60));
    assert_eq!(at, expected.trim());
    sh.ok("timeout 100 sh -c 'until kubectl get cronjob allow -o jsonpath={.status.active[1].name}; do sleep 0.5; done'");
    sh.ok(&format!("kubectl wait --for=delete job/{} --timeout=60s", first[1][0]));
    assert_eq!((count("forbid"), count("allow").len()), (first[0].clone(), 2));
    let replaced = count("replace");
    assert!(replaced.len() == 1 && replaced != first[1], "{replaced:?}");
    sh.ok(&format!("kubectl wait --for=delete job/{name} --timeout=60s"));
    let events = sh.ok("kubectl get events --field-selector=involvedObject.kind=CronJob");
    for part in [
        "Created job short-",
        "Saw completed job: short-",
        "status: Complete",
        "Deleted job short-",
        "JobAlreadyActive",
    ] {
        assert!(events.contains(part), "{part}: {events}");
    }
    sh.ok("kubectl delete cronjob forbid replace allow suspended short");
    // A job of `quarters` stays, if one began meanwhile.
    sh.ok("kubectl get jobs -o name | sed '/quarters/d' | xargs -r kubectl wait --for=delete --timeout=90s");
}

fn w108_by_hand(sh: &Shell) {
    assert_eq!(sh.ok("kubectl create job now --from=cronjob/quarters"), "job.batch/now created\n");
    ends(sh, "now", "complete");
    sh.ok("kubectl delete cronjob quarters");
    sh.ok("kubectl wait --for=delete job/now --timeout=60s");
}

fn w109b(scene: &Scene) {
    let sh = &scene.shell;
    for (policy, why) in [
        (
            "Always",
            "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
        ),
        ("", "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""),
    ] {
        let mut one = job("always", "true", json!({}));
        let spec = one["spec"]["template"]["spec"].as_object_mut().expect("a pod");
        if policy.is_empty() {
            spec.remove("restartPolicy");
        } else {
            spec["restartPolicy"] = policy.into();
        }
        sh.file("always.json", &one.to_string());
        let said = sh.fails("kubectl create -f always.json");
        assert!(said.contains("The Job \"always\" is invalid") && said.contains(why), "{said}");
    }
}
