//! Containers: pull policy, termination messages, ports, environment, probes and hooks.

use serde_json::{Map, Value};

use super::resource_list;
use crate::fill::{self, Fields};

/// A container of any of the three lists.
pub(super) fn container(container: &mut Fields) {
    let policy = pull_policy(fill::str_of(container, "image"));
    fill::text(container, "imagePullPolicy", policy);
    fill::text(container, "terminationMessagePath", "/dev/termination-log");
    fill::text(container, "terminationMessagePolicy", "File");
    fill::value(container, "resources", Map::new());
    if let Some(resources) = fill::within(container, "resources") {
        resource_list::round_requirements(resources);
    }
    for port in fill::items(container, "ports") {
        fill::text(port, "protocol", "TCP");
    }
    for variable in fill::items(container, "env") {
        let Some(source) = fill::within(variable, "valueFrom") else { continue };
        if let Some(field) = fill::within(source, "fieldRef") {
            fill::text(field, "apiVersion", "v1");
        }
        if let Some(file) = fill::within(source, "fileKeyRef") {
            fill::value(file, "optional", false);
        }
        if let Some(resource) = fill::within(source, "resourceFieldRef") {
            fill::value(resource, "divisor", "0");
        }
    }
    for key in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(found) = fill::within(container, key) {
            probe(found);
        }
    }
    for hook in ["postStart", "preStop"] {
        let handler = fill::within(container, "lifecycle").and_then(|l| fill::within(l, hook));
        if let Some(get) = handler.and_then(|h| fill::within(h, "httpGet")) {
            http_get(get);
        }
    }
}

/// On the host's network a container's port is the host's.
pub(super) fn host_ports(container: &mut Fields) {
    for port in fill::items(container, "ports") {
        if let Some(number) = port.get("containerPort").and_then(Value::as_i64) {
            fill::number(port, "hostPort", number);
        }
    }
}

fn probe(probe: &mut Fields) {
    for (key, value) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        fill::number(probe, key, value);
    }
    if let Some(get) = fill::within(probe, "httpGet") {
        http_get(get);
    }
    if let Some(grpc) = fill::within(probe, "grpc") {
        fill::value(grpc, "service", "");
    }
}

fn http_get(action: &mut Fields) {
    fill::text(action, "path", "/");
    fill::text(action, "scheme", "HTTP");
}

/// `Always` where the image's tag is `latest`, given or understood; `IfNotPresent` also for a name that is none, which
/// validation refuses (upstream `SetDefaults_Container`).
pub(super) fn pull_policy(image: &str) -> &'static str {
    match image.parse::<oci::Reference>() {
        Ok(name) if name.tag().map_or(name.digest().is_none(), |tag| tag == "latest") => "Always",
        _ => "IfNotPresent",
    }
}
