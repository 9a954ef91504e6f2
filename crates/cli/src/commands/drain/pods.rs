//! Which pods leave a node, and why others may not.

use serde_json::Value;

use crate::builder::Info;
use crate::client::{Request, escaped, name_part};
use crate::failure::Failure;
use crate::session::Session;

pub struct Chosen {
    pub pods: Vec<Info>,
    pub warnings: String,
}

/// What is to happen with one pod.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Leaves,
    LeavesWith(String),
    Stays,
    StaysWith(String),
    Forbids(String),
}

/// The pods that leave the node; all reasons against it where there are any.
pub fn chosen(session: &Session, node: &str) -> Result<Chosen, Vec<Failure>> {
    let one = |failure: Failure| vec![failure];
    let resource = session.resource("pods").map_err(one)?;
    let (mut pods, mut warned, mut forbidden) = (Vec::new(), Groups::default(), Groups::default());
    for pod in listed(session, node).map_err(one)? {
        let info = Info::of(&resource, pod);
        let daemon_set = daemon_set(session, &info).map_err(one)?;
        let shown = format!("{}/{}", info.namespace, info.name);
        match fate(&info.object, &Rules::of(session), daemon_set) {
            Fate::Leaves => pods.push(info),
            Fate::LeavesWith(warning) => {
                warned.add(warning, shown);
                pods.push(info);
            }
            Fate::Stays => {}
            Fate::StaysWith(warning) => warned.add(warning, shown),
            Fate::Forbids(why) => forbidden.add(why, shown),
        }
    }
    if !forbidden.0.is_empty() {
        return Err(forbidden
            .lines()
            .into_iter()
            .map(|line| Failure::message(format!("cannot delete {line}")))
            .collect());
    }
    Ok(Chosen { pods, warnings: warned.lines().join("; ") })
}

/// Pods by what is said of them.
#[derive(Default)]
struct Groups(Vec<(String, Vec<String>)>);

impl Groups {
    fn add(&mut self, what: String, pod: String) {
        match self.0.iter_mut().find(|(known, _)| *known == what) {
            Some((_, pods)) => pods.push(pod),
            None => self.0.push((what, vec![pod])),
        }
    }

    fn lines(&self) -> Vec<String> {
        self.0.iter().map(|(what, pods)| format!("{what}: {}", pods.join(", "))).collect()
    }
}

fn listed(session: &Session, node: &str) -> Result<Vec<Value>, Failure> {
    let mut pods = Vec::new();
    let mut token = String::new();
    loop {
        let request = Request::get("/api/v1/pods")
            .with("labelSelector", session.flags.text("pod-selector"))
            .with("fieldSelector", &format!("spec.nodeName={node}"))
            .with("limit", session.flags.text("chunk-size"))
            .with("continue", &token);
        let mut page = session.client()?.json(&request)?;
        pods.extend(page["items"].take().as_array().cloned().unwrap_or_default());
        page["metadata"]["continue"].as_str().unwrap_or_default().clone_into(&mut token);
        if token.is_empty() {
            return Ok(pods);
        }
    }
}

fn controller(pod: &Value) -> Option<&Value> {
    let owners = pod["metadata"]["ownerReferences"].as_array()?;
    owners.iter().find(|owner| owner["controller"] == true)
}

/// Whether the pod's DaemonSet is there; `None` where it has none, the server's words where there is no such set.
fn daemon_set(session: &Session, pod: &Info) -> Result<Option<Result<(), String>>, Failure> {
    let Some(owner) = controller(&pod.object).filter(|owner| owner["kind"] == "DaemonSet") else {
        return Ok(None);
    };
    let name = name_part(owner["name"].as_str().unwrap_or_default())?;
    let path = format!("/apis/apps/v1/namespaces/{}/daemonsets/{name}", escaped(&pod.namespace));
    match session.client()?.json(&Request::get(path)) {
        Ok(_) => Ok(Some(Ok(()))),
        Err(failure) if failure.is_not_found() => Ok(Some(Err(failure.plain()))),
        Err(failure) => Err(failure),
    }
}

/// What the flags allow.
struct Rules {
    force: bool,
    ignore_daemon_sets: bool,
    delete_local_data: bool,
}

impl Rules {
    fn of(session: &Session) -> Self {
        let flag = |name| session.flags.bool(name);
        Self {
            force: flag("force"),
            ignore_daemon_sets: flag("ignore-daemonsets"),
            delete_local_data: flag("delete-emptydir-data"),
        }
    }
}

fn fate(pod: &Value, rules: &Rules, daemon_set: Option<Result<(), String>>) -> Fate {
    let finished = ["Succeeded", "Failed"].contains(&pod["status"]["phase"].as_str().unwrap_or_default());
    match daemon_set {
        // As upstream, only what is said last is told: nothing of an orphan that is forced to leave.
        Some(Err(_)) if rules.force => {}
        Some(Err(missing)) if !finished => return Fate::Forbids(missing),
        _ if finished => {}
        None | Some(Err(_)) => {}
        Some(Ok(())) if rules.ignore_daemon_sets => {
            return Fate::StaysWith("ignoring DaemonSet-managed Pods".to_owned());
        }
        Some(Ok(())) => {
            return Fate::Forbids("DaemonSet-managed Pods (use --ignore-daemonsets to ignore)".to_owned());
        }
    }
    if pod["metadata"]["annotations"].get("kubernetes.io/config.mirror").is_some() {
        return Fate::Stays;
    }
    let mut volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    if !finished && volumes.any(|volume| volume["emptyDir"].is_object()) && !rules.delete_local_data {
        let why = "Pods with local storage (use --delete-emptydir-data to override)";
        return Fate::Forbids(why.to_owned());
    }
    match controller(pod) {
        _ if finished => Fate::Leaves,
        None if rules.force => Fate::LeavesWith("deleting Pods that declare no controller".to_owned()),
        None => Fate::Forbids(
            "cannot delete Pods that declare no controller (use --force to override)".to_owned(),
        ),
        Some(_) => Fate::Leaves,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(force: bool, daemons: bool, data: bool) -> Rules {
        Rules { force, ignore_daemon_sets: daemons, delete_local_data: data }
    }

    #[test]
    fn a_pod_leaves_as_the_flags_allow() {
        let bare = json!({"metadata": {}, "spec": {"volumes": [{"emptyDir": {}}]}});
        assert!(matches!(fate(&bare, &rules(true, false, false), None), Fate::Forbids(_)));
        assert!(matches!(fate(&bare, &rules(false, false, true), None), Fate::Forbids(_)));
        assert!(matches!(fate(&bare, &rules(true, false, true), None), Fate::LeavesWith(_)));
        let owned = json!({"metadata": {"ownerReferences": [{"controller": true, "kind": "DaemonSet"}]}});
        assert!(matches!(fate(&owned, &rules(true, false, true), Some(Ok(()))), Fate::Forbids(_)));
        assert!(matches!(fate(&owned, &rules(false, true, false), Some(Ok(()))), Fate::StaysWith(_)));
        assert_eq!(fate(&owned, &rules(true, true, false), Some(Err("gone".into()))), Fate::Leaves);
        let mirror = json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}});
        assert_eq!(fate(&mirror, &rules(false, false, false), None), Fate::Stays);
        let done = json!({"metadata": {}, "status": {"phase": "Succeeded"}});
        assert_eq!(fate(&done, &rules(false, false, false), None), Fate::Leaves);
    }
}
