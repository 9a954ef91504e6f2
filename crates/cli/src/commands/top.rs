//! `top`: what nodes and pods use.

use api::quantity::Quantity;
use serde_json::Value;

use super::Command;
use crate::client::{Request, escaped, name_part};
use crate::failure::Failure;
use crate::output::{err, out};
use crate::session::Session;
use crate::table::Aligned;
use crate::write::go_duration;

pub const COMMANDS: [Command; 2] = [
    Command {
        words: "top node|top nodes|top no",
        flags: &[
            "no-headers bool=false, l selector text, show-capacity bool=false, show-swap bool=false, sort-by text, \
             use-protocol-buffers bool=true",
        ],
        usage: "[NAME | -l label]",
        about: "Display resource (CPU/memory) usage of nodes",
        run: nodes,
    },
    Command {
        words: "top pod|top pods|top po",
        flags: &[
            "A all-namespaces bool=false, containers bool=false, field-selector text, no-headers bool=false, \
             l selector text, show-swap bool=false, sort-by text, sum bool=false, use-protocol-buffers bool=true",
        ],
        usage: "[NAME | -l label]",
        about: "Display resource (CPU/memory) usage of pods",
        run: pods,
    },
];

const METRICS: &str = "/apis/metrics.k8s.io/v1beta1";

/// How long after a pod's start figures may be missing, in seconds.
const DELAY_S: i64 = 120;

/// What is wrong with the flags of both commands.
fn checked(session: &Session, both: &str) -> Result<(), Failure> {
    let flags = &session.flags;
    if session.arguments().len() > 1 {
        let what = session.command.rsplit(' ').next().unwrap_or_default();
        return Err(session.usage(&format!("{what} [NAME | -l label]")));
    }
    if !["", "cpu", "memory"].contains(&flags.text("sort-by")) {
        return Err(Failure::message("--sort-by accepts only cpu or memory"));
    }
    if !session.arguments().is_empty() && !flags.text("selector").is_empty() {
        return Err(Failure::message(format!("only one of NAME or {both} can be provided")));
    }
    if flags.bool("show-swap") {
        let why = "knarr kubectl does not know \"--show-swap\" of top yet; use the stock kubectl";
        return Err(Failure::message(why));
    }
    let known = |catalogue: &crate::discovery::Catalogue| {
        catalogue.versions.iter().any(|(group, version)| group == "metrics.k8s.io" && version == "v1beta1")
    };
    if !known(session.catalogue()?) && !known(session.fresh_catalogue()?) {
        return Err(Failure::message("Metrics API not available"));
    }
    Ok(())
}

/// The objects of a list, or the one that is named.
fn read(session: &Session, path: &str) -> Result<Vec<Value>, Failure> {
    let client = session.client()?;
    if let [name] = session.arguments() {
        return Ok(vec![client.json(&Request::get(format!("{path}/{}", name_part(name)?)))?]);
    }
    let request = Request::get(path)
        .with("labelSelector", session.flags.text("selector"))
        .with("fieldSelector", session.flags.text("field-selector"));
    Ok(client.json(&request)?["items"].as_array().cloned().unwrap_or_default())
}

