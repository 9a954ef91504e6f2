//! `rollout status`.

use std::time::Duration;

use serde_json::Value;

use super::chosen;
use crate::builder::Info;
use crate::client::Request;
use crate::failure::{Failure, quoted};
use crate::output::out;
use crate::session::Session;
use crate::write::number;

/// How long is waited without a limit: a week.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

pub fn run(session: &Session) -> Result<(), Failure> {
    let (infos, failures) = chosen(session)?;
    Failure::all(failures)?;
    for info in &infos {
        follow(session, info)?;
    }
    Ok(())
}

fn follow(session: &Session, info: &Info) -> Result<(), Failure> {
    let client = session.client()?;
    let limit = u64::try_from(session.flags.duration_ns("timeout")).ok().filter(|ns| *ns > 0);
    let limit = limit.map_or(LONGEST, Duration::from_nanos);
    let started = session.now();
    let mut said = String::new();
    loop {
        let object = match client.json(&Request::get(info.path()?)) {
            Err(failure) if failure.is_not_found() && !said.is_empty() => {
                return Err(Failure::message("object has been deleted"));
            }
            other => other?,
        };
        let (text, done) = status(session, info, &object)?;
        if text != said {
            out(&text)?;
            said = text;
        }
        if done || !session.flags.bool("watch") {
            return Ok(());
        }
        let past = Duration::try_from(session.now().duration_since(started)).unwrap_or_default();
        let Some(left) = limit.checked_sub(past).filter(|left| !left.is_zero()) else {
            return Err(Failure::message("timed out waiting for the condition"));
        };
        let request = Request::get(info.resource.path(info.scope()))
            .with("watch", "true")
            .with("fieldSelector", &format!("metadata.name={}", info.name))
            .with("resourceVersion", object["metadata"]["resourceVersion"].as_str().unwrap_or_default());
        client.changed(&request, left)?;
    }
}

fn status(session: &Session, info: &Info, object: &Value) -> Result<(String, bool), Failure> {
    let revision = session.flags.int("revision");
    if revision > 0 && info.resource.kind == "Deployment" {
        let now = object["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
            .as_str()
            .unwrap_or_default();
        if now != revision.to_string() {
            return Err(Failure::message(format!(
                "desired revision ({revision}) is different from the running revision ({now})"
            )));
        }
    }
    match (info.resource.group.as_str(), info.resource.kind.as_str()) {
        ("apps", "Deployment") => deployment(object),
        ("apps", "DaemonSet") => daemon_set(object),
        ("apps", "StatefulSet") => stateful_set(object),
        (_, kind) => Err(Failure::message(format!("no status viewer has been implemented for {kind}"))),
    }
}

fn name(object: &Value) -> String {
    quoted(object["metadata"]["name"].as_str().unwrap_or_default())
}

fn observed(object: &Value) -> bool {
    number(object, "/metadata/generation") <= number(object, "/status/observedGeneration")
}

fn deployment(object: &Value) -> Result<(String, bool), Failure> {
    let name = name(object);
    if !observed(object) {
        return Ok(("Waiting for deployment spec update to be observed...\n".into(), false));
    }
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    if conditions.into_iter().any(|c| c["type"] == "Progressing" && c["reason"] == "ProgressDeadlineExceeded")
    {
        return Err(Failure::message(format!("deployment {name} exceeded its progress deadline")));
    }
    let wanted = object["spec"]["replicas"].as_i64();
    let updated = number(object, "/status/updatedReplicas");
    let all = number(object, "/status/replicas");
    let available = number(object, "/status/availableReplicas");
    let waiting = format!("Waiting for deployment {name} rollout to finish:");
    if let Some(wanted) = wanted.filter(|wanted| updated < *wanted) {
        return Ok((
            format!("{waiting} {updated} out of {wanted} new replicas have been updated...\n"),
            false,
        ));
    }
    if all > updated {
        return Ok((format!("{waiting} {} old replicas are pending termination...\n", all - updated), false));
    }
    if available < updated {
        return Ok((
            format!("{waiting} {available} of {updated} updated replicas are available...\n"),
            false,
        ));
    }
    Ok((format!("deployment {name} successfully rolled out\n"), true))
}

fn daemon_set(object: &Value) -> Result<(String, bool), Failure> {
    if object["spec"]["updateStrategy"]["type"] != "RollingUpdate" {
        return Err(Failure::message("rollout status is only available for RollingUpdate strategy type"));
    }
    let name = name(object);
    if !observed(object) {
        return Ok(("Waiting for daemon set spec update to be observed...\n".into(), false));
    }
    let wanted = number(object, "/status/desiredNumberScheduled");
    let updated = number(object, "/status/updatedNumberScheduled");
    let available = number(object, "/status/numberAvailable");
    let waiting = format!("Waiting for daemon set {name} rollout to finish:");
    if updated < wanted {
        return Ok((format!("{waiting} {updated} out of {wanted} new pods have been updated...\n"), false));
    }
    if available < wanted {
        return Ok((format!("{waiting} {available} of {wanted} updated pods are available...\n"), false));
    }
    Ok((format!("daemon set {name} successfully rolled out\n"), true))
}

fn stateful_set(object: &Value) -> Result<(String, bool), Failure> {
    if object["spec"]["updateStrategy"]["type"] != "RollingUpdate" {
        return Err(Failure::message("rollout status is only available for RollingUpdate strategy type"));
    }
    if number(object, "/status/observedGeneration") == 0 || !observed(object) {
        return Ok(("Waiting for statefulset spec update to be observed...\n".into(), false));
    }
    let wanted = number(object, "/spec/replicas");
    let ready = number(object, "/status/readyReplicas");
    let updated = number(object, "/status/updatedReplicas");
    if ready < wanted {
        return Ok((format!("Waiting for {} pods to be ready...\n", wanted - ready), false));
    }
    let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition");
    if partition > 0 {
        if updated < wanted - partition {
            let text = format!(
                "Waiting for partitioned roll out to finish: {updated} out of {} new pods have been updated...\n",
                wanted - partition
            );
            return Ok((text, false));
        }
        return Ok((
            format!("partitioned roll out complete: {updated} new pods have been updated...\n"),
            true,
        ));
    }
    let text = |key: &str| object["status"][key].as_str().unwrap_or_default();
    if text("updateRevision") != text("currentRevision") {
        let text = format!(
            "waiting for statefulset rolling update to complete {updated} pods at revision {}...\n",
            text("updateRevision")
        );
        return Ok((text, false));
    }
    let current = number(object, "/status/currentReplicas");
    Ok((
        format!(
            "statefulset rolling update complete {current} pods at revision {}...\n",
            text("currentRevision")
        ),
        true,
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_deployment_is_done_when_all_its_pods_are_new_and_available() {
        let with = |status: Value| {
            let object = json!({"metadata": {"name": "web", "generation": 1}, "spec": {"replicas": 2}, "status": status});
            deployment(&object).expect("a status")
        };
        let waiting = "Waiting for deployment \"web\" rollout to finish:";
        let status = json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 1});
        assert_eq!(
            with(status),
            (format!("{waiting} 1 out of 2 new replicas have been updated...\n"), false)
        );
        let status =
            json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
        assert_eq!(with(status), ("deployment \"web\" successfully rolled out\n".into(), true));
        assert!(!with(json!({})).1);
    }
}
