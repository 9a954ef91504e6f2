//! `expose`: a Service for the pods of an object.

use serde_json::{Map, Value, json};

use super::{Command, create};
use crate::builder::{self, FILES, Info};
use crate::failure::{Failure, quoted};
use crate::overlay::{self, OVERRIDES};
use crate::session::Session;
use crate::write::{DRY_RUN, DryRun, Telling};
use crate::{format, last_applied};

pub const COMMANDS: [Command; 1] = [Command {
    words: "expose",
    flags: &[
        FILES,
        format::FLAGS,
        DRY_RUN,
        OVERRIDES,
        "cluster-ip text, external-ip text, field-manager text=kubectl-expose, l labels text, load-balancer-ip text, \
         name text, port text, protocol text, save-config bool=false, \
         selector text, session-affinity text, target-port text, type text",
    ],
    usage: "(-f FILENAME | TYPE NAME) [--port=port] [--protocol=TCP|UDP|SCTP] [--target-port=number-or-name] \
            [--name=name] [--external-ip=external-ip-of-service] [--type=type]",
    about: "Take a replication controller, service, deployment or pod and expose it as a new Kubernetes service",
    run,
}];

/// Longest name of a Service, in bytes.
const LONGEST_NAME: usize = 63;

fn run(session: &Session) -> Result<(), Failure> {
    let telling = Telling::of(session)?;
    let (infos, mut failures) = builder::named_or_said(session)?;
    for info in infos {
        failures.extend(exposed(session, &telling, &info).err());
    }
    Failure::all(failures)
}

fn exposed(session: &Session, telling: &Telling, info: &Info) -> Result<(), Failure> {
    let flags = &session.flags;
    let mut object = overlay::overridden(flags, service(session, info)?)?;
    for port in object["spec"]["ports"].as_array_mut().into_iter().flatten() {
        if port["targetPort"].is_null() {
            port["targetPort"] = 0.into();
        }
    }
    if session.settings()?.namespace_by_flag {
        object["metadata"]["namespace"] = session.namespace()?.into();
    }
    let Some(resource) = session.of_kind("v1", "Service")? else {
        return Err(Failure::message("no matches for kind \"Service\" in version \"v1\""));
    };
    if telling.dry() != DryRun::Client && flags.bool("save-config") {
        last_applied::annotate(&mut object);
    }
    let mut service = Info::of(&resource, object);
    if telling.dry() != DryRun::Client {
        session.namespace()?.clone_into(&mut service.namespace);
        create::post(session, &mut service, telling.dry(), flags.text("field-manager"))?;
    }
    telling.tell(session, &service, "exposed")
}

fn service(session: &Session, info: &Info) -> Result<Value, Failure> {
    let flags = &session.flags;
    let pod = pod_spec(info)?;
    let selector = match flags.text("selector") {
        "" => selector(info).map_err(|why| {
            let what = "couldn't retrieve selectors via --selector flag or introspection";
            Failure::message(format!("{what}: {why}"))
        })?,
        text => pairs(text)?,
    };
    let found = ports(info, pod);
    let is_headless = flags.text("cluster-ip") == "None";
    let numbers: Vec<String> = match flags.text("port") {
        "" if found.is_empty() && !is_headless => {
            return Err(Failure::message("couldn't find port via --port flag or introspection"));
        }
        "" => found.iter().map(|(port, _)| port.clone()).collect(),
        text => text.split(',').map(str::to_owned).collect(),
    };
    let mut entries = Vec::new();
    for (index, number) in numbers.iter().enumerate() {
        let port: i64 = number.parse().map_err(|_| {
            Failure::message(format!("strconv.Atoi: parsing {}: invalid syntax", quoted(number)))
        })?;
        let known = found.iter().find(|(port, _)| port == number).map_or("TCP", |(_, protocol)| protocol);
        let protocol = if flags.text("protocol").is_empty() { known } else { flags.text("protocol") };
        let target: Value = match flags.text("target-port") {
            "" => port.into(),
            text => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
        };
        let mut entry = json!({"port": port, "protocol": protocol, "targetPort": target});
        if numbers.len() > 1 {
            entry["name"] = format!("port-{}", index + 1).into();
        }
        entries.push(entry);
    }
    let labels = match flags.text("labels") {
        "" => info.object["metadata"]["labels"].as_object().cloned().unwrap_or_default(),
        text => pairs(text)?,
    };
    let mut cut = info.name.len().min(LONGEST_NAME);
    while !info.name.is_char_boundary(cut) {
        cut -= 1;
    }
    let name = if flags.text("name").is_empty() { &info.name[..cut] } else { flags.text("name") };
    let mut object = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}});
    if !labels.is_empty() {
        object["metadata"]["labels"] = labels.into();
    }
    object["spec"] = spec(session, selector)?;
    if !entries.is_empty() {
        object["spec"]["ports"] = entries.into();
    }
    object["status"] = json!({"loadBalancer": {}});
    Ok(object)
}

