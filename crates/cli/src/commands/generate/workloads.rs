//! Pods and what makes pods.

use serde_json::{Map, Value, json};

use super::{behind_name, name, named, pairs, required};
use crate::client::{Request, escaped, name_part};
use crate::failure::Failure;
use crate::overlay;
use crate::session::Session;

/// A container's name out of its image: the last part, without tag and digest.
fn container_name(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or_default();
    let name = last.split(['@', ':']).next().unwrap_or_default();
    name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

pub fn deployment(session: &Session) -> Result<Value, Failure> {
    let flags = &session.flags;
    required(session, &["image"])?;
    let name = name(session)?;
    let images = flags.list("image");
    let command = behind_name(session);
    if images.len() > 1 && !command.is_empty() {
        return Err(Failure::message("cannot specify multiple --image options and command"));
    }
    if flags.int("replicas") < 0 {
        return Err(Failure::message(format!(
            "the argument --replicas is invalid: {} is negative",
            flags.int("replicas")
        )));
    }
    let mut containers = Vec::new();
    for image in images {
        let mut container = json!({"name": container_name(image), "image": image, "resources": {}});
        if !command.is_empty() {
            container["command"] = command.clone().into();
        }
        if flags.int("port") >= 0 && containers.is_empty() {
            container["ports"] = json!([{"containerPort": flags.int("port")}]);
        }
        containers.push(container);
    }
    let labels = json!({"app": name});
    let mut object = named("apps/v1", "Deployment", name);
    object["metadata"]["labels"] = labels.clone();
    object["spec"] = json!({
        "replicas": flags.int("replicas"),
        "selector": {"matchLabels": labels},
        "strategy": {},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
    });
    object["status"] = json!({});
    Ok(object)
}

pub fn job(session: &Session) -> Result<Value, Failure> {
    let flags = &session.flags;
    let name = name(session)?;
    match (flags.text("image"), flags.text("from")) {
        ("", "") => return Err(Failure::message("either --image or --from must be specified")),
        (image, "") if !image.is_empty() => {}
        ("", from) => return job_of(session, name, from),
        _ => return Err(Failure::message("either --image or --from must be specified")),
    }
    let mut container = json!({"name": name, "image": flags.text("image"), "resources": {}});
    let command = behind_name(session);
    if !command.is_empty() {
        container["command"] = command.into();
    }
    let mut object = named("batch/v1", "Job", name);
    object["spec"] =
        json!({"template": {"metadata": {}, "spec": {"containers": [container], "restartPolicy": "Never"}}});
    object["status"] = json!({});
    Ok(object)
}

pub fn cron_job(session: &Session) -> Result<Value, Failure> {
    let flags = &session.flags;
    required(session, &["image", "schedule"])?;
    let name = name(session)?;
    let mut container = json!({"name": name, "image": flags.text("image"), "resources": {}});
    let command = behind_name(session);
    if !command.is_empty() {
        container["command"] = command.into();
    }
    let restart = if flags.text("restart").is_empty() { "OnFailure" } else { flags.text("restart") };
    let pod = json!({"metadata": {}, "spec": {"containers": [container], "restartPolicy": restart}});
    let mut object = named("batch/v1", "CronJob", name);
    object["spec"] = json!({
        "schedule": flags.text("schedule"),
        "jobTemplate": {"metadata": {"name": name}, "spec": {"template": pod}},
    });
    object["status"] = json!({});
    Ok(object)
}

/// The next run of a CronJob, now.
fn job_of(session: &Session, name: &str, from: &str) -> Result<Value, Failure> {
    let Some(cron) =
        from.strip_prefix("cronjob/").or(from.strip_prefix("cronjobs/")).or(from.strip_prefix("cj/"))
    else {
        return Err(Failure::message("from must be an existing cronjob"));
    };
    let path =
        format!("/apis/batch/v1/namespaces/{}/cronjobs/{}", escaped(session.namespace()?), name_part(cron)?);
    let cron = session.client()?.json(&Request::get(path))?;
    let template = &cron["spec"]["jobTemplate"];
    let mut annotations =
        Map::from_iter([("cronjob.kubernetes.io/instantiate".to_owned(), Value::from("manual"))]);
    annotations.extend(template["metadata"]["annotations"].as_object().cloned().unwrap_or_default());
    let mut object = named("batch/v1", "Job", name);
    object["metadata"]["annotations"] = annotations.into();
    if template["metadata"]["labels"].is_object() {
        object["metadata"]["labels"] = template["metadata"]["labels"].clone();
    }
    object["metadata"]["ownerReferences"] = json!([{"apiVersion": "batch/v1", "kind": "CronJob", "controller": true,
        "name": cron["metadata"]["name"], "uid": cron["metadata"]["uid"]}]);
    object["spec"] = template["spec"].clone();
    Ok(object)
}

pub fn run(session: &Session) -> Result<Value, Failure> {
    let flags = &session.flags;
    required(session, &["image"])?;
    let Some(name) = session.arguments().first() else {
        return Err(session.usage("NAME is required for run"));
    };
    let restart = flags.text("restart");
    if !["Always", "OnFailure", "Never"].contains(&restart) {
        return Err(session.usage(&format!("invalid restart policy: {restart}")));
    }
    let mut container = json!({"name": name, "image": flags.text("image"), "resources": {}});
    let words = behind_name(session);
    if !words.is_empty() {
        container[if flags.bool("command") { "command" } else { "args" }] = words.into();
    }
    let mut variables = Vec::new();
    for variable in flags.list("env") {
        let Some((key, value)) = variable.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(Failure::message(format!("invalid env: {variable}")));
        };
        variables.push(json!({"name": key, "value": value}));
    }
    if !variables.is_empty() {
        container["env"] = variables.into();
    }
    if !flags.text("image-pull-policy").is_empty() {
        container["imagePullPolicy"] = flags.text("image-pull-policy").into();
    }
    if !flags.text("port").is_empty() {
        let port: u16 = flags
            .text("port")
            .parse()
            .map_err(|_| Failure::message(format!("invalid port: {}", flags.text("port"))))?;
        container["ports"] = json!([{"containerPort": port}]);
    }
    if flags.bool("stdin") {
        container["stdin"] = true.into();
        if !flags.bool("leave-stdin-open") {
            container["stdinOnce"] = true.into();
        }
    }
    if flags.bool("tty") {
        container["tty"] = true.into();
    }
    if flags.bool("privileged") {
        container["securityContext"] = json!({"privileged": true});
    }
    let mut object = named("v1", "Pod", name);
    let labels = pairs(flags.text("labels"))?;
    object["metadata"]["labels"] = if labels.is_empty() { json!({"run": name}) } else { labels.into() };
    let annotations = flags.list("annotations").join(",");
    if !annotations.is_empty() {
        object["metadata"]["annotations"] = pairs(&annotations)?.into();
    }
    object["spec"] =
        json!({"containers": [container], "dnsPolicy": "ClusterFirst", "restartPolicy": restart});
    object["status"] = json!({});
    let mut object = overlay::overridden(flags, object)?;
    for container in object["spec"]["containers"].as_array_mut().into_iter().flatten() {
        if container["resources"].is_null() {
            container["resources"] = json!({});
        }
    }
    Ok(object)
}

/// The Service of `run --expose`.
pub fn exposing(session: &Session) -> Result<Value, Failure> {
    let flags = &session.flags;
    let Some(name) = session.arguments().first() else {
        return Err(session.usage("NAME is required for run"));
    };
    let labels = pairs(flags.text("labels"))?;
    let port: u16 = flags
        .text("port")
        .parse()
        .map_err(|_| Failure::message(format!("invalid port: {}", flags.text("port"))))?;
    let mut object = named("v1", "Service", name);
    let selector = if labels.is_empty() {
        json!({"run": name})
    } else {
        object["metadata"]["labels"] = labels.clone().into();
        labels.into()
    };
    object["spec"] = json!({
        "ports": [{"port": port, "protocol": "TCP", "targetPort": port}],
        "selector": selector,
    });
    object["status"] = json!({"loadBalancer": {}});
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_called_as_their_images() {
        assert_eq!(container_name("reg.example:5000/a/Nginx:1.2@sha256:00"), "nginx");
        assert_eq!(container_name("my_image"), "my-image");
    }
}
