//! Kinds whose rows are a few plain fields, said by the columns themselves.

use api::Object;
use jiff::Timestamp;
use serde_json::Value;

use super::Source::{Count, Flag, Join, Number, Selector, Text};
use super::read::{age, count};
use super::{AGE, Column, NAME, column};

pub(crate) const NAMESPACE: &[Column] = &[
    NAME,
    column("Status", "string", "The status of the namespace").from(Text(&["status", "phase"], "")),
    AGE,
];

pub(crate) const CONFIG_MAP: &[Column] =
    &[NAME, column("Data", "string", "Data contains the configuration data."), AGE];

pub(crate) fn config_map(o: &Object, now: Timestamp) -> Vec<Value> {
    let entries = count(o, &["data"]) + count(o, &["binaryData"]);
    vec![o.name().into(), entries.into(), age(o, now)]
}

pub(crate) const SECRET: &[Column] = &[
    NAME,
    column("Type", "string", "Used to facilitate programmatic handling of secret data.")
        .from(Text(&["type"], "")),
    column("Data", "string", "Data contains the secret data.").from(Count(&["data"])),
    AGE,
];

pub(crate) const SERVICE_ACCOUNT: &[Column] = &[
    NAME,
    column("Secrets", "string", "Secrets that pods running as this account are allowed to use.")
        .from(Count(&["secrets"])),
    AGE,
];

pub(crate) const COMPONENT_STATUS: &[Column] = &[
    NAME,
    column("Status", "string", "Status of the component conditions"),
    column("Message", "string", "Message of the component conditions"),
    column("Error", "string", "Error of the component conditions"),
];

pub(crate) fn component_status(o: &Object, _now: Timestamp) -> Vec<Value> {
    let conditions = o.at(&["conditions"]).and_then(Value::as_array);
    let healthy = conditions.into_iter().flatten().find(|condition| condition["type"] == "Healthy");
    let text = |key: &str| healthy.and_then(|c| c[key].as_str()).unwrap_or_default();
    let status = match (healthy, text("status")) {
        (None, _) => "Unknown",
        (_, "True") => "Healthy",
        _ => "Unhealthy",
    };
    vec![o.name().into(), status.into(), text("message").into(), text("error").into()]
}

pub(crate) const LEASE: &[Column] = &[
    NAME,
    column("Holder", "string", "The identity of the holder of a current lease.")
        .from(Text(&["spec", "holderIdentity"], "")),
    AGE,
];

pub(crate) const PRIORITY_CLASS: &[Column] = &[
    NAME,
    column("Value", "integer", "The integer value of this priority class.").from(Number(&["value"])),
    column("Global-Default", "boolean", "Whether this is the priority of pods that name no class.")
        .from(Flag(&["globalDefault"], false)),
    AGE,
    column("PreemptionPolicy", "string", "The policy for preempting pods with lower priority.")
        .from(Text(&["preemptionPolicy"], "")),
];

pub(crate) const DISRUPTION_BUDGET: &[Column] = &[
    NAME,
    column("Min Available", "string", "The minimum number of pods that must be available.")
        .from(Text(&["spec", "minAvailable"], "N/A")),
    column("Max Unavailable", "string", "The maximum number of pods that may be unavailable.")
        .from(Text(&["spec", "maxUnavailable"], "N/A")),
    column("Allowed Disruptions", "integer", "Calculated number of pods that may be disrupted at this time.")
        .from(Number(&["status", "disruptionsAllowed"])),
    AGE,
];

pub(crate) const SCALE: &[Column] = &[
    NAME,
    column("Desired", "integer", "The number of instances asked for.").from(Number(&["spec", "replicas"])),
    column("Available", "integer", "The number of instances there are.")
        .from(Number(&["status", "replicas"])),
    AGE,
];

pub(crate) const NETWORK_POLICY: &[Column] = &[
    NAME,
    column("Pod-Selector", "string", "The pods to which this policy applies.")
        .from(Selector(&["spec", "podSelector"])),
    AGE,
];

pub(crate) const SERVICE_CIDR: &[Column] = &[
    NAME,
    column("CIDRs", "string", "The address ranges that services get their IPs from.")
        .from(Join(&["spec", "cidrs"], "")),
    AGE,
];

pub(crate) const RUNTIME_CLASS: &[Column] = &[
    NAME,
    column("Handler", "string", "The configuration that the CRI implementation uses for pods of this class.")
        .from(Text(&["handler"], "")),
    AGE,
];

pub(crate) const WEBHOOKS: &[Column] = &[
    NAME,
    column(
        "Webhooks",
        "integer",
        "Webhooks indicates the number of webhooks registered in this configuration",
    )
    .from(Count(&["webhooks"])),
    AGE,
];

