//! Services and Ingresses.

use regex::Regex;
use serde_json::{Map, Value, json};

use super::{name, named, required};
use crate::failure::{Failure, quoted};
use crate::session::Session;

pub fn cluster_ip(session: &Session) -> Result<Value, Failure> {
    service(session, "ClusterIP")
}

pub fn node_port(session: &Session) -> Result<Value, Failure> {
    service(session, "NodePort")
}

pub fn load_balancer(session: &Session) -> Result<Value, Failure> {
    service(session, "LoadBalancer")
}

pub fn external_name(session: &Session) -> Result<Value, Failure> {
    required(session, &["external-name"])?;
    service(session, "ExternalName")
}

fn service(session: &Session, kind: &str) -> Result<Value, Failure> {
    let flags = &session.flags;
    let name = name(session)?;
    let (cluster_ip, outside) = (flags.text("clusterip"), flags.text("external-name"));
    let tcp = flags.list("tcp");
    if cluster_ip != "None" && tcp.is_empty() && kind != "ExternalName" {
        return Err(Failure::message("at least one tcp port specifier must be provided"));
    }
    if kind == "ExternalName" && !api::names::is_dns1123_subdomain(outside) {
        return Err(Failure::message(format!("invalid service external name {outside}")));
    }
    let mut ports = Vec::new();
    for pair in tcp {
        let (port, target) = port_pair(pair)?;
        let mut entry =
            json!({"name": pair.replace(':', "-"), "port": port, "protocol": "TCP", "targetPort": target});
        if flags.int("node-port") != 0 {
            entry["nodePort"] = flags.int("node-port").into();
        }
        ports.push(entry);
    }
    let mut object = named("v1", "Service", name);
    object["metadata"]["labels"] = json!({"app": name});
    object["spec"] = json!({"selector": {"app": name}, "type": kind});
    let mut put = |key: &str, value: Value, is_there: bool| {
        if is_there {
            object["spec"][key] = value;
        }
    };
    put("clusterIP", cluster_ip.into(), !cluster_ip.is_empty());
    put("externalName", outside.into(), !outside.is_empty());
    let any = !ports.is_empty();
    put("ports", ports.into(), any);
    object["status"] = json!({"loadBalancer": {}});
    Ok(object)
}

/// `80`, `80:8080`, `443:https`: a Service's port and what it leads to.
fn port_pair(text: &str) -> Result<(u16, Value), Failure> {
    let (first, second) = text.split_once(':').map_or((text, None), |(a, b)| (a, Some(b)));
    let port: u16 = first.parse().map_err(|_| {
        let digits = !first.is_empty() && first.chars().all(|c| c.is_ascii_digit());
        let why = if digits { "value out of range" } else { "invalid syntax" };
        Failure::message(format!("strconv.ParseUint: parsing {}: {why}", quoted(first)))
    })?;
    let Some(second) = second else { return Ok((port, port.into())) };
    let second = second.split(':').next().unwrap_or_default();
    let (target, faults): (Value, _) = match second.parse::<i64>() {
        Ok(number) => (number.into(), api::names::port_number(number)),
        Err(_) => (second.into(), api::names::port_name(second)),
    };
    if faults.is_empty() { Ok((port, target)) } else { Err(Failure::message(faults.join(","))) }
}

const RULE: &str = r"^[\w*.-]*/[^,=\n]*=[\w-]+:[\w-]+(,tls=?([\w-]+)?)?$";

pub fn ingress(session: &Session) -> Result<Value, Failure> {
    let flags = &session.flags;
    let name = name(session)?;
    let (rules, backend) = (flags.list("rule"), flags.text("default-backend"));
    if rules.is_empty() && backend.is_empty() {
        return Err(Failure::message(
            "not enough information provided: every ingress has to either specify a default-backend (which catches all traffic) or a list of rules (which catch specific paths)",
        ));
    }
    let pattern = Regex::new(RULE).map_err(|e| Failure::message(e.to_string()))?;
    if let Some(rule) = rules.iter().find(|rule| !pattern.is_match(rule)) {
        return Err(Failure::message(format!(
            "rule {rule} is invalid and should be in format host/path=svcname:svcport[,tls[=secret]]"
        )));
    }
    let mut annotations = Map::new();
    for annotation in flags.list("annotation") {
        let Some((key, value)) = annotation.split_once('=') else {
            let why = format!("annotation {annotation} is invalid and should be in format key=[value]");
            return Err(Failure::message(why));
        };
        annotations.insert(key.to_owned(), value.into());
    }
    if !backend.is_empty() && backend.matches(':').count() != 1 {
        return Err(Failure::message("default-backend should be in format servicename:serviceport"));
    }
    let mut object = named("networking.k8s.io/v1", "Ingress", name);
    if !annotations.is_empty() {
        object["metadata"]["annotations"] = annotations.into();
    }
    object["spec"] = json!({});
    if !flags.text("class").is_empty() {
        object["spec"]["ingressClassName"] = flags.text("class").into();
    }
    if !backend.is_empty() {
        object["spec"]["defaultBackend"] = backend_of(backend);
    }
    let tls = tls_of(rules);
    if !tls.is_empty() {
        object["spec"]["tls"] = tls.into();
    }
    if !rules.is_empty() {
        object["spec"]["rules"] = rules_of(rules).into();
    }
    object["status"] = json!({"loadBalancer": {}});
    Ok(object)
}

