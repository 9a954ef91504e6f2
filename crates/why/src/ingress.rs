//! Why an Ingress leads nowhere.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Event, Secret, Service};
use k8s_openapi::api::networking::v1::{Ingress, IngressBackend, IngressClass};

use crate::account::Account;
use crate::reader::Reader;
use crate::{deletion, service, warnings};

/// The annotation of the class that Ingresses without one have.
const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";
/// How Ingresses named their class before the field came.
const OLD_CLASS: &str = "kubernetes.io/ingress.class";

/// What an account of an Ingress is made of.
#[derive(Debug, Default)]
pub struct Facts {
    pub ingress: Ingress,
    pub events: Vec<Event>,
    pub classes: Vec<IngressClass>,
    /// The Services it leads to: name and, where there is one, the object.
    pub services: Vec<(String, Option<Service>)>,
    /// The accounts of those Services that reach nobody.
    pub unwell: Vec<Account>,
    /// The Secrets of its certificates that are missing.
    pub secrets: Vec<String>,
}

/// # Errors
/// When there is no such Ingress, or what it depends on cannot be read.
pub async fn tell(reader: &Reader, namespace: &str, name: &str) -> kube::Result<Account> {
    let ingress: Ingress = reader.get(namespace, name).await?;
    let mut facts = Facts {
        events: reader.events(Some(namespace), ingress.metadata.uid.as_deref()).await?,
        classes: reader.all().await?,
        ..Facts::default()
    };
    let names: BTreeSet<&str> =
        backends(&ingress).filter_map(|b| Some(b.service.as_ref()?.name.as_str())).collect();
    for name in names {
        let service: Option<Service> = reader.find(namespace, name).await?;
        if service.is_some() {
            facts.unwell.push(service::tell(reader, namespace, name).await?);
        }
        facts.services.push((name.to_owned(), service));
    }
    facts.unwell.retain(|account| !account.well);
    let tls = ingress.spec.iter().flat_map(|spec| spec.tls.iter().flatten());
    for secret in tls.filter_map(|tls| tls.secret_name.as_deref()) {
        if reader.find::<Secret>(namespace, secret).await?.is_none() {
            facts.secrets.push(secret.to_owned());
        }
    }
    facts.ingress = ingress;
    Ok(account(&facts))
}

fn backends(ingress: &Ingress) -> impl Iterator<Item = &IngressBackend> {
    ingress.spec.iter().flat_map(|spec| {
        let rules = spec.rules.iter().flatten().filter_map(|rule| rule.http.as_ref());
        let paths = rules.flat_map(|http| http.paths.iter().map(|path| &path.backend));
        spec.default_backend.iter().chain(paths)
    })
}

pub fn account(facts: &Facts) -> Account {
    let meta = &facts.ingress.metadata;
    let account = deletion::account(meta).unwrap_or_else(|| state(facts));
    account.of("ingress", meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default())
}

fn state(facts: &Facts) -> Account {
    let mut account = Account::well("leads to its Services");
    unclaimed(facts, &mut account);
    let mut fault = |cause: String, help: String| {
        account.causes.push(cause);
        account.help = account.help.take().or(Some(help));
    };
    for (name, found) in &facts.services {
        let Some(found) = found else {
            fault(format!("its Service {name} does not exist"), format!("create the Service {name}"));
            continue;
        };
        for port in backends(&facts.ingress).filter_map(|b| b.service.as_ref()).filter(|b| b.name == *name) {
            if let Some((asked, offered)) = port.port.as_ref().and_then(|port| absent(port, found)) {
                fault(
                    format!("its Service {name} has no port {asked}"),
                    format!("name a port that the Service {name} has: {offered}"),
                );
            }
        }
    }
    for secret in &facts.secrets {
        fault(
            format!("the Secret {secret} with its certificate does not exist"),
            format!("kubectl create secret tls {secret} --cert=FILE --key=FILE"),
        );
    }
    if !account.causes.is_empty() || !facts.unwell.is_empty() {
        account.well = false;
        account.summary = "does not lead where it should".to_owned();
        account.stand_behind(facts.unwell.iter().cloned());
        account.causes.extend(warnings::lines(&facts.events));
    }
    account
}

/// The port that is asked for, and those that the Service has, where it is none of them.
fn absent(
    port: &k8s_openapi::api::networking::v1::ServiceBackendPort,
    service: &Service,
) -> Option<(String, String)> {
    let ports: Vec<_> = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()).collect();
    let found = ports.iter().any(|own| match (&port.name, port.number) {
        (Some(name), _) => own.name.as_ref() == Some(name),
        (None, number) => Some(own.port) == number,
    });
    let asked =
        port.name.clone().or_else(|| port.number.map(|number| number.to_string())).unwrap_or_default();
    let offered = ports.iter().map(|own| own.name.clone().unwrap_or_else(|| own.port.to_string()));
    (!found).then(|| (asked, offered.collect::<Vec<_>>().join(", ")))
}

/// No controller takes the Ingress as its own.
fn unclaimed(facts: &Facts, account: &mut Account) {
    let meta = &facts.ingress.metadata;
    let old = meta.annotations.iter().flatten().find(|(key, _)| *key == OLD_CLASS).map(|(_, value)| value);
    let asked = facts.ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_ref());
    let named = |class: &IngressClass| class.metadata.name.clone().unwrap_or_default();
    let names: Vec<String> = facts.classes.iter().map(named).collect();
    let is_default = |class: &IngressClass| {
        class
            .metadata
            .annotations
            .iter()
            .flatten()
            .any(|(key, value)| key == DEFAULT_CLASS && value == "true")
    };
    let offered = names.join(" or ");
    match (asked, old) {
        (Some(class), _) if !names.contains(class) => {
            account.causes.push(format!("its class {class} does not exist"));
            account.help = Some(format!("set ingressClassName to {offered}"));
        }
        (None, None) if !facts.classes.iter().any(is_default) => {
            account.causes.push("it names no class, and the cluster has no default class".to_owned());
            account.help = Some(format!("set ingressClassName to {offered}"));
        }
        _ => {
            let status = facts.ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
            if status.is_none_or(|status| status.ingress.as_ref().is_none_or(Vec::is_empty)) {
                account.causes.push("the controller of its class has not given it an address yet".to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::samples::object;

    fn class() -> IngressClass {
        let class = json!({"metadata": {"name": "knarr"}, "spec": {"controller": "x"}});
        serde_json::from_value(class).expect("a class")
    }

    fn ingress(class: Option<&str>) -> Ingress {
        let backend = json!({"service": {"name": "web", "port": {"number": 81}}});
        let status = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}});
        object("front", json!({"ingressClassName": class, "defaultBackend": backend}), status)
    }

    #[test]
    fn what_is_missing_on_the_way_is_named() {
        let facts = Facts {
            ingress: ingress(Some("nginx")),
            classes: vec![class()],
            services: vec![("web".to_owned(), None)],
            ..Facts::default()
        };
        assert_eq!(
            account(&facts).text(),
            "ingress ns/front does not lead where it should\n  its class nginx does not exist\n  \
             its Service web does not exist\nWhat would help: set ingressClassName to knarr.\n"
        );
        let web: Service = object("web", json!({"ports": [{"port": 80}]}), json!({}));
        let facts = Facts {
            ingress: ingress(Some("knarr")),
            classes: vec![class()],
            services: vec![("web".to_owned(), Some(web))],
            ..Facts::default()
        };
        assert_eq!(
            account(&facts).text(),
            "ingress ns/front does not lead where it should\n  its Service web has no port 81\n\
             What would help: name a port that the Service web has: 80.\n"
        );
    }
}