pub(crate) const FLOW_SCHEMA: &[Column] = &[
    NAME,
    column(
        "PriorityLevel",
        "string",
        "`name` is the name of the priority level configuration being referenced Required.",
    ),
    column(
        "MatchingPrecedence",
        "string",
        "`matchingPrecedence` is used to choose among the FlowSchemas that match a given request.",
    ),
    column(
        "DistinguisherMethod",
        "string",
        "`distinguisherMethod` defines how to compute the flow distinguisher for requests that match this schema.",
    ),
    AGE,
    column("MissingPL", "string", "references a broken or non-existent PriorityLevelConfiguration"),
];

pub(crate) fn flow_schema(o: &Object, now: Timestamp) -> Vec<Value> {
    let text = |path: &[&str], absent: &str| o.at(path).and_then(Value::as_str).unwrap_or(absent).into();
    let precedence = o.at(&["spec", "matchingPrecedence"]).cloned().unwrap_or_default();
    let conditions = o.at(&["status", "conditions"]).and_then(Value::as_array);
    let dangling = conditions.into_iter().flatten().find(|condition| condition["type"] == "Dangling");
    let dangling = dangling.and_then(|condition| condition["status"].as_str()).unwrap_or("?");
    vec![
        o.name().into(),
        text(&["spec", "priorityLevelConfiguration", "name"], ""),
        precedence,
        text(&["spec", "distinguisherMethod", "type"], "<none>"),
        age(o, now),
        dangling.into(),
    ]
}

pub(crate) const PRIORITY_LEVEL: &[Column] = &[
    NAME,
    column("Type", "string", "Whether this priority level is limited.").from(Text(&["spec", "type"], "")),
    column("NominalConcurrencyShares", "string", "The share of the server's concurrency.")
        .from(Text(&["spec", "limited", "nominalConcurrencyShares"], "<none>")),
    column("Queues", "string", "The number of queues.")
        .from(Text(&["spec", "limited", "limitResponse", "queuing", "queues"], "<none>")),
    column("HandSize", "string", "How many queues a flow may use.")
        .from(Text(&["spec", "limited", "limitResponse", "queuing", "handSize"], "<none>")),
    column("QueueLengthLimit", "string", "How many requests a queue may hold.")
        .from(Text(&["spec", "limited", "limitResponse", "queuing", "queueLengthLimit"], "<none>")),
    AGE,
];

pub(crate) const RESOURCE_SLICE: &[Column] = &[
    NAME,
    column("Node", "string", "The node which provides the resources in this pool.")
        .from(Text(&["spec", "nodeName"], "<unset>")),
    column("Driver", "string", "The name of the DRA driver.").from(Text(&["spec", "driver"], "")),
    column("Pool", "string", "The pool the resources belong to.").from(Text(&["spec", "pool", "name"], "")),
    AGE,
];

pub(crate) const CSI_NODE: &[Column] = &[
    NAME,
    column("Drivers", "integer", "Drivers indicates the number of CSI drivers registered on the node")
        .from(Count(&["spec", "drivers"])),
    AGE,
];

pub(crate) const CSI_CAPACITY: &[Column] = &[
    NAME,
    column("StorageClassName", "string", "The storage class the capacity applies to.")
        .from(Text(&["storageClassName"], "")),
    column("Capacity", "string", "How much can be provisioned.").from(Text(&["capacity"], "<unset>")),
];

pub(crate) const VOLUME_ATTACHMENT: &[Column] = &[
    NAME,
    column("Attacher", "string", "The CSI driver that must handle this request.")
        .from(Text(&["spec", "attacher"], "")),
    column("PV", "string", "The volume to attach.")
        .from(Text(&["spec", "source", "persistentVolumeName"], "")),
    column("Node", "string", "The node the volume should be attached to.")
        .from(Text(&["spec", "nodeName"], "")),
    column("Attached", "boolean", "Whether the volume is attached.")
        .from(Flag(&["status", "attached"], false)),
    AGE,
];

pub(crate) const ATTRIBUTES_CLASS: &[Column] =
    &[NAME, column("DriverName", "string", "Name of the CSI driver").from(Text(&["driverName"], "")), AGE];

/// What kinds without a printer of their own show upstream: a date instead of an age.
pub(crate) const CREATED: &[Column] = &[
    NAME,
    column(
        "Created At",
        "date",
        "CreationTimestamp is a timestamp representing the server time when this object was created.",
    )
    .from(Text(&["metadata", "creationTimestamp"], "")),
];
