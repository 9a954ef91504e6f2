//! `run`, which may attach to what it makes, and take it away again.

use serde_json::Value;

use super::{made, sent, workloads};
use crate::builder::Info;
use crate::client::{Request, escaped, name_part};
use crate::commands::exec::{Attaching, attach_to};
use crate::failure::Failure;
use crate::output::{bytes, err, out};
use crate::remote::pods;
use crate::session::Session;
use crate::write::{DryRun, Telling};

pub const FLAGS: &str = "attach bool=false, leave-stdin-open bool=false, pod-running-timeout duration=1m0s, \
     q quiet bool=false, rm bool=false, i stdin bool=false, t tty bool=false";

/// Whether what is made is attached to: asked for, or because of `--stdin`.
fn is_attached(session: &Session) -> bool {
    let flags = &session.flags;
    if flags.changed("attach") { flags.bool("attach") } else { flags.bool("stdin") }
}

pub fn run(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    let is_attached = is_attached(session);
    if flags.bool("tty") && !flags.bool("stdin") {
        return Err(session.usage("-i/--stdin is required for containers with -t/--tty=true"));
    }
    if flags.bool("rm") && !is_attached {
        return Err(session.usage("--rm should only be used for attached containers"));
    }
    if !is_attached {
        return made(session, workloads::run);
    }
    let telling = Telling::of(session)?;
    if telling.dry() != DryRun::None {
        let why = "--dry-run=[server|client] can't be used with attached containers options (--attach, --stdin, or --tty)";
        return Err(session.usage(why));
    }
    let info = sent(session, workloads::run, &telling)?;
    let ended = until_its_end(session, &info);
    if flags.bool("rm") {
        // What went wrong with the pod is more than what goes wrong with its removal.
        let removed = remove(session, &info);
        return ended.and(removed);
    }
    ended
}

fn remove(session: &Session, info: &Info) -> Result<(), Failure> {
    match session.client()?.send(&Request::new(http::Method::DELETE, info.path()?)) {
        Err(failure) if failure.is_not_found() => return Ok(()),
        other => drop(other?),
    }
    if session.flags.bool("quiet") {
        return Ok(());
    }
    out(&format!("pod {:?} deleted from {} namespace\n", info.name, info.namespace))
}

fn phase(pod: &Value) -> &str {
    pod["status"]["phase"].as_str().unwrap_or_default()
}

fn is_over(pod: &Value) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

fn is_ready(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    phase(pod) == "Running" && conditions.any(|c| c["type"] == "Ready" && c["status"] == "True")
}

fn until_its_end(session: &Session, info: &Info) -> Result<(), Failure> {
    let flags = &session.flags;
    let at = (info.namespace.as_str(), info.name.as_str());
    let limit = Some(pods::patience(session)?);
    let pod = pods::until(session, at, limit, |pod| (is_over(pod) || is_ready(pod)).then(|| pod.clone()))?;
    if is_over(&pod) {
        logs(session, info, &pod)?;
    } else {
        let asked = Attaching {
            container: "",
            stdin: flags.bool("stdin"),
            tty: flags.bool("tty"),
            quiet: flags.bool("quiet"),
        };
        if let Err(failure) = attach_to(session, &pod, &asked) {
            let (name, why) = (&info.name, failure.plain());
            err(&format!("warning: couldn't attach to pod/{name}, falling back to streaming logs: {why}\n"));
            logs(session, info, &pod)?;
        }
    }
    let policy = flags.text("restart");
    if flags.bool("leave-stdin-open") || policy == "Always" {
        return Ok(());
    }
    let wanted = |pod: &Value| if policy == "OnFailure" { phase(pod) == "Succeeded" } else { is_over(pod) };
    let pod = pods::until(session, at, limit, |pod| wanted(pod).then(|| pod.clone()))?;
    if phase(&pod) == "Succeeded" {
        return Ok(());
    }
    let shown = format!("{}/{}", info.namespace, info.name);
    let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    match ended["exitCode"].as_u64().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0) {
        None => Err(Failure::message(format!("pod {shown} failed with unknown exit code"))),
        Some(code) => {
            let text = |key: &str| ended[key].as_str().unwrap_or_default();
            let why = format!("pod {shown} terminated ({})\n{}", text("reason"), text("message"));
            Err(Failure::Code(code, why))
        }
    }
}

fn logs(session: &Session, info: &Info, pod: &Value) -> Result<(), Failure> {
    let container = pods::container_or_default(pod, "", session.flags.bool("quiet"))?;
    let path = format!("/api/v1/namespaces/{}/pods/{}/log", escaped(&info.namespace), name_part(&info.name)?);
    let mut request = Request::get(path).with("container", container["name"].as_str().unwrap_or_default());
    request.accept = "*/*";
    let mut stream = session.client()?.stream(&request)?;
    while let Some(chunk) = stream.chunk()? {
        bytes(&chunk)?;
    }
    Ok(())
}
