//! `autoscale`: a HorizontalPodAutoscaler for an object with replicas.

use api::quantity::Quantity;
use serde_json::{Value, json};

use super::{Command, create};
use crate::builder::{self, FILES, Info};
use crate::discovery::Resource;
use crate::failure::Failure;
use crate::output::err;
use crate::session::Session;
use crate::write::{DRY_RUN, DryRun, Telling};
use crate::{format, last_applied};

pub const COMMANDS: [Command; 1] = [Command {
    words: "autoscale",
    flags: &[
        FILES,
        format::FLAGS,
        DRY_RUN,
        "cpu text, cpu-percent int=-1, field-manager text=kubectl-autoscale, max int=-1, memory text, min int=-1, \
         name text, save-config bool=false",
    ],
    usage: "(-f FILENAME | TYPE NAME | TYPE/NAME) [--min=MINPODS] --max=MAXPODS [--cpu=CPU] [--memory=MEMORY]",
    about: "Auto-scale a deployment, replica set, stateful set, or replication controller",
    run,
}];

const API_VERSION: &str = "autoscaling/v2";
const KIND: &str = "HorizontalPodAutoscaler";

fn run(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    if flags.changed("cpu-percent") {
        err(
            "Flag --cpu-percent has been deprecated, Use --cpu with percentage or resource quantity format (e.g., '70%' for utilization or '500m' for milliCPU).\n",
        );
    }
    if !flags.changed("max") {
        return Err(Failure::message("required flag(s) \"max\" not set"));
    }
    let telling = Telling::of(session)?;
    let (least, most) = (flags.int("min"), flags.int("max"));
    if most < 1 {
        return Err(Failure::message(format!(
            "--max=MAXPODS is required and must be at least 1, max: {most}"
        )));
    }
    if most < least {
        return Err(Failure::message(format!(
            "--max=MAXPODS must be larger or equal to --min=MINPODS, max: {most}, min: {least}"
        )));
    }
    if flags.int("cpu-percent") > 0 && !flags.text("cpu").is_empty() {
        return Err(Failure::message("--cpu-percent and --cpu are mutually exclusive"));
    }
    let metrics = metrics(session)?;
    let (infos, mut failures) = builder::named_or_said(session)?;
    if infos.is_empty() && failures.is_empty() {
        return Err(Failure::message("no objects passed to autoscale"));
    }
    for info in infos {
        failures.extend(scaled(session, &telling, &info, &metrics).err());
    }
    Failure::all(failures)
}

/// What the flags say of utilization, as the object has it.
fn metrics(session: &Session) -> Result<Vec<Value>, Failure> {
    let flags = &session.flags;
    let mut metrics = Vec::new();
    let mut add = |name: &str, target: Value| {
        metrics.push(json!({"type": "Resource", "resource": {"name": name, "target": target}}));
    };
    if flags.int("cpu-percent") > 0 {
        add("cpu", json!({"type": "Utilization", "averageUtilization": flags.int("cpu-percent")}));
    }
    for (name, unit) in [("cpu", "m"), ("memory", "Mi")] {
        if !flags.text(name).is_empty() {
            add(name, target(name, unit, flags.text(name)).map_err(Failure::message)?);
        }
    }
    Ok(metrics)
}

/// `70%`, `500m`, or a number of `unit`.
fn target(name: &str, unit: &str, text: &str) -> Result<Value, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("empty input".to_owned());
    }
    if let Some(number) = text.strip_suffix('%') {
        return match number.parse::<i32>().ok().filter(|percent| *percent >= 0) {
            Some(percent) => Ok(json!({"type": "Utilization", "averageUtilization": percent})),
            None => Err(format!("invalid percentage value: {number}")),
        };
    }
    let with_unit = match text.parse::<f64>() {
        Ok(number) => format!("{number}{unit}"),
        Err(_) => text.to_owned(),
    };
    let amount: Quantity = with_unit.parse().map_err(|_| format!("invalid resource {name} value: {text}"))?;
    Ok(json!({"type": "AverageValue", "averageValue": amount.to_string()}))
}

