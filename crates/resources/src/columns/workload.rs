//! Kinds with a pod template: replication controllers and all that came after them.

use api::Object;
use jiff::Timestamp;
use serde_json::Value;

use super::duration;
use super::read::{
    age, condition_true, containers, count, field, items, labels, number, selector, selector_or_none, since,
    text, text_or,
};
use super::{AGE, Column, NAME, column, wide};

const CONTAINERS: Column = wide("Containers", "string", "Names of each container in the template.");
const IMAGES: Column = wide("Images", "string", "Images referenced by each container in the template.");
const SELECTOR: Column = wide("Selector", "string", "Label selector of the pods.");
const TEMPLATE: &[&str] = &["spec", "template", "spec"];

/// Replication controllers and replica sets.
pub(crate) const REPLICAS: &[Column] = &[
    NAME,
    column("Desired", "integer", "Replicas is the number of desired replicas."),
    column("Current", "integer", "Replicas is the most recently observed number of replicas."),
    column("Ready", "integer", "The number of ready replicas."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(crate) fn replication_controller(o: &Object, now: Timestamp) -> Vec<Value> {
    replicas(o, now, labels(o.at(&["spec", "selector"])))
}

pub(crate) fn replica_set(o: &Object, now: Timestamp) -> Vec<Value> {
    replicas(o, now, selector_or_none(o.at(&["spec", "selector"])))
}

fn replicas(o: &Object, now: Timestamp, selector: String) -> Vec<Value> {
    let [names, images] = containers(o, TEMPLATE);
    vec![
        o.name().into(),
        number(o, &["spec", "replicas"]).into(),
        number(o, &["status", "replicas"]).into(),
        number(o, &["status", "readyReplicas"]).into(),
        age(o, now),
        names,
        images,
        selector.into(),
    ]
}

pub(crate) const DEPLOYMENT: &[Column] = &[
    NAME,
    column("Ready", "string", "Number of the pod with ready state"),
    column(
        "Up-to-date",
        "string",
        "Total number of non-terminated pods that have the desired template spec.",
    ),
    column("Available", "string", "Total number of available pods."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(crate) fn deployment(o: &Object, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(o, TEMPLATE);
    vec![
        o.name().into(),
        ready_of_desired(o),
        number(o, &["status", "updatedReplicas"]).into(),
        number(o, &["status", "availableReplicas"]).into(),
        age(o, now),
        names,
        images,
        selector(o.at(&["spec", "selector"])).into(),
    ]
}

fn ready_of_desired(o: &Object) -> Value {
    format!("{}/{}", number(o, &["status", "readyReplicas"]), number(o, &["spec", "replicas"])).into()
}

pub(crate) const STATEFUL_SET: &[Column] =
    &[NAME, column("Ready", "string", "Number of the pod with ready state"), AGE, CONTAINERS, IMAGES];

pub(crate) fn stateful_set(o: &Object, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(o, TEMPLATE);
    vec![o.name().into(), ready_of_desired(o), age(o, now), names, images]
}

pub(crate) const DAEMON_SET: &[Column] = &[
    NAME,
    column("Desired", "integer", "The number of nodes that should be running the daemon pod."),
    column("Current", "integer", "The number of nodes that run at least one daemon pod and should."),
    column("Ready", "integer", "The number of nodes with a ready daemon pod."),
    column("Up-to-date", "integer", "The number of nodes that run the updated daemon pod."),
    column("Available", "integer", "The number of nodes with an available daemon pod."),
    column("Node Selector", "string", "Labels of the nodes the pods may run on."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(crate) fn daemon_set(o: &Object, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(o, TEMPLATE);
    let status = |key: &str| Value::from(number(o, &["status", key]));
    vec![
        o.name().into(),
        status("desiredNumberScheduled"),
        status("currentNumberScheduled"),
        status("numberReady"),
        status("updatedNumberScheduled"),
        status("numberAvailable"),
        labels(o.at(&["spec", "template", "spec", "nodeSelector"])).into(),
        age(o, now),
        names,
        images,
        selector_or_none(o.at(&["spec", "selector"])).into(),
    ]
}

pub(crate) const JOB: &[Column] = &[
    NAME,
    column("Status", "string", "Status of the job."),
    column("Completions", "string", "The number of pods which reached phase Succeeded."),
    column("Duration", "string", "Time required to complete the job."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(crate) fn job(o: &Object, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(o, TEMPLATE);
    vec![
        o.name().into(),
        job_status(o).into(),
        job_completions(o).into(),
        job_duration(o, now).into(),
        age(o, now),
        names,
        images,
        selector_or_none(o.at(&["spec", "selector"])).into(),
    ]
}

fn job_status(o: &Object) -> &'static str {
    if condition_true(o, "Complete") {
        "Complete"
    } else if condition_true(o, "Failed") {
        "Failed"
    } else if o.deletion_timestamp().is_some() {
        "Terminating"
    } else if condition_true(o, "Suspended") {
        "Suspended"
    } else if condition_true(o, "FailureTarget") {
        "FailureTarget"
    } else {
        "Running"
    }
}

fn job_completions(o: &Object) -> String {
    let succeeded = number(o, &["status", "succeeded"]);
    if let Some(wanted) = o.at(&["spec", "completions"]).and_then(Value::as_i64) {
        return format!("{succeeded}/{wanted}");
    }
    match number(o, &["spec", "parallelism"]) {
        parallelism @ 2.. => format!("{succeeded}/1 of {parallelism}"),
        _ => format!("{succeeded}/1"),
    }
}

fn job_duration(o: &Object, now: Timestamp) -> String {
    let time = |key: &str| text(o, &["status", key]).parse::<Timestamp>().ok();
    time("startTime")
        .map(|start| duration::human(time("completionTime").unwrap_or(now).duration_since(start)))
        .unwrap_or_default()
}

pub(crate) const CRON_JOB: &[Column] = &[
    NAME,
    column("Schedule", "string", "The schedule in Cron format."),
    column("Timezone", "string", "The time zone name for the given schedule."),
    column("Suspend", "boolean", "Whether subsequent executions are suspended."),
    column("Active", "integer", "The currently running jobs."),
    column("Last Schedule", "string", "When the job was last successfully scheduled."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(crate) fn cron_job(o: &Object, now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(o, &["spec", "jobTemplate", "spec", "template", "spec"]);
    let suspend = o.at(&["spec", "suspend"]).and_then(Value::as_bool);
    let last = text(o, &["status", "lastScheduleTime"]);
    vec![
        o.name().into(),
        text(o, &["spec", "schedule"]).into(),
        text_or(o, &["spec", "timeZone"], "<none>"),
        suspend.map_or_else(|| "<unset>".into(), |s| if s { "True" } else { "False" }.into()),
        count(o, &["status", "active"]).into(),
        if last.is_empty() { "<none>".into() } else { since(last, now).into() },
        age(o, now),
        names,
        images,
        selector_or_none(o.at(&["spec", "jobTemplate", "spec", "selector"])).into(),
    ]
}

pub(crate) const POD_TEMPLATE: &[Column] = &[
    NAME,
    column("Containers", "string", "Names of each container in the template."),
    column("Images", "string", "Images referenced by each container in the template."),
    column("Pod Labels", "string", "The labels for the pod template."),
];

pub(crate) fn pod_template(o: &Object, _now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(o, &["template", "spec"]);
    vec![o.name().into(), names, images, labels(o.at(&["template", "metadata", "labels"])).into()]
}

pub(crate) const REVISION: &[Column] = &[
    NAME,
    column("Controller", "string", "Controller of the object"),
    column("Revision", "string", "Revision indicates the revision of the state represented by Data."),
    AGE,
];

pub(crate) fn revision(o: &Object, now: Timestamp) -> Vec<Value> {
    let owners = items(o, &["metadata", "ownerReferences"]);
    let controller = owners.iter().find(|r| r.get("controller") == Some(&Value::Bool(true))).map(|r| {
        let kind = field(r, "kind").to_lowercase();
        match field(r, "apiVersion").split_once('/') {
            Some((group, _)) => format!("{kind}.{group}/{}", field(r, "name")),
            None => format!("{kind}/{}", field(r, "name")),
        }
    });
    vec![
        o.name().into(),
        controller.unwrap_or_else(|| "<none>".into()).into(),
        number(o, &["revision"]).into(),
        age(o, now),
    ]
}
