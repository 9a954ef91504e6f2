//! `set image`, `set resources` and `set serviceaccount`: fields of a pod's specification.

use serde_json::{Map, Value};

use super::super::generate::amounts;
use super::{Work, checked, chosen, each};
use crate::failure::{Failure, quoted};
use crate::session::Session;
use crate::write::Telling;

/// What has an object's pod specification in its `spec`: itself, or its template.
pub fn holder(object: &mut Value) -> Option<&mut Value> {
    let group =
        object["apiVersion"].as_str().unwrap_or_default().split_once('/').map_or("", |(group, _)| group);
    let path = match (group, object["kind"].as_str().unwrap_or_default()) {
        ("", "Pod") => "",
        ("", "ReplicationController")
        | ("apps" | "extensions", "Deployment" | "DaemonSet" | "ReplicaSet" | "StatefulSet")
        | ("batch", "Job") => "/spec/template",
        ("batch", "CronJob") => "/spec/jobTemplate/spec/template",
        _ => return None,
    };
    object.pointer_mut(path)
}

/// An object's pod specification, or in upstream's words that there is none.
pub fn pod_spec(object: &mut Value) -> Result<&mut Value, String> {
    let version = object["apiVersion"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    let kind = object["kind"].as_str().unwrap_or_default();
    let missing = format!("the object is not a pod or does not have a pod template: *{version}.{kind}");
    holder(object).and_then(|holder| holder.get_mut("spec")).ok_or(missing)
}

/// The containers of a list of a pod's specification whose names fit a pattern with `*`.
pub fn fitting<'a>(spec: &'a mut Value, list: &str, pattern: &'a str) -> impl Iterator<Item = &'a mut Value> {
    let containers = spec.get_mut(list).and_then(Value::as_array_mut);
    let fits = move |container: &&mut Value| fits(container["name"].as_str().unwrap_or_default(), pattern);
    containers.into_iter().flatten().filter(fits)
}

/// Whether a name is what a pattern means: its parts in their order, the first at the start, the last at the end.
fn fits(name: &str, pattern: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return name == pattern };
    let Some(mut left) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

/// Names with values.
type Pairs = Vec<(String, String)>;

/// The words before the first `NAME=VALUE`, and these.
fn split(words: &[String], what: &str) -> Result<(Vec<String>, Pairs), Failure> {
    let (mut resources, mut pairs) = (Vec::new(), Vec::new());
    for word in words {
        let is_pair = (word.contains('=') && !word.starts_with('=')) || (word.ends_with('-') && word != "-");
        match (is_pair, word.split_once('=')) {
            (true, Some((name, value))) => pairs.push((name.to_owned(), value.to_owned())),
            (true, None) => return Err(Failure::message(format!("invalid {what} format: {word}"))),
            (false, _) if pairs.is_empty() => resources.push(word.clone()),
            (false, _) => {
                let why = format!("all resources must be specified before {what} changes: {word}");
                return Err(Failure::message(why));
            }
        }
    }
    Ok((resources, pairs))
}

pub fn image(session: &Session) -> Result<(), Failure> {
    let telling = Telling::of(session)?;
    let (words, mut images) = split(session.arguments(), "image")?;
    images.sort();
    let flags = &session.flags;
    if flags.bool("all") && !flags.text("selector").is_empty() {
        return Err(Failure::message("cannot set --all and --selector at the same time"));
    }
    let infos = chosen(session, &words)?;
    if images.is_empty() {
        return Err(Failure::message("at least one image update is required"));
    }
    if images.len() > 1 && images.iter().any(|(name, _)| name == "*") {
        return Err(Failure::message(
            "all containers are already specified by *, but saw more than one container_name=container_image pairs",
        ));
    }
    checked(session, &telling)?;
    let mut missing = Vec::new();
    let mut change = |object: &mut Value| {
        let spec = pod_spec(object)?;
        for (name, image) in &images {
            let mut found = false;
            for list in ["initContainers", "containers"] {
                for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                    if name == "*" || container["name"] == **name {
                        container["image"] = image.as_str().into();
                        found = true;
                    }
                }
            }
            if !found {
                let why = format!("error: unable to find container named {}", quoted(name));
                missing.push(Failure::message(why));
            }
        }
        Ok(())
    };
    let work = Work {
        telling: &telling,
        done: "image updated",
        failed: "failed to patch image update to pod template:",
        always: false,
    };
    let failures = each(session, &work, infos, &mut change)?;
    missing.extend(failures);
    Failure::all(missing)
}

pub fn resources(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    let telling = Telling::of(session)?;
    let infos = chosen(session, session.arguments())?;
    checked(session, &telling)?;
    let pattern = flags.text("containers");
    let mut wanted: Vec<(&str, Map<String, Value>)> = Vec::new();
    for list in ["limits", "requests"] {
        if !flags.text(list).is_empty() {
            wanted.push((list, amounts(flags.text(list))?));
        }
    }
    if wanted.is_empty() {
        return Err(Failure::message(
            "you must specify an update to requests or limits (in the form of --requests/--limits)",
        ));
    }
    let mut missing = Vec::new();
    let mut change = |object: &mut Value| {
        let spec = pod_spec(object)?;
        let mut found = false;
        for list in ["containers", "initContainers"] {
            for container in fitting(spec, list, pattern) {
                found = true;
                for (which, amounts) in &wanted {
                    for (key, amount) in amounts {
                        container["resources"][*which][key] = amount.clone();
                    }
                }
            }
        }
        if !found {
            let why = format!("error: unable to find container named {pattern}");
            missing.push(Failure::message(why));
        }
        Ok(())
    };
    let work = Work {
        telling: &telling,
        done: "resource requirements updated",
        failed: "failed to patch resources update to pod template",
        always: false,
    };
    let failures = each(session, &work, infos, &mut change)?;
    missing.extend(failures);
    Failure::all(missing)
}

pub fn service_account(session: &Session) -> Result<(), Failure> {
    let telling = Telling::of(session)?;
    let Some((account, words)) = session.arguments().split_last() else {
        return Err(Failure::message("serviceaccount is required"));
    };
    checked(session, &telling)?;
    let infos = chosen(session, words)?;
    let mut change = |object: &mut Value| {
        pod_spec(object)?["serviceAccountName"] = account.as_str().into();
        Ok(())
    };
    let work = Work {
        telling: &telling,
        done: "serviceaccount updated",
        failed: "failed to patch ServiceAccountName",
        always: true,
    };
    Failure::all(each(session, &work, infos, &mut change)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_stars() {
        assert!(
            fits("web", "*")
                && fits("web", "w*")
                && fits("web", "*b")
                && fits("web", "w*b")
                && fits("web", "web")
        );
        assert!(!fits("web", "x*") && !fits("web", "*x") && !fits("web", "we") && !fits("w", "w*w"));
    }
}
