//! An object of each kind that passes validation.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};
use resources::Resource;
use serde_json::{Value, json};

/// The name of an object of the kind: another for each name, and the name itself where the kind takes it.
pub fn named(plural: &str, name: &str) -> String {
    if plural == "customresourcedefinitions" {
        return format!("{name}.example.com");
    }
    if plural == "apiservices" {
        return format!("v1.{name}.example.com");
    }
    if plural != "ipaddresses" {
        return name.to_owned();
    }
    let last = name.bytes().fold(1_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    format!("10.0.0.{last}")
}

/// The spec of a definition of one kind.
fn definition(name: &str) -> Value {
    json!({
        "group": "example.com", "scope": "Cluster",
        "names": {"plural": name, "singular": name, "kind": name, "listKind": format!("{name}list")},
        "versions": [{"name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object"}}}],
    })
}

/// The spec of a registration of what this server serves.
fn registration(name: &str) -> Value {
    json!({"group": format!("{name}.example.com"), "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 15})
}

/// The spec of a policy that objects to nothing.
/// A policy that changes what no test makes.
fn mutating_policy() -> Value {
    let mut spec = policy();
    spec["reinvocationPolicy"] = "Never".into();
    spec["mutations"] =
        json!([{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{}"}}]);
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("validations");
    }
    spec
}

fn policy() -> Value {
    let rule = json!({"operations": ["CREATE"], "apiGroups": ["walk.example.com"], "apiVersions": ["v1"],
        "resources": ["walks"]});
    json!({"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": "true"}]})
}

/// An object of the kind that passes validation.
pub fn sample(row: &Resource, name: &str) -> Value {
    let short = name;
    let name = named(&row.plural, name);
    let mut object = json!({
        "apiVersion": row.group_version().to_string(), "kind": row.kind,
        "metadata": {"name": name, "labels": {"walk": "yes"}},
    });
    let template = json!({
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    let job = json!({"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}],
    }}});
    let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    let spec = match &*row.kind {
        "Pod" => template["spec"].clone(),
        "CustomResourceDefinition" => definition(short),
        "APIService" => registration(short),
        "ReplicationController" => json!({"selector": {"a": "b"}, "template": template}),
        "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet" => {
            json!({"selector": {"matchLabels": {"a": "b"}}, "template": template})
        }
        "PodTemplate" => {
            object["template"] = template;
            return object;
        }
        "ControllerRevision" => {
            object["data"] = json!({"spec": {"template": template}});
            return object;
        }
        "Service" => json!({"ports": [{"port": 80}]}),
        "ServiceCIDR" => json!({"cidrs": ["10.0.0.0/24"]}),
        "IPAddress" => json!({"parentRef": {"resource": "services", "namespace": "walk", "name": "s"}}),
        "Job" => job,
        "CronJob" => json!({"schedule": "* * * * *", "jobTemplate": {"spec": job}}),
        "PersistentVolumeClaim" => claim,
        "PersistentVolume" => json!({
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"},
        }),
        "HorizontalPodAutoscaler" => json!({
            "maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
        }),
        "PodDisruptionBudget" => json!({"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}),
        "Ingress" => json!({"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}),
        "IngressClass" => json!({"controller": "example.org/ingress"}),
        "ValidatingAdmissionPolicy" => policy(),
        "MutatingAdmissionPolicy" => mutating_policy(),
        "MutatingAdmissionPolicyBinding" => json!({"policyName": "p"}),
        "ValidatingAdmissionPolicyBinding" => json!({"policyName": "p", "validationActions": ["Deny"]}),
        "FlowSchema" => json!({"priorityLevelConfiguration": {"name": "exempt"}, "matchingPrecedence": 9999}),
        "PriorityLevelConfiguration" => reject(),
        "CertificateSigningRequest" => {
            json!({"signerName": "example.com/a", "usages": ["client auth"], "request": signing_request()})
        }
        "VolumeAttachment" => {
            json!({"attacher": "example.com", "nodeName": "n", "source": {"persistentVolumeName": "v"}})
        }
        "ResourceSlice" => {
            json!({"driver": "example.com", "nodeName": "n", "pool": {"name": "p", "resourceSliceCount": 1}})
        }
        _ => return without_spec(object),
    };
    object["spec"] = spec;
    object
}

/// An object of a kind that has no specification, with what the kind has in its place.
fn without_spec(mut object: Value) -> Value {
    match object["kind"].as_str().unwrap_or_default() {
        "RoleBinding" | "ClusterRoleBinding" => {
            object["roleRef"] = json!({"kind": "ClusterRole", "name": "r"});
        }
        "StorageClass" | "VolumeAttributesClass" => return class(object),
        "CSIStorageCapacity" => object["storageClassName"] = "s".into(),
        "RuntimeClass" => object["handler"] = "runc".into(),
        "Event" => return event(object),
        "EndpointSlice" => object["addressType"] = "IPv4".into(),
        _ => {}
    }
    object
}

/// Where the kind's objects are, in the namespace `walk`.
pub fn collection(row: &Resource) -> String {
    let gv = row.group_version();
    let root = if gv.group.is_empty() { format!("/api/{gv}") } else { format!("/apis/{gv}") };
    if row.namespaced() {
        format!("{root}/namespaces/walk/{}", row.plural)
    } else {
        format!("{root}/{}", row.plural)
    }
}

/// A request for a certificate, as the field of an object holds it.
pub fn signing_request() -> String {
    let key = KeyPair::generate().expect("a key");
    let request = CertificateParams::default().serialize_request(&key).expect("a request");
    STANDARD.encode(request.pem().expect("PEM"))
}

/// The spec of a priority level without queues.
fn reject() -> Value {
    json!({"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}})
}

/// News of a pod, in the form of the event's group.
fn event(mut object: Value) -> Value {
    let pod = json!({"kind": "Pod", "name": "p", "namespace": "walk"});
    if object["apiVersion"] == "v1" {
        object["involvedObject"] = pod;
        return object;
    }
    object["regarding"] = pod;
    for (key, value) in [
        ("type", "Normal"),
        ("reason", "Made"),
        ("action", "Making"),
        ("reportingController", "example.com/maker"),
        ("reportingInstance", "maker-1"),
        ("eventTime", "2026-01-01T00:00:00.000000Z"),
    ] {
        object[key] = value.into();
    }
    object
}

/// A class of volumes, or of their attributes: what such objects say is no specification.
fn class(mut object: Value) -> Value {
    if object["kind"] == "StorageClass" {
        object["provisioner"] = "example.com/disk".into();
    } else {
        object["driverName"] = "example.com".into();
        object["parameters"] = json!({"iops": "1"});
    }
    object
}