fn amount(list: &Value, key: &str) -> Quantity {
    list[key].as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn cpu(amount: &Quantity) -> String {
    format!("{}m", amount.milli_value())
}

fn memory(amount: &Quantity) -> String {
    format!("{}Mi", amount.value() / (1 << 20))
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object["metadata"][key].as_str().unwrap_or_default()
}

/// The largest first where figures count, else by name.
fn sort(session: &Session, entries: &mut [Value], usage: impl Fn(&Value) -> (i64, i64)) {
    let with_namespace = session.flags.bool("all-namespaces");
    let key = |entry: &Value| {
        let namespace = if with_namespace { text(entry, "namespace") } else { "" };
        (namespace.to_owned(), text(entry, "name").to_owned())
    };
    match session.flags.text("sort-by") {
        "cpu" => entries.sort_by_key(|entry| std::cmp::Reverse(usage(entry).0)),
        "memory" => entries.sort_by_key(|entry| std::cmp::Reverse(usage(entry).1)),
        _ => entries.sort_by_key(key),
    }
}

fn nodes(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    checked(session, "--selector")?;
    let mut figures = read(session, &format!("{METRICS}/nodes"))?;
    if figures.is_empty() {
        return Err(Failure::message("metrics not available yet"));
    }
    let nodes = read(session, "/api/v1/nodes")?;
    let usage = |entry: &Value| {
        (amount(&entry["usage"], "cpu").milli_value(), amount(&entry["usage"], "memory").value())
    };
    sort(session, &mut figures, usage);
    let mut lines = Vec::new();
    if !flags.bool("no-headers") {
        lines.push(cells(["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)", ""]));
    }
    let available = if flags.bool("show-capacity") { "capacity" } else { "allocatable" };
    for entry in &figures {
        let node = nodes.iter().find(|node| text(node, "name") == text(entry, "name"));
        let mut line = vec![text(entry, "name").to_owned()];
        for (key, shown) in [("cpu", cpu as fn(&Quantity) -> String), ("memory", memory)] {
            let used = amount(&entry["usage"], key);
            line.push(shown(&used));
            if let Some(node) = node {
                line.push(share(&used, &amount(&node["status"][available], key)));
            }
        }
        line.push(String::new());
        lines.push(line);
    }
    for node in &nodes {
        if figures.iter().all(|entry| text(entry, "name") != text(node, "name")) {
            lines.push(cells([text(node, "name"), "<unknown>", "<unknown>", "<unknown>", "<unknown>", ""]));
        }
    }
    out(&Aligned::default().text(&lines))
}

fn cells<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn share(used: &Quantity, of: &Quantity) -> String {
    let percent = match of.milli_value() {
        0 => 0.0,
        all => used.milli_value() as f64 / all as f64 * 100.0,
    };
    format!("{}%", percent as i64)
}

/// What a pod's containers use together.
fn total(pod: &Value) -> (Quantity, Quantity) {
    let containers = pod["containers"].as_array().into_iter().flatten();
    containers.fold((Quantity::default(), Quantity::default()), |(cpu, memory), container| {
        (cpu.plus(&amount(&container["usage"], "cpu")), memory.plus(&amount(&container["usage"], "memory")))
    })
}

fn pods(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    checked(session, "selector")?;
    let scope = if flags.bool("all-namespaces") && session.arguments().is_empty() {
        "/pods".to_owned()
    } else {
        format!("/namespaces/{}/pods", escaped(session.namespace()?))
    };
    let mut figures = read(session, &format!("{METRICS}{scope}"))?;
    if figures.is_empty() {
        return without_figures(session, &scope);
    }
    sort(session, &mut figures, |pod| {
        let (cpu, memory) = total(pod);
        (cpu.milli_value(), memory.value())
    });
    out(&Aligned::default().text(&pod_lines(session, &figures)))
}

fn pod_lines(session: &Session, figures: &[Value]) -> Vec<Vec<String>> {
    let flags = &session.flags;
    let (with_namespace, by_container) = (flags.bool("all-namespaces"), flags.bool("containers"));
    let mut columns = vec!["NAME", "CPU(cores)", "MEMORY(bytes)", ""];
    let mut width = 3;
    let mut lines = Vec::new();
    if !flags.bool("no-headers") {
        if by_container {
            columns.insert(0, "POD");
            width += 1;
        }
        if with_namespace {
            columns.insert(0, "NAMESPACE");
            width += 1;
        }
        lines.push(columns.into_iter().map(str::to_owned).collect());
    }
    let before = |pod: &Value| {
        let mut cells = Vec::new();
        if with_namespace {
            cells.push(text(pod, "namespace").to_owned());
        }
        cells.push(text(pod, "name").to_owned());
        cells
    };
    for pod in figures {
        let mut containers = pod["containers"].as_array().cloned().unwrap_or_default();
        let usage = |container: &Value, key: &str| amount(&container["usage"], key);
        match flags.text("sort-by") {
            "cpu" => containers.sort_by_key(|c| std::cmp::Reverse(usage(c, "cpu").milli_value())),
            "memory" => containers.sort_by_key(|c| std::cmp::Reverse(usage(c, "memory").value())),
            _ => containers.sort_by_key(|c| c["name"].as_str().unwrap_or_default().to_owned()),
        }
        if !by_container {
            let (used_cpu, used_memory) = total(pod);
            let mut line = before(pod);
            line.extend([cpu(&used_cpu), memory(&used_memory), String::new()]);
            lines.push(line);
            continue;
        }
        for container in &containers {
            let mut line = before(pod);
            line.push(container["name"].as_str().unwrap_or_default().to_owned());
            line.extend([cpu(&usage(container, "cpu")), memory(&usage(container, "memory")), String::new()]);
            lines.push(line);
        }
    }
    if flags.bool("sum") {
        let sums = figures.iter().map(total).fold((Quantity::default(), Quantity::default()), |sum, pod| {
            (sum.0.plus(&pod.0), sum.1.plus(&pod.1))
        });
        let blank = |count: usize| vec![String::new(); count];
        let rule = "________".to_owned();
        lines.push([blank(width - 2), vec![rule.clone(), rule, String::new()]].concat());
        lines.push([blank(width - 2), vec![cpu(&sums.0), memory(&sums.1), String::new()]].concat());
    }
    lines
}

/// Why there are no figures: no pods, or none of them yet.
fn without_figures(session: &Session, scope: &str) -> Result<(), Failure> {
    let pods = read(session, &format!("/api/v1{scope}"))?;
    for pod in &pods {
        let created: Option<jiff::Timestamp> = text(pod, "creationTimestamp").parse().ok();
        let Some(created) = created else { continue };
        let age = session.now().duration_since(created);
        if age.as_secs() > DELAY_S {
            let age = go_duration(age.as_nanos());
            return Err(Failure::message(format!(
                "Metrics not available for pod {}/{}, age: {age}",
                text(pod, "namespace"),
                text(pod, "name")
            )));
        }
    }
    if !pods.is_empty() {
        return Err(Failure::message("metrics not available yet"));
    }
    err(&match session.flags.bool("all-namespaces") {
        true => "No resources found\n".to_owned(),
        false => format!("No resources found in {} namespace.\n", session.namespace()?),
    });
    Ok(())
}
