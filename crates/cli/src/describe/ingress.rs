//! Ingress.

use std::collections::BTreeSet;

use serde_json::Value;

use super::endpoints_of;
use super::events;
use super::fields::{Fields as _, or};
use super::metadata;
use super::related::DescribeError;
use super::text::{Text, put};
use super::view::{View, core};

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let ingress = view.object;
    put!(text, 0, "Name:\t{}", view.name());
    metadata::labels(text, "Labels", ingress, "metadata.labels");
    put!(text, 0, "Namespace:\t{}", view.namespace());
    let addresses: BTreeSet<&str> = ingress
        .items("status.loadBalancer.ingress")
        .iter()
        .map(|address| or(address.text("ip"), address.text("hostname")))
        .filter(|address| !address.is_empty())
        .collect();
    put!(text, 0, "Address:\t{}", addresses.into_iter().collect::<Vec<_>>().join(","));
    let class = ingress.at("spec.ingressClassName").and_then(Value::as_str);
    put!(text, 0, "Ingress Class:\t{}", class.unwrap_or("<none>"));
    let default = ingress.at("spec.defaultBackend");
    let default = default.map_or_else(|| "<default>".to_owned(), |default| backend(view, default));
    put!(text, 0, "Default backend:\t{default}");
    certificates(text, ingress.items("spec.tls"));
    rules(view, text, &default);
    metadata::annotations(text, "Annotations", ingress, "metadata.annotations");
    events::write(view, text);
    Ok(())
}

fn certificates(text: &mut Text, certificates: &[Value]) {
    if certificates.is_empty() {
        return;
    }
    put!(text, 0, "TLS:");
    for certificate in certificates {
        let hosts = certificate.texts("hosts").join(",");
        match certificate.text("secretName") {
            "" => put!(text, 1, "SNI routes {hosts}"),
            secret => put!(text, 1, "{secret} terminates {hosts}"),
        }
    }
}

fn rules(view: &View<'_>, text: &mut Text, default: &str) {
    put!(text, 0, "Rules:\n  Host\tPath\tBackends");
    put!(text, 1, "----\t----\t--------");
    let mut any = false;
    for rule in view.object.items("spec.rules").iter().filter(|rule| rule.has("http")) {
        any = true;
        put!(text, 1, "{}\t", or(rule.text("host"), "*"));
        for path in rule.items("http.paths") {
            let backend = path.at("backend").map(|backend| self::backend(view, backend)).unwrap_or_default();
            put!(text, 2, "\t{} \t{backend}", path.text("path"));
        }
    }
    if !any {
        put!(text, 1, "*\t*\t{default}");
    }
}

/// What a backend is, and the endpoints of a Service.
fn backend(view: &View<'_>, backend: &Value) -> String {
    if let Some(service) = backend.at("service") {
        return self::service(view, service);
    }
    let Some(resource) = backend.at("resource") else { return String::new() };
    let group = resource.at("apiGroup").and_then(Value::as_str).unwrap_or("<none>");
    format!("APIGroup: {group}, Kind: {}, Name: {}", resource.text("kind"), resource.text("name"))
}

fn service(view: &View<'_>, service: &Value) -> String {
    let name = service.text("name");
    let (number, port_name) = (service.number("port.number"), service.text("port.name"));
    let title = if number == 0 { format!("{name}:{port_name}") } else { format!("{name}:{number}") };
    let slices = match endpoints_of::slices(view, name) {
        Ok(slices) => slices,
        Err(error) => return format!("{title} (<error: {error}>)"),
    };
    let found = match view.related.get(core("services"), Some(view.namespace()), name) {
        Ok(found) => found,
        Err(error) => return format!("{title} (<error: {error}>)"),
    };
    let ports = found.items("spec.ports").iter().rev();
    let port = ports.into_iter().find(|port| {
        (number != 0 && port.number("port") == number)
            || (!port_name.is_empty() && port.text("name") == port_name)
    });
    format!("{title} ({})", endpoints_of::shown(&slices, port.map_or("", |port| port.text("name"))))
}
