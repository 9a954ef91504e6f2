//! `certificate`: approves and denies requests for certificates.

use http::Method;
use serde_json::{Value, json};

use super::Command;
use crate::builder::{self, FILES, Info, Wanted};
use crate::client::Request;
use crate::failure::{Failure, quoted};
use crate::format;
use crate::output::out;
use crate::session::Session;
use crate::write::Telling;

pub const COMMANDS: [Command; 2] = [
    Command {
        words: "certificate approve",
        flags: &[FILES, format::FLAGS, "force bool=false"],
        usage: "(-f FILENAME | NAME)",
        about: "Approve a certificate signing request",
        run: |session| run(session, &APPROVED),
    },
    Command {
        words: "certificate deny",
        flags: &[FILES, format::FLAGS, "force bool=false"],
        usage: "(-f FILENAME | NAME)",
        about: "Deny a certificate signing request",
        run: |session| run(session, &DENIED),
    },
];

/// A decision, and what excludes it.
struct Decision {
    kind: &'static str,
    other: &'static str,
    reason: &'static str,
    message: &'static str,
    done: &'static str,
}

const APPROVED: Decision = Decision {
    kind: "Approved",
    other: "Denied",
    reason: "KubectlApprove",
    message: "This CSR was approved by kubectl certificate approve.",
    done: "approved",
};

const DENIED: Decision = Decision {
    kind: "Denied",
    other: "Approved",
    reason: "KubectlDeny",
    message: "This CSR was denied by kubectl certificate deny.",
    done: "denied",
};

/// How often a decision is written where others write too.
const TRIES: usize = 10;

fn run(session: &Session, decision: &Decision) -> Result<(), Failure> {
    let flags = &session.flags;
    if session.arguments().is_empty() && flags.list("filename").is_empty() {
        return Err(Failure::message("one or more CSRs must be specified as <name> or -f <filename>"));
    }
    let telling = Telling::of(session)?;
    let (infos, mut failures) = if session.arguments().is_empty() {
        (builder::present(session)?, Vec::new())
    } else {
        let mut words = vec!["certificatesigningrequests.certificates.k8s.io".to_owned()];
        words.extend(session.arguments().iter().cloned());
        let wanted = Wanted {
            words: &words,
            selector: String::new(),
            field_selector: String::new(),
            all_namespaces: false,
        };
        builder::fetch(session, &wanted)?
    };
    if infos.is_empty() && failures.is_empty() {
        out("No resources found\n")?;
    }
    for mut info in infos {
        match decided(session, decision, &mut info) {
            Err(failure) => failures.push(failure),
            Ok(()) => telling.tell(session, &info, decision.done)?,
        }
    }
    Failure::all(failures)
}

fn decided(session: &Session, decision: &Decision, info: &mut Info) -> Result<(), Failure> {
    let client = session.client()?;
    for attempt in 1.. {
        let has = |kind: &str| {
            let conditions = info.object["status"]["conditions"].as_array().into_iter().flatten();
            conditions.into_iter().any(|condition| condition["type"] == kind)
        };
        if has(decision.other) {
            return Err(Failure::message(format!(
                "certificate signing request {} is already {}",
                quoted(&info.name),
                decision.other
            )));
        }
        let already = has(decision.kind);
        if already && !session.flags.bool("force") {
            return Ok(());
        }
        if !already {
            add(session, decision, &mut info.object);
        }
        let request = Request::new(Method::PUT, format!("{}/approval", info.path()?)).json(&info.object);
        match client.json(&request) {
            Err(failure) if failure.is_conflict() && attempt < TRIES => {
                info.object = client.json(&Request::get(info.path()?))?;
            }
            other => {
                info.object = other?;
                return Ok(());
            }
        }
    }
    unreachable!("the last attempt returns")
}

fn add(session: &Session, decision: &Decision, object: &mut Value) {
    let now = session.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.push(json!({"type": decision.kind, "status": "True", "reason": decision.reason,
        "message": decision.message, "lastUpdateTime": now}));
    object["status"]["conditions"] = conditions.into();
}
