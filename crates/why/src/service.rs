//! Why a Service reaches nobody.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Event, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::account::{Account, number};
use crate::reader::{Knock, Reader};
use crate::{deletion, warnings, workload};

/// At how many pods a connection is tried, and at how many ports of each.
const KNOCKED: usize = 3;
const KNOCKED_PORTS: usize = 4;

/// What an account of a Service is made of.
#[derive(Debug, Default)]
pub struct Facts {
    pub service: Service,
    pub events: Vec<Event>,
    /// The pods that the selector matches.
    pub selected: Vec<Pod>,
    /// The labels of the namespace's other pods, by name; only where the selector matches none.
    pub others: Vec<(String, BTreeMap<String, String>)>,
    /// How many addresses the slices hold.
    pub addresses: usize,
    /// The accounts of selected pods that are not ready.
    pub unwell: Vec<Account>,
    /// What connections to ready pods showed.
    pub knocks: Vec<Knocked>,
}

/// A connection that was tried.
#[derive(Debug)]
pub struct Knocked {
    pub pod: String,
    pub port: u16,
    pub knock: Knock,
}

/// # Errors
/// When there is no such Service, or what it depends on cannot be read.
pub async fn tell(reader: &Reader, namespace: &str, name: &str) -> kube::Result<Account> {
    let service: Service = reader.get(namespace, name).await?;
    let mut facts = Facts {
        events: reader.events(Some(namespace), service.metadata.uid.as_deref()).await?,
        ..Facts::default()
    };
    let slices: Vec<EndpointSlice> =
        reader.list(namespace, &format!("kubernetes.io/service-name={name}")).await?;
    facts.addresses = slices.iter().map(|slice| slice.endpoints.iter().flatten().count()).sum();
    if let Some(selector) = selector(&service) {
        let written: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
        facts.selected = reader.list(namespace, &written.join(",")).await?;
        if facts.selected.is_empty() {
            let pods: Vec<Pod> = reader.list(namespace, "").await?;
            facts.others =
                pods.into_iter().filter_map(|pod| Some((pod.metadata.name?, pod.metadata.labels?))).collect();
        }
        facts.unwell = workload::unwell(reader, facts.selected.clone()).await?;
        facts.knocks = knocks(&service, &facts.selected).await;
    }
    facts.service = service;
    Ok(account(&facts))
}

fn selector(service: &Service) -> Option<&BTreeMap<String, String>> {
    service.spec.as_ref()?.selector.as_ref().filter(|selector| !selector.is_empty())
}

fn ports(service: &Service) -> impl Iterator<Item = &ServicePort> {
    service.spec.iter().flat_map(|spec| spec.ports.iter().flatten())
}

/// Tries the TCP ports of the first ready pods.
async fn knocks(service: &Service, pods: &[Pod]) -> Vec<Knocked> {
    let mut knocks = Vec::new();
    for pod in pods.iter().filter(|pod| pods::is_ready(pod)).take(KNOCKED) {
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()?.parse::<IpAddr>().ok());
        let Some(address) = address else { continue };
        let tcp = ports(service).filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
        for port in tcp.filter_map(|port| target(port, pod).ok()).take(KNOCKED_PORTS) {
            let knock = Reader::knock(address, port).await;
            knocks.push(Knocked { pod: pod.metadata.name.clone().unwrap_or_default(), port, knock });
        }
    }
    knocks
}

/// The port of a pod that a Service's port leads to; the name where the pod has no port of that name.
fn target<'a>(port: &'a ServicePort, pod: &Pod) -> Result<u16, &'a str> {
    let number = |number: i32| u16::try_from(number).map_err(|_| "");
    match &port.target_port {
        None => number(port.port),
        Some(IntOrString::Int(target)) => number(*target),
        Some(IntOrString::String(name)) => {
            named(pod).find(|(own, _)| own == name).map_or(Err(name.as_str()), |(_, port)| number(port))
        }
    }
}

/// The named ports of a pod's containers.
fn named(pod: &Pod) -> impl Iterator<Item = (&str, i32)> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| Some((port.name.as_deref()?, port.container_port)))
}

pub fn account(facts: &Facts) -> Account {
    let meta = &facts.service.metadata;
    let mut account = deletion::account(meta).unwrap_or_else(|| state(facts));
    if !account.well {
        account.stand_behind(facts.unwell.iter().cloned());
        account.causes.extend(warnings::lines(&facts.events));
    }
    account.of("service", meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default())
}

