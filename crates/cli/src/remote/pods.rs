//! Which pod and container are meant: by a pod's name, or by an object that has pods.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::builder::{self, Wanted};
use crate::client::{Line, Request, escaped, name_part};
use crate::failure::Failure;
use crate::output::err;
use crate::session::Session;

/// The annotation that says which container is meant where none is named.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The object of `POD`, `TYPE/NAME` or `TYPE NAME`, or of the file that is given.
///
/// # Errors
/// When there is none, or several.
pub fn object(session: &Session, words: &[String]) -> Result<Value, Failure> {
    if words.is_empty() {
        let infos = builder::present(session)?;
        return match infos.as_slice() {
            [info] => Ok(info.object.clone()),
            _ => Err(Failure::message("cannot exec into multiple objects at a time")),
        };
    }
    let mut words = words.to_vec();
    if words.len() == 1 && !words[0].contains('/') {
        words.insert(0, "pods".to_owned());
    }
    let wanted = Wanted {
        words: &words,
        selector: String::new(),
        field_selector: String::new(),
        all_namespaces: false,
    };
    let (mut infos, mut failures) = builder::fetch(session, &wanted)?;
    if !failures.is_empty() {
        return Err(failures.remove(0));
    }
    match infos.len() {
        1 => Ok(infos.remove(0).object),
        _ => Err(Failure::message("a single object is required")),
    }
}

/// How long the flag lets a pod take.
///
/// # Errors
/// When that is no time at all.
pub fn patience(session: &Session) -> Result<Duration, Failure> {
    match u64::try_from(session.flags.duration_ns("pod-running-timeout")) {
        Ok(ns) if ns > 0 => Ok(Duration::from_nanos(ns)),
        _ => Err(session.usage("--pod-running-timeout must be higher than zero")),
    }
}

/// The pod of an object: itself, or the best one of those that it has; waits for one.
///
/// # Errors
/// When the object has no pods, or none comes in time.
pub fn of_object(session: &Session, object: &Value) -> Result<Value, Failure> {
    let kind = object["kind"].as_str().unwrap_or_default();
    if kind == "Pod" {
        return Ok(object.clone());
    }
    let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
    let attachable =
        ["Service", "ReplicationController", "Deployment", "StatefulSet", "ReplicaSet", "DaemonSet", "Job"];
    if !attachable.contains(&kind) {
        let named = go_type(object);
        let why = format!("cannot attach to {named}: selector for {named} not implemented");
        return Err(Failure::message(why));
    }
    let Some(selector) = selector(object) else {
        let name = text("name");
        return Err(Failure::message(format!(
            "cannot attach to *v1.Service: invalid service '{name}': Service is defined without a selector"
        )));
    };
    awaited(session, text("namespace"), &selector, patience(session)?).map(|mut pods| pods.remove(0))
}

/// Go's name of an object's type: `*v1.ConfigMap`.
pub fn go_type(object: &Value) -> String {
    let version = object["apiVersion"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    format!("*{version}.{}", object["kind"].as_str().unwrap_or_default())
}

/// The pod of an object as it is now, if it has one.
///
/// # Errors
/// When the server does not say.
pub fn present(session: &Session, object: &Value) -> Result<Option<Value>, Failure> {
    if object["kind"] == "Pod" {
        return Ok(Some(object.clone()));
    }
    let Some(selector) = selector(object) else { return Ok(None) };
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let path = format!("/api/v1/namespaces/{}/pods", escaped(namespace));
    let list = session.client()?.json(&Request::get(path).with("labelSelector", &selector))?;
    Ok(list["items"].as_array().and_then(|pods| pods.iter().min_by_key(|pod| rank(pod)).cloned()))
}

/// The pods that a selector chooses, the best one first; waits until there is one.
///
/// # Errors
/// When none comes in time.
pub fn awaited(
    session: &Session,
    namespace: &str,
    selector: &str,
    patience: Duration,
) -> Result<Vec<Value>, Failure> {
    let path = format!("/api/v1/namespaces/{}/pods", escaped(namespace));
    let client = session.client()?;
    let until = Instant::now() + patience;
    loop {
        let list = client.json(&Request::get(&path).with("labelSelector", selector))?;
        let mut pods = list["items"].as_array().cloned().unwrap_or_default();
        if !pods.is_empty() {
            for pod in &mut pods {
                (pod["apiVersion"], pod["kind"]) = ("v1".into(), "Pod".into());
            }
            pods.sort_by_key(rank);
            return Ok(pods);
        }
        let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        let watch = Request::get(&path)
            .with("labelSelector", selector)
            .with("watch", "true")
            .with("resourceVersion", version);
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::message("timed out waiting for the condition"));
        }
        // Whatever comes, the list is looked at again.
        client.changed(&watch, left)?;
    }
}