/// `service:port` as a backend.
fn backend_of(text: &str) -> Value {
    let (name, port) = text.split_once(':').unwrap_or((text, ""));
    let port = match port.parse::<i32>() {
        Ok(number) => json!({"number": number}),
        Err(_) => json!({"name": port}),
    };
    json!({"service": {"name": name, "port": port}})
}

/// The hosts that have TLS, by their secrets; each host once.
fn tls_of(rules: &[String]) -> Vec<Value> {
    let mut seen: Vec<&str> = Vec::new();
    let mut by_secret: Vec<(&str, Vec<&str>)> = Vec::new();
    for rule in rules {
        let Some((_, tls)) = rule.split_once(',') else { continue };
        let host = rule.split('/').next().unwrap_or_default();
        let secret = tls.split_once('=').map_or("", |(_, secret)| secret);
        if seen.contains(&host) {
            continue;
        }
        seen.push(host);
        match by_secret.iter_mut().find(|(known, _)| *known == secret) {
            Some((_, hosts)) => hosts.push(host),
            None if host.is_empty() && secret.is_empty() => {}
            None => {
                by_secret.push((secret, Some(host).filter(|host| !host.is_empty()).into_iter().collect()))
            }
        }
    }
    let entry = |(secret, hosts): (&str, Vec<&str>)| {
        let mut entry = Map::new();
        if !hosts.is_empty() {
            entry.insert("hosts".into(), hosts.into());
        }
        if !secret.is_empty() {
            entry.insert("secretName".into(), secret.into());
        }
        Value::Object(entry)
    };
    by_secret.into_iter().map(entry).collect()
}

/// One rule a host, with all its paths.
fn rules_of(rules: &[String]) -> Vec<Value> {
    let mut by_host: Vec<(&str, Vec<Value>)> = Vec::new();
    for rule in rules {
        let rule = rule.split(',').next().unwrap_or_default();
        let (host, rest) = rule.split_once('/').unwrap_or((rule, ""));
        let (path, service) = rest.split_once('=').unwrap_or((rest, ""));
        let (path, kind) = match path.strip_suffix('*') {
            Some(path) => (path, "Prefix"),
            None => (path, "Exact"),
        };
        let path = json!({"path": format!("/{path}"), "pathType": kind, "backend": backend_of(service)});
        match by_host.iter_mut().find(|(known, _)| *known == host) {
            Some((_, paths)) => paths.push(path),
            None => by_host.push((host, vec![path])),
        }
    }
    let rule = |(host, paths): (&str, Vec<Value>)| {
        let mut rule = json!({"http": {"paths": paths}});
        if !host.is_empty() {
            rule["host"] = host.into();
        }
        rule
    };
    by_host.into_iter().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_pairs() {
        assert_eq!(port_pair("80").expect("a port"), (80, json!(80)));
        assert_eq!(port_pair("443:https").expect("a named target"), (443, json!("https")));
        let refused = |text: &str| port_pair(text).expect_err(text).plain();
        assert_eq!(refused("x"), "strconv.ParseUint: parsing \"x\": invalid syntax");
        assert_eq!(refused("70000"), "strconv.ParseUint: parsing \"70000\": value out of range");
        assert_eq!(refused("1:99999"), "must be between 1 and 65535, inclusive");
    }

    #[test]
    fn a_host_is_one_rule_and_has_one_secret() {
        let rules = ["a/=s:1,tls=x", "a/b*=s:http,tls=y", "c/=s:1,tls=x"].map(str::to_owned);
        assert_eq!(tls_of(&rules), [json!({"hosts": ["a", "c"], "secretName": "x"})]);
        let made = rules_of(&rules);
        assert_eq!(made.len(), 2);
        assert_eq!(made[0]["http"]["paths"][1]["pathType"], "Prefix");
        assert_eq!(made[0]["http"]["paths"][1]["backend"]["service"]["port"], json!({"name": "http"}));
    }
}
