//! `cluster-info`, `auth can-i` and `auth whoami`.

use http::Method;
use serde_json::{Value, json};

use super::Command;
use crate::client::{Request, escaped};
use crate::failure::Failure;
use crate::format;
use crate::output::{err, out};
use crate::session::Session;
use crate::table::Aligned;

pub const COMMANDS: [Command; 3] = [
    Command {
        words: "cluster-info",
        flags: &[],
        usage: "",
        about: "Display cluster information",
        run: information,
    },
    Command {
        words: "auth can-i",
        flags: &[
            "A all-namespaces bool=false, list bool=false, no-headers bool=false, q quiet bool=false, subresource text",
        ],
        usage: "VERB [TYPE | TYPE/NAME | NONRESOURCEURL]",
        about: "Check whether an action is allowed",
        run: can_i,
    },
    Command {
        words: "auth whoami",
        flags: &[format::FLAGS],
        usage: "",
        about: "Experimental: Check self subject attributes",
        run: who_am_i,
    },
];

fn information(session: &Session) -> Result<(), Failure> {
    if let Some(word) = session.arguments().first() {
        let why = format!("knarr kubectl does not know \"cluster-info {word}\" yet; use the stock kubectl");
        return Err(Failure::message(why));
    }
    let client = session.client()?;
    let request = Request::get("/api/v1/namespaces/kube-system/services")
        .with("labelSelector", "kubernetes.io/cluster-service=true");
    let services = client.json(&request)?;
    // Colours are for terminals.
    let terminal = rustix::termios::isatty(std::io::stdout());
    let paint = |colour: u8, text: &str| {
        if terminal { format!("\x1b[0;{colour}m{text}\x1b[0m") } else { text.to_owned() }
    };
    let line =
        |name: &str, address: &str| format!("{} is running at {}\n", paint(32, name), paint(33, address));
    let mut text = line("Kubernetes control plane", client.address());
    for service in services["items"].as_array().into_iter().flatten() {
        let metadata = &service["metadata"];
        let name = metadata["name"].as_str().unwrap_or_default();
        let shown = metadata["labels"]["kubernetes.io/name"].as_str().unwrap_or(name);
        text.push_str(&line(shown, &address(client.address(), service, name)));
    }
    text.push_str("\nTo further debug and diagnose cluster problems, use 'kubectl cluster-info dump'.\n");
    out(&text)
}

fn address(server: &str, service: &Value, name: &str) -> String {
    let ingress = service["status"]["loadBalancer"]["ingress"][0].clone();
    let port = &service["spec"]["ports"][0];
    if let Some(host) = ingress["ip"].as_str().or(ingress["hostname"].as_str()) {
        let ports = service["spec"]["ports"].as_array().into_iter().flatten();
        return ports.map(|port| format!("http://{host}:{} ", port["port"])).collect();
    }
    let scheme = if port["name"] == "https" || port["port"] == 443 { "https:" } else { "" };
    let port = port["name"].as_str().map_or(String::new(), |name| format!(":{name}"));
    format!("{server}/api/v1/namespaces/kube-system/services/{scheme}{}{port}/proxy", escaped(name))
}

fn can_i(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    if flags.bool("list") {
        return rights(session);
    }
    let [verb, what, names @ ..] = session.arguments() else {
        return Err(Failure::message(
            "you must specify two arguments: verb resource or verb resource/resourceName.\nSee 'kubectl auth can-i -h' for help and examples.",
        ));
    };
    if names.len() > 1 {
        return Err(Failure::message(
            "you must specify two arguments: verb resource or verb resource/resourceName.\nSee 'kubectl auth can-i -h' for help and examples.",
        ));
    }
    let spec = if what.starts_with('/') {
        json!({"nonResourceAttributes": {"path": what, "verb": verb}})
    } else {
        json!({"resourceAttributes": attributes(session, verb, what, names.first())?})
    };
    let review =
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec});
    let request =
        Request::new(Method::POST, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews").json(&review);
    let status = session.client()?.json(&request)?["status"].take();
    let allowed = status["allowed"] == true;
    if !flags.bool("quiet") {
        let text = |key: &str| status[key].as_str().filter(|text| !text.is_empty());
        let mut line = if allowed { "yes" } else { "no" }.to_owned();
        if !allowed {
            line.extend(text("reason").map(|reason| format!(" - {reason}")));
            line.extend(text("evaluationError").map(|error| format!(" - {error}")));
        }
        out(&format!("{line}\n"))?;
    }
    if allowed { Ok(()) } else { Err(Failure::Exit(1)) }
}