/// Follows one pod until `wanted` says what has come of it.
///
/// # Errors
/// When the pod goes away, or nothing has come of it in time.
pub fn until<T>(
    session: &Session,
    (namespace, name): (&str, &str),
    limit: Option<Duration>,
    wanted: impl Fn(&Value) -> Option<T>,
) -> Result<T, Failure> {
    let client = session.client()?;
    let (path, name_in_path) = (format!("/api/v1/namespaces/{}/pods", escaped(namespace)), name_part(name)?);
    let until = limit.map(|limit| Instant::now() + limit);
    loop {
        let pod = client.json(&Request::get(format!("{path}/{name_in_path}")))?;
        if let Some(found) = wanted(&pod) {
            return Ok(found);
        }
        let version = pod["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        let watch = Request::get(&path)
            .with("fieldSelector", &format!("metadata.name={name}"))
            .with("watch", "true")
            .with("resourceVersion", version);
        let mut stream = client.stream(&watch)?;
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let line = match stream.line(left)? {
                Line::Text(line) => line,
                Line::End => {
                    client.wait(tokio::time::sleep(Duration::from_secs(1)));
                    break;
                }
                Line::TimedOut => return Err(Failure::message("timed out waiting for the condition")),
            };
            let event: Value = serde_json::from_slice(&line)
                .map_err(|e| Failure::message(format!("an event cannot be read: {e}")))?;
            if event["type"] == "ERROR" {
                break;
            }
            if event["type"] == "DELETED" {
                return Err(Failure::message(format!("pods {name:?} not found")));
            }
            if let Some(found) = wanted(&event["object"]) {
                return Ok(found);
            }
        }
    }
}

/// Running pods come before others, ready ones first, younger ones last.
pub fn rank(pod: &Value) -> (bool, bool, bool, String) {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let ready = conditions.into_iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
    let assigned = pod["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    let created = pod["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_owned();
    (!assigned, pod["status"]["phase"] != "Running", !ready, created)
}

/// The labels that an object's pods have.
pub fn selector(object: &Value) -> Option<String> {
    let selector = &object["spec"]["selector"];
    let labels = selector.get("matchLabels").unwrap_or(selector).as_object()?;
    let mut parts: Vec<String> =
        labels.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str()?;
        let values: Vec<&str> =
            expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        parts.push(match expression["operator"].as_str()? {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        });
    }
    (!parts.is_empty()).then(|| parts.join(","))
}

fn containers<'p>(pod: &'p Value, list: &str) -> impl Iterator<Item = &'p Value> {
    pod["spec"][list].as_array().into_iter().flatten()
}

/// The container of this name.
pub fn container<'p>(pod: &'p Value, name: &str) -> Option<&'p Value> {
    ["containers", "initContainers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|list| containers(pod, list))
        .find(|container| container["name"] == name)
}

/// The container of this name; without one, the pod's default, of which is told where there are others.
///
/// # Errors
/// When the pod has none of this name.
pub fn container_or_default<'p>(pod: &'p Value, name: &str, quiet: bool) -> Result<&'p Value, Failure> {
    let pod_name = pod["metadata"]["name"].as_str().unwrap_or_default();
    if !name.is_empty() {
        return container(pod, name)
            .ok_or_else(|| Failure::message(format!("container {name} not found in pod {pod_name}")));
    }
    let annotated = pod["metadata"]["annotations"][DEFAULT_CONTAINER].as_str();
    if let Some(container) = annotated.and_then(|name| container(pod, name)) {
        return Ok(container);
    }
    let Some(first) = containers(pod, "containers").next() else {
        return Err(Failure::message(format!("no containers found in pod {pod_name}")));
    };
    let noted = [("containers", ""), ("initContainers", " (init)"), ("ephemeralContainers", " (ephem)")];
    let all: Vec<String> = noted
        .iter()
        .flat_map(|(list, note)| {
            containers(pod, list).map(move |c| format!("{}{note}", c["name"].as_str().unwrap_or_default()))
        })
        .collect();
    if all.len() > 1 && !quiet {
        err(&format!("Defaulted container {} out of: {}\n", first["name"], all.join(", ")));
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_are_written_as_in_a_url() {
        let object = json!({"spec": {"selector": {"matchLabels": {"a": "b"}, "matchExpressions": [
            {"key": "c", "operator": "In", "values": ["1", "2"]}, {"key": "d", "operator": "DoesNotExist"}]}}});
        assert_eq!(selector(&object).as_deref(), Some("a=b,c in (1,2),!d"));
        assert_eq!(selector(&json!({"spec": {"selector": {"app": "x"}}})).as_deref(), Some("app=x"));
        assert_eq!(selector(&json!({})), None);
    }

    #[test]
    fn the_container_is_the_one_that_is_named_annotated_or_first() {
        let mut pod = json!({"metadata": {"name": "p"}, "spec": {
            "containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        let name = |pod: &Value, asked: &str| {
            container_or_default(pod, asked, true).map(|c| c["name"].clone()).map_err(|f| f.plain())
        };
        assert_eq!(name(&pod, ""), Ok("a".into()));
        assert_eq!(name(&pod, "i"), Ok("i".into()));
        assert_eq!(name(&pod, "x"), Err("container x not found in pod p".to_owned()));
        pod["metadata"]["annotations"] = json!({DEFAULT_CONTAINER: "b"});
        assert_eq!(name(&pod, ""), Ok("b".into()));
    }
}