fn scaled(session: &Session, telling: &Telling, info: &Info, metrics: &[Value]) -> Result<(), Failure> {
    let flags = &session.flags;
    let resource = &info.resource;
    if !has_scale(session, info)? {
        return Err(Failure::message(format!(
            "cannot autoscale a {}: could not find scale subresource for {}/{}, Resource={} in discovery information",
            resource.kind, resource.group, resource.version, resource.plural
        )));
    }
    let name = if flags.text("name").is_empty() { info.name.as_str() } else { flags.text("name") };
    let mut object = json!({"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}});
    object["spec"] = json!({"maxReplicas": flags.int("max"), "scaleTargetRef": {
        "apiVersion": resource.api_version(), "kind": resource.kind, "name": info.name}});
    if flags.int("min") > 0 {
        object["spec"]["minReplicas"] = flags.int("min").into();
    }
    if !metrics.is_empty() {
        object["spec"]["metrics"] = metrics.into();
    }
    if session.settings()?.namespace_by_flag {
        object["metadata"]["namespace"] = session.namespace()?.into();
    }
    let Some(kind) = session.of_kind(API_VERSION, KIND)? else {
        return Err(Failure::message(format!("no matches for kind {KIND:?} in version {API_VERSION:?}")));
    };
    if telling.dry() == DryRun::Client {
        object["status"] = json!({"currentMetrics": null, "desiredReplicas": 0});
        return telling.tell(session, &Info::of(&kind, object), "created");
    }
    let made = match posted(session, telling, &kind, object.clone()) {
        Ok(made) => made,
        Err(_) => older(session, telling, object)?,
    };
    telling.tell(session, &made, "autoscaled")
}

fn posted(session: &Session, telling: &Telling, kind: &Resource, mut object: Value) -> Result<Info, Failure> {
    if session.flags.bool("save-config") {
        last_applied::annotate(&mut object);
    }
    let mut made = Info::of(kind, object);
    session.namespace()?.clone_into(&mut made.namespace);
    create::post(session, &mut made, telling.dry(), session.flags.text("field-manager"))?;
    Ok(made)
}

/// Where the server refuses, what the older version can say is sent as that one, as upstream does.
fn older(session: &Session, telling: &Telling, mut object: Value) -> Result<Info, Failure> {
    const VERSION: &str = "autoscaling/v1";
    let flags = &session.flags;
    let why = match flags.text("cpu").trim() {
        "" => "empty input",
        cpu if cpu.ends_with('%') && flags.text("memory").is_empty() => "",
        _ => "%!w(<nil>)",
    };
    if !why.is_empty() {
        let what =
            "failed to create autoscaling/v2 HPA and the configuration is incompatible with autoscaling/v1";
        return Err(Failure::message(format!("{what}: {why}")));
    }
    object["apiVersion"] = VERSION.into();
    if let Some(spec) = object["spec"].as_object_mut() {
        spec.remove("metrics");
    }
    let Some(kind) = session.of_kind(VERSION, KIND)? else {
        return Err(Failure::message(format!("no matches for kind {KIND:?} in version {VERSION:?}")));
    };
    posted(session, telling, &kind, object)
}

/// Whether the server says that objects of the kind have a scale.
fn has_scale(session: &Session, info: &Info) -> Result<bool, Failure> {
    let resource = &info.resource;
    let root = if resource.group.is_empty() { "/api" } else { "/apis" };
    let path = format!("{root}/{}", resource.api_version());
    let list = session.client()?.json(&crate::client::Request::get(path))?;
    let wanted = format!("{}/scale", resource.plural);
    Ok(list["resources"].as_array().into_iter().flatten().any(|r| r["name"] == *wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_shares_or_amounts() {
        let read = |text| target("cpu", "m", text);
        assert_eq!(read("70%"), Ok(json!({"type": "Utilization", "averageUtilization": 70})));
        assert_eq!(read("500"), Ok(json!({"type": "AverageValue", "averageValue": "500m"})));
        assert_eq!(read("2"), Ok(json!({"type": "AverageValue", "averageValue": "2m"})));
        assert_eq!(read("x%"), Err("invalid percentage value: x".to_owned()));
        assert_eq!(read("x"), Err("invalid resource cpu value: x".to_owned()));
    }
}
