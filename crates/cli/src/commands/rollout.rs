//! `rollout`.

mod history;
mod revisions;
mod status;

use serde_json::{Value, json};

use super::Command;
use crate::builder::{self, FILES, Info, Wanted};
use crate::failure::{Failure, quoted};
use crate::format;
use crate::session::Session;
use crate::write::{MERGE, Telling, patch};

const SELECTING: &str = "l selector text, field-manager text=kubectl-rollout";
const TARGET: &str = "(TYPE NAME | TYPE/NAME) [flags]";

pub const COMMANDS: [Command; 6] = [
    Command {
        words: "rollout status",
        flags: &[FILES, "revision int=0, l selector text, timeout duration=0s, w watch bool=true"],
        usage: TARGET,
        about: "Show the status of the rollout",
        run: status::run,
    },
    Command {
        words: "rollout history",
        flags: &[FILES, format::FLAGS, "revision int=0, l selector text"],
        usage: TARGET,
        about: "View rollout history",
        run: history::run,
    },
    Command {
        words: "rollout undo",
        flags: &[FILES, format::FLAGS, crate::write::DRY_RUN, "to-revision int=0, l selector text"],
        usage: TARGET,
        about: "Undo a previous rollout",
        run: history::undo,
    },
    Command {
        words: "rollout restart",
        flags: &[FILES, format::FLAGS, SELECTING],
        usage: "RESOURCE",
        about: "Restart a resource",
        run: restart,
    },
    Command {
        words: "rollout pause",
        flags: &[FILES, format::FLAGS, SELECTING],
        usage: "RESOURCE",
        about: "Mark the provided resource as paused",
        run: |session| pause(session, true),
    },
    Command {
        words: "rollout resume",
        flags: &[FILES, format::FLAGS, SELECTING],
        usage: "RESOURCE",
        about: "Resume a paused resource",
        run: |session| pause(session, false),
    },
];

/// The objects that a command is about.
fn chosen(session: &Session) -> Result<(Vec<Info>, Vec<Failure>), Failure> {
    if session.arguments().is_empty()
        && session.flags.list("filename").is_empty()
        && session.flags.text("kustomize").is_empty()
    {
        return Err(Failure::message("required resource not specified"));
    }
    let wanted = Wanted {
        words: session.arguments(),
        selector: session.flags.text("selector").to_owned(),
        field_selector: String::new(),
        all_namespaces: false,
    };
    // A kind alone means all its objects.
    builder::chosen(session, &wanted, true)
}

fn supported(info: &Info, kinds: &[&str], what: &str) -> Result<(), Failure> {
    if kinds.contains(&info.resource.kind.as_str()) && info.resource.group == "apps" {
        return Ok(());
    }
    Err(Failure::message(format!(
        "{} {} {what} is not supported",
        info.resource.group_resource(),
        quoted(&info.name)
    )))
}

fn restart(session: &Session) -> Result<(), Failure> {
    let now = session.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    each(session, "restarted", |info| {
        supported(info, &["Deployment", "DaemonSet", "StatefulSet"], "restarting")?;
        if info.object["spec"]["paused"] == true {
            let shown = format!("{} {}", info.resource.group_resource(), quoted(&info.name));
            return Err(Failure::message(format!(
                "{shown} can't restart paused deployment (run rollout resume first)"
            )));
        }
        Ok(
            json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": now}}}}}),
        )
    })
}

fn pause(session: &Session, paused: bool) -> Result<(), Failure> {
    each(session, if paused { "paused" } else { "resumed" }, |info| {
        supported(info, &["Deployment"], if paused { "pausing" } else { "resuming" })?;
        let shown = format!("{} {}", info.resource.group_resource(), quoted(&info.name));
        match (paused, info.object["spec"]["paused"] == true) {
            (true, true) => Err(Failure::message(format!("{shown} is already paused"))),
            (false, false) => Err(Failure::message(format!("{shown} is not paused"))),
            (true, false) => Ok(json!({"spec": {"paused": true}})),
            (false, true) => Ok(json!({"spec": {"paused": null}})),
        }
    })
}

/// Changes each object by a patch.
fn each(
    session: &Session,
    done: &str,
    change: impl Fn(&Info) -> Result<Value, Failure>,
) -> Result<(), Failure> {
    let telling = Telling::of(session)?;
    let (infos, mut failures) = chosen(session)?;
    for mut info in infos {
        let sent = change(&info).and_then(|body| {
            let body = body.to_string().into_bytes();
            let request = patch(&info, MERGE, body, session.flags.text("field-manager"), telling.dry())?;
            session.client()?.json(&request)
        });
        match sent {
            Err(failure) => failures.push(failure),
            Ok(object) => {
                info.object = object;
                telling.tell(session, &info, done)?;
            }
        }
    }
    Failure::all(failures)
}
