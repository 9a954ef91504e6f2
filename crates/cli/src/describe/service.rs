//! Service.

use serde_json::Value;

use super::endpoints_of;
use super::events;
use super::fields::{Fields as _, or};
use super::metadata;
use super::related::DescribeError;
use super::selectors;
use super::text::{Text, put};
use super::view::View;

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let service = view.object;
    metadata::head(text, service);
    put!(text, 0, "Selector:\t{}", selectors::map(service, "spec.selector"));
    put!(text, 0, "Type:\t{}", service.text("spec.type"));
    optional(text, service, "IP Family Policy", "spec.ipFamilyPolicy");
    put!(text, 0, "IP Families:\t{}", or(&service.texts("spec.ipFamilies").join(","), "<none>"));
    put!(text, 0, "IP:\t{}", service.text("spec.clusterIP"));
    put!(text, 0, "IPs:\t{}", or(&service.texts("spec.clusterIPs").join(","), "<none>"));
    joined(text, service, "External IPs", "spec.externalIPs");
    optional(text, service, "Desired LoadBalancer IP", "spec.loadBalancerIP");
    optional(text, service, "External Name", "spec.externalName");
    let balancers: Vec<String> = service.items("status.loadBalancer.ingress").iter().map(balancer).collect();
    if !balancers.is_empty() {
        put!(text, 0, "LoadBalancer Ingress:\t{}", balancers.join(", "));
    }
    let slices = endpoints_of::slices(view, view.name()).unwrap_or_default();
    for port in service.items("spec.ports") {
        self::port(text, port, &slices);
    }
    put!(text, 0, "Session Affinity:\t{}", service.text("spec.sessionAffinity"));
    optional(text, service, "External Traffic Policy", "spec.externalTrafficPolicy");
    optional(text, service, "Internal Traffic Policy", "spec.internalTrafficPolicy");
    if service.number("spec.healthCheckNodePort") != 0 {
        put!(text, 0, "HealthCheck NodePort:\t{}", service.number("spec.healthCheckNodePort"));
    }
    joined(text, service, "LoadBalancer Source Ranges", "spec.loadBalancerSourceRanges");
    optional(text, service, "Traffic Distribution", "spec.trafficDistribution");
    events::write(view, text);
    Ok(())
}

fn optional(text: &mut Text, service: &Value, title: &str, path: &str) {
    if !service.text(path).is_empty() {
        put!(text, 0, "{title}:\t{}", service.text(path));
    }
}

fn joined(text: &mut Text, service: &Value, title: &str, path: &str) {
    if !service.items(path).is_empty() {
        put!(text, 0, "{title}:\t{}", service.texts(path).join(","));
    }
}

fn balancer(ingress: &Value) -> String {
    match (ingress.text("ip"), ingress.at("ipMode").and_then(Value::as_str)) {
        ("", _) => ingress.text("hostname").to_owned(),
        (ip, Some(mode)) => format!("{ip} ({mode})"),
        (ip, None) => ip.to_owned(),
    }
}

fn port(text: &mut Text, port: &Value, slices: &[Value]) {
    let name = or(port.text("name"), "<unset>");
    let protocol = port.text("protocol");
    put!(text, 0, "Port:\t{name}\t{}/{protocol}", port.number("port"));
    put!(text, 0, "TargetPort:\t{}/{protocol}", port.number_or_text("targetPort"));
    if port.number("nodePort") != 0 {
        put!(text, 0, "NodePort:\t{name}\t{}/{protocol}", port.number("nodePort"));
    }
    put!(text, 0, "Endpoints:\t{}", endpoints_of::shown(slices, port.text("name")));
}