/// What the flags say of the Service beside its ports.
fn spec(session: &Session, selector: Map<String, Value>) -> Result<Value, Failure> {
    let flags = &session.flags;
    let mut spec = json!({"selector": selector});
    let mut put = |key: &str, value: &str| {
        if !value.is_empty() {
            spec[key] = value.into();
        }
    };
    put("type", flags.text("type"));
    put("clusterIP", flags.text("cluster-ip"));
    if flags.text("type") == "LoadBalancer" {
        put("loadBalancerIP", flags.text("load-balancer-ip"));
    }
    match flags.text("session-affinity") {
        affinity @ ("" | "None" | "ClientIP") => put("sessionAffinity", affinity),
        other => return Err(Failure::message(format!("unknown session affinity: {other}"))),
    }
    if !flags.text("external-ip").is_empty() {
        spec["externalIPs"] = json!([flags.text("external-ip")]);
    }
    Ok(spec)
}

/// The specification of an object's pods; that of a Service itself, which has none.
fn pod_spec(info: &Info) -> Result<&Value, Failure> {
    let object = &info.object;
    match (info.resource.group.as_str(), info.resource.kind.as_str()) {
        ("", "Pod" | "Service") => Ok(&object["spec"]),
        ("", "ReplicationController") | ("apps" | "extensions", "Deployment" | "ReplicaSet") => {
            Ok(&object["spec"]["template"]["spec"])
        }
        (group, kind) => {
            let of = if group.is_empty() { String::new() } else { format!(".{group}") };
            Err(Failure::message(format!("cannot expose a {kind}{of}")))
        }
    }
}

/// The labels of the pods that the Service leads to.
fn selector(info: &Info) -> Result<Map<String, Value>, &'static str> {
    let object = &info.object;
    let labels = match info.resource.kind.as_str() {
        "Pod" => &object["metadata"]["labels"],
        "Service" | "ReplicationController" => &object["spec"]["selector"],
        _ if object["spec"]["selector"]["matchExpressions"].as_array().is_some_and(|all| !all.is_empty()) => {
            return Err("couldn't convert expressions - \"[]\" to map-based selector format");
        }
        _ => &object["spec"]["selector"]["matchLabels"],
    };
    match labels.as_object().filter(|labels| !labels.is_empty()) {
        Some(labels) => Ok(labels.clone()),
        None => Err(match info.resource.kind.as_str() {
            "Pod" => "the pod has no labels and cannot be exposed",
            "Service" => "the service has no pod selector set",
            _ => "invalid deployment: no selectors, therefore cannot be exposed",
        }),
    }
}

/// The ports with their protocols.
fn ports(info: &Info, spec: &Value) -> Vec<(String, String)> {
    let port = |port: &Value, key: &str| {
        let protocol = port["protocol"].as_str().filter(|text| !text.is_empty()).unwrap_or("TCP");
        (port[key].as_i64().unwrap_or(0).to_string(), protocol.to_owned())
    };
    if info.resource.kind == "Service" {
        return spec["ports"].as_array().into_iter().flatten().map(|entry| port(entry, "port")).collect();
    }
    let containers = spec["containers"].as_array().into_iter().flatten();
    let ports = containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
    ports.map(|entry| port(entry, "containerPort")).collect()
}

/// `a=b,c=d`.
fn pairs(text: &str) -> Result<Map<String, Value>, Failure> {
    let mut pairs = Map::new();
    for pair in text.split(',') {
        let Some((key, value)) = pair.split_once('=').filter(|(_, value)| !value.contains('=')) else {
            return Err(Failure::message(format!("unexpected label spec: {pair}")));
        };
        pairs.insert(key.to_owned(), value.into());
    }
    Ok(pairs)
}