fn state(facts: &Facts) -> Account {
    let spec = facts.service.spec.clone().unwrap_or_default();
    if spec.type_.as_deref() == Some("ExternalName") {
        return Account::well(format!("is a name for {}", spec.external_name.unwrap_or_default()));
    }
    let Some(selector) = selector(&facts.service) else { return by_hand(facts) };
    if facts.selected.is_empty() {
        return nobody(selector, &facts.others);
    }
    if let Some(account) = unnamed(facts).or_else(|| unheard(facts)) {
        return account;
    }
    let ready = facts.selected.iter().filter(|pod| pods::is_ready(pod)).count();
    let all = facts.selected.len();
    let pods = |count: usize| number(i64::try_from(count).unwrap_or(i64::MAX), "pod");
    if ready == 0 && spec.publish_not_ready_addresses != Some(true) {
        return Account::unwell(format!(
            "reaches nobody: its selector matches {}, and none is ready",
            pods(all)
        ));
    }
    let pending = spec.type_.as_deref() == Some("LoadBalancer") && !has_balancer(&facts.service);
    if pending {
        return Account::unwell(match &spec.load_balancer_class {
            Some(class) => {
                format!("has no address yet: the controller of the load balancer class {class} gives it one")
            }
            None => "has no load balancer's address yet".to_owned(),
        });
    }
    match ready == all {
        true => Account::well(format!("reaches {}", pods(ready))),
        false => Account::unwell(format!("reaches {ready} of the {} that its selector matches", pods(all))),
    }
}

fn has_balancer(service: &Service) -> bool {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    status.is_some_and(|status| status.ingress.as_ref().is_some_and(|ingress| !ingress.is_empty()))
}

fn by_hand(facts: &Facts) -> Account {
    if facts.addresses > 0 {
        return Account::well(format!("has no selector, and {} endpoints made by hand", facts.addresses));
    }
    let mut account =
        Account::unwell("reaches nobody: it has no selector, and nobody has made endpoints for it");
    account.help = Some("set its selector, or create an EndpointSlice for it".to_owned());
    account
}

/// The selector matches no pod: which pod comes nearest, and what it lacks.
fn nobody(selector: &BTreeMap<String, String>, others: &[(String, BTreeMap<String, String>)]) -> Account {
    let written: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut account =
        Account::unwell(format!("reaches nobody: no pod of the namespace has {}", written.join(",")));
    let has = |labels: &BTreeMap<String, String>, key: &str, value: &str| {
        labels.get(key).is_some_and(|own| own == value)
    };
    // A pod with the key and another value is nearer than one without the key.
    let nearness = |labels: &BTreeMap<String, String>| -> usize {
        let each = |(key, value): (&String, &String)| {
            if has(labels, key, value) { 2 } else { usize::from(labels.contains_key(key)) }
        };
        selector.iter().map(each).sum()
    };
    let nearest =
        others.iter().map(|(name, labels)| (nearness(labels), name, labels)).max_by_key(|found| found.0);
    let Some((_, name, labels)) = nearest.filter(|found| found.0 > 0) else {
        account.help =
            Some(format!("create pods with the labels {}, or correct its selector", written.join(",")));
        return account;
    };
    let lacking: Vec<_> = selector.iter().filter(|(key, value)| !has(labels, key, value)).collect();
    account.causes.extend(lacking.iter().map(|(key, value)| match labels.get(*key) {
        Some(own) => format!("pod {name} comes nearest, and has {key}={own} instead of {key}={value}"),
        None => format!("pod {name} comes nearest, and lacks {key}={value}"),
    }));
    let own = lacking.iter().map(|(key, _)| match labels.get(*key) {
        Some(own) => format!("{key}={own}"),
        None => format!("no {key}"),
    });
    account.help = Some(format!(
        "set {} in the selector, or {} on the pods' template",
        own.collect::<Vec<_>>().join(","),
        lacking.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
    ));
    account
}

/// A port that leads to a named port which the pods do not have.
fn unnamed(facts: &Facts) -> Option<Account> {
    let pod = facts.selected.first()?;
    let (port, name) = ports(&facts.service).find_map(|port| Some((port, target(port, pod).err()?)))?;
    let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
    let mut account = Account::unwell(format!(
        "reaches nobody at port {}: pod {pod_name} names no port {name:?}",
        port.port
    ));
    let names: Vec<&str> = named(pod).map(|(name, _)| name).collect();
    account.help = Some(match names.is_empty() {
        true => format!("give the container's port the name {name}, or set targetPort to its number"),
        false => {
            format!("set targetPort to a name that the pods have ({}), or to a number", names.join(", "))
        }
    });
    Some(account)
}

