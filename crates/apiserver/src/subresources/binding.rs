//! Binding a pod to a node, the request of a scheduler.

use api::{Error, GroupVersionKind, Object};
use http::StatusCode;
use serde_json::{Value, json};

use super::{companion, condition};
use crate::admission::Operation;
use crate::handlers::decode;
use crate::handlers::exchange::read_body;
use crate::handlers::metadata::seconds;
use crate::handlers::options::WriteOptions;
use crate::handlers::storage::Target;
use crate::handlers::write::{Change, Part, Write};
use crate::request::call::Call;
use crate::respond::negotiate::Answer;
use crate::respond::{self, Outcome};

/// POST of a Binding, to `pods/NAME/binding` or to `bindings`.
pub(super) async fn create(target: Target, mut call: Call) -> Outcome {
    let answer = Answer::without_table(&call.headers)?;
    let options = WriteOptions::parse("CreateOptions", &call.query, &call.headers, false)?;
    let bytes = read_body(&target, &mut call).await?;
    let mut binding = decode::companion(&call, &bytes, &GroupVersionKind::new("", "v1", "Binding"))?;
    let name = if call.info.name.is_empty() || call.info.resource == "bindings" {
        binding.name().to_owned()
    } else {
        call.info.name.clone()
    };
    if !binding.name().is_empty() && binding.name() != name {
        return Err(Error::bad_request("name in URL does not match name in Binding object"));
    }
    let mut attributes = call.attributes();
    "binding".clone_into(&mut attributes.subresource);
    name.clone_into(&mut attributes.name);
    companion::admit(&target, &attributes, Operation::Create, &mut binding, Some(&options)).await?;
    let node = node_of(&binding)?;
    // Nobody manages what a binding sets.
    let current = target.read_apart(&call.info.namespace, &name).await?;
    let now = seconds(target.context.deps.clock.now());
    let mut write = Write {
        target: &target,
        attributes: &attributes,
        part: Part::Admitted,
        options,
        warnings: Vec::new(),
        view: None,
    };
    write
        .update(current, |write, old| {
            let mut object = old.clone();
            assign(write.target, &mut object, &binding, &node, &now)?;
            Ok(Change { object, managed: true })
        })
        .await?;
    let done =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    respond::value(StatusCode::CREATED, answer, &done)
}

fn node_of(binding: &Object) -> Result<String, Error> {
    let kind = binding.str_at(&["target", "kind"]).unwrap_or("");
    let node = binding.str_at(&["target", "name"]).unwrap_or("");
    if !kind.is_empty() && kind != "Node" {
        return Err(Error::bad_request(format!(
            "Binding target.kind: Unsupported value: {kind:?}: supported values: \"Node\""
        )));
    }
    if node.is_empty() {
        return Err(Error::bad_request("Binding target.name: Required value"));
    }
    Ok(node.to_owned())
}

/// Sets the node, and what follows from it.
fn assign(target: &Target, pod: &mut Object, binding: &Object, node: &str, now: &str) -> Result<(), Error> {
    let mut resource = target.group_resource();
    resource.resource.push_str("/binding");
    let conflict = |why: String| Error::conflict(&resource, pod.name(), &why);
    if pod.deletion_timestamp().is_some() {
        return Err(conflict(format!("pod {} is being deleted, cannot be assigned to a host", pod.name())));
    }
    for precondition in ["uid", "resourceVersion"] {
        let wanted = binding.meta_str(precondition);
        if !wanted.is_empty() && wanted != pod.meta_str(precondition) {
            return Err(conflict(format!(
                "Precondition failed: {precondition} in precondition: {wanted}, in object meta: {}",
                pod.meta_str(precondition)
            )));
        }
    }
    let present = pod.str_at(&["spec", "nodeName"]).unwrap_or("");
    if !present.is_empty() {
        return Err(conflict(format!("pod {} is already assigned to node {present:?}", pod.name())));
    }
    let gates = pod.at(&["spec", "schedulingGates"]).and_then(Value::as_array);
    if gates.is_some_and(|g| !g.is_empty()) {
        return Err(conflict(format!("pod {} has non-empty .spec.schedulingGates", pod.name())));
    }
    pod.set_at(&["spec", "nodeName"], node.into());
    // The pod waits for no room any more.
    if let Some(status) = pod.0.get_mut("status").and_then(Value::as_object_mut) {
        status.remove("nominatedNodeName");
    }
    for (key, value) in binding.annotations() {
        pod.set_at(&["metadata", "annotations", key], value.into());
    }
    // Admission writes the node's place there: `crates/apiserver/src/admission/pod_topology_labels.rs`.
    for (key, value) in binding.labels() {
        pod.set_at(&["metadata", "labels", key], value.into());
    }
    condition::set(
        pod,
        json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now}),
    );
    Ok(())
}