/// `auth can-i --list`: all that one may do in a namespace.
fn rights(session: &Session) -> Result<(), Failure> {
    if !session.arguments().is_empty() {
        return Err(Failure::message("list option must be specified with no arguments"));
    }
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": session.namespace()?}});
    let request =
        Request::new(Method::POST, "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews").json(&review);
    let status = session.client()?.json(&request)?["status"].take();
    if status["incomplete"] == true {
        let why = status["evaluationError"].as_str().unwrap_or_default();
        err(&format!("warning: the list may be incomplete: {why}\n"));
    }
    let rules = |key: &str| status[key].as_array().cloned().unwrap_or_default();
    let rules = [rules("resourceRules"), rules("nonResourceRules").iter().map(of_urls).collect()].concat();
    let mut lines = Vec::new();
    if !session.flags.bool("no-headers") {
        lines.push(["Resources", "Non-Resource URLs", "Resource Names", "Verbs"].map(str::to_owned).to_vec());
    }
    lines.extend(crate::describe::rules(&rules).into_iter().map(|row| row.to_vec()));
    out(&Aligned::default().text(&lines))
}

/// A review calls the URLs otherwise than a role.
fn of_urls(rule: &Value) -> Value {
    json!({"verbs": rule["verbs"], "nonResourceURLs": rule["nonResourceURLs"]})
}

fn attributes(session: &Session, verb: &str, what: &str, second: Option<&String>) -> Result<Value, Failure> {
    let flags = &session.flags;
    let (word, name) = what.split_once('/').unwrap_or((what, ""));
    let name = second.map_or(name, String::as_str);
    let mut attributes = json!({"verb": verb, "name": name, "subresource": flags.text("subresource")});
    let mut namespaced = true;
    match session.resource(word) {
        Ok(resource) => {
            attributes["resource"] = resource.plural.as_str().into();
            attributes["group"] = resource.group.as_str().into();
            namespaced = resource.namespaced;
            if !namespaced && !flags.bool("all-namespaces") {
                let of = if resource.group.is_empty() {
                    String::new()
                } else {
                    format!(" group '{}'", resource.group)
                };
                err(&format!("Warning: resource '{}' is not namespace scoped{of}\n\n", resource.plural));
            }
        }
        Err(_) => {
            let (plain, group) = word.split_once('.').unwrap_or((word, ""));
            attributes["resource"] = plain.into();
            attributes["group"] = group.into();
            if word == "*" {
                attributes["group"] = "*".into();
            } else {
                let of = if group.is_empty() { String::new() } else { format!(" in group '{group}'") };
                err(&format!("Warning: the server doesn't have a resource type '{plain}'{of}\n\n"));
            }
        }
    }
    if namespaced && !flags.bool("all-namespaces") {
        attributes["namespace"] = session.namespace()?.into();
    }
    Ok(attributes)
}

fn who_am_i(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    let format = format::asked(flags, &[])?;
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let request =
        Request::new(Method::POST, "/apis/authentication.k8s.io/v1/selfsubjectreviews").json(&review);
    let review = session.client()?.json(&request)?;
    if let Some(format) = format {
        return format::print(&format, review, flags);
    }
    let user = &review["status"]["userInfo"];
    let list = |value: &Value| {
        let values: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        format!("[{}]", values.join(" "))
    };
    let mut lines = vec![["ATTRIBUTE".to_owned(), "VALUE".to_owned()].to_vec()];
    for (key, shown) in [("username", "Username"), ("uid", "UID")] {
        if let Some(value) = user[key].as_str().filter(|value| !value.is_empty()) {
            lines.push(vec![shown.to_owned(), value.to_owned()]);
        }
    }
    if user["groups"].as_array().is_some_and(|groups| !groups.is_empty()) {
        lines.push(vec!["Groups".to_owned(), list(&user["groups"])]);
    }
    let mut extra: Vec<(&String, &Value)> = user["extra"].as_object().into_iter().flatten().collect();
    extra.sort_by_key(|(key, _)| key.as_str());
    lines.extend(extra.into_iter().map(|(key, value)| vec![format!("Extra: {key}"), list(value)]));
    out(&Aligned::default().text(&lines))
}