/// A port of a ready pod at which nobody listens.
fn unheard(facts: &Facts) -> Option<Account> {
    let refused = facts.knocks.iter().find(|knocked| knocked.knock == Knock::Refused)?;
    let pod = facts.selected.iter().find(|pod| pod.metadata.name.as_ref() == Some(&refused.pod))?;
    let port = ports(&facts.service).find(|port| target(port, pod) == Ok(refused.port))?;
    let mut account = Account::unwell(format!("leads port {} to a port that nobody listens on", port.port));
    account.causes.push(format!("pod {} refuses connections at port {}", refused.pod, refused.port));
    let declared = pod.spec.iter().flat_map(|spec| &spec.containers).flat_map(|c| c.ports.iter().flatten());
    let declared: Vec<String> = declared
        .map(|port| port.container_port)
        .filter(|port| *port != i32::from(refused.port))
        .map(|port| port.to_string())
        .collect();
    account.help = Some(match declared.is_empty() {
        true => "set targetPort to the port that the program listens on, at all addresses and not only at 127.0.0.1".to_owned(),
        false => format!("set targetPort to a port that the pod declares ({})", declared.join(", ")),
    });
    Some(account)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::samples::object;

    fn service(port: Value) -> Service {
        object("web", json!({"selector": {"app": "web", "tier": "front"}, "ports": [port]}), json!({}))
    }

    fn pod(ready: bool) -> Pod {
        let spec = json!({"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]});
        let ready = if ready { "True" } else { "False" };
        object(
            "web-0",
            spec,
            json!({"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": ready}]}),
        )
    }

    #[test]
    fn a_selector_that_matches_nobody_names_the_nearest_pod() {
        let labels = |app: &str| BTreeMap::from([("app".to_owned(), app.to_owned())]);
        let facts = Facts {
            service: service(json!({"port": 80})),
            others: vec![("db-0".to_owned(), BTreeMap::new()), ("webb-0".to_owned(), labels("webb"))],
            ..Facts::default()
        };
        assert_eq!(
            account(&facts).text(),
            "service ns/web reaches nobody: no pod of the namespace has app=web,tier=front\n  \
             pod webb-0 comes nearest, and has app=webb instead of app=web\n  \
             pod webb-0 comes nearest, and lacks tier=front\n\
             What would help: set app=webb,no tier in the selector, or app=web,tier=front on the pods' template.\n"
        );
    }

    #[test]
    fn a_port_that_leads_nowhere_is_named() {
        let facts = Facts {
            service: service(json!({"port": 80, "targetPort": "web"})),
            selected: vec![pod(true)],
            ..Facts::default()
        };
        assert_eq!(
            account(&facts).text(),
            "service ns/web reaches nobody at port 80: pod web-0 names no port \"web\"\n\
             What would help: set targetPort to a name that the pods have (http), or to a number.\n"
        );
        let facts = Facts {
            service: service(json!({"port": 80})),
            selected: vec![pod(true)],
            knocks: vec![Knocked { pod: "web-0".to_owned(), port: 80, knock: Knock::Refused }],
            ..Facts::default()
        };
        assert_eq!(
            account(&facts).text(),
            "service ns/web leads port 80 to a port that nobody listens on\n  \
             pod web-0 refuses connections at port 80\n\
             What would help: set targetPort to a port that the pod declares (8080).\n"
        );
    }

    #[test]
    fn pods_that_are_not_ready_stand_behind() {
        let facts = Facts {
            service: service(json!({"port": 80, "targetPort": "http"})),
            selected: vec![pod(false)],
            unwell: vec![Account::unwell("is not ready").of("pod", Some("ns"), "web-0")],
            ..Facts::default()
        };
        assert_eq!(
            account(&facts).text(),
            "service ns/web reaches nobody: its selector matches 1 pod, and none is ready\n  \
             pod ns/web-0 is not ready\n"
        );
        let facts = Facts {
            service: service(json!({"port": 80, "targetPort": "http"})),
            selected: vec![pod(true)],
            knocks: vec![Knocked { pod: "web-0".to_owned(), port: 8080, knock: Knock::Unreachable }],
            ..Facts::default()
        };
        assert_eq!(account(&facts).text(), "service ns/web reaches 1 pod\n");
    }
}
