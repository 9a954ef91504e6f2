//! `run`, which may attach to what it makes, and take it away again.

use serde_json::Value;

use super::{object_sent, workloads};
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
    if flags.bool("expose") && flags.text("port").is_empty() {
        return Err(session.usage("--port must be set when exposing a service"));
    }
    let telling = Telling::of(session)?;
    // What cannot be made is said before a Service is made for it.
    let pod = workloads::run(session)?;
    let service = match flags.bool("expose") {
        true if !is_attached => Some(exposed(session, &telling)?),
        _ => None,
    };
    if !is_attached {
        let pod = object_sent(session, pod, &telling)?;
        return told(session, &telling, service, &pod);
    }
    if telling.dry() != DryRun::None {
        let why = "--dry-run=[server|client] can't be used with attached containers options (--attach, --stdin, or --tty)";
        return Err(session.usage(why));
    }
    let service = if flags.bool("expose") { Some(exposed(session, &telling)?) } else { None };
    let info = object_sent(session, pod, &telling)?;
    let ended = until_its_end(session, &info);
    if flags.bool("rm") {
        // What went wrong with the pod is more than what goes wrong with its removal.
        let removed = remove(session, &info);
        let service = service.map_or(Ok(()), |service| remove(session, &service));
        return ended.and(removed).and(service);
    }
    ended
}

/// Makes the Service of `--expose`.
fn exposed(session: &Session, telling: &Telling) -> Result<Info, Failure> {
    object_sent(session, workloads::exposing(session)?, telling)
}

fn told(session: &Session, telling: &Telling, service: Option<Info>, pod: &Info) -> Result<(), Failure> {
    if let Some(service) = service {
        telling.tell(session, &service, "created")?;
        // As the stock one divides the two.
        if session.flags.text("output") == "yaml" {
            out("---\n")?;
        }
    }
    telling.tell(session, pod, "created")
}

fn remove(session: &Session, info: &Info) -> Result<(), Failure> {
    match session.client()?.send(&Request::new(http::Method::DELETE, info.path()?)) {
        Err(failure) if failure.is_not_found() => return Ok(()),
        other => drop(other?),
    }
    if session.flags.bool("quiet") {
        return Ok(());
    }
    let kind = info.resource.printed();
    out(&format!("{kind} {:?} deleted from {} namespace\n", info.name, info.namespace))
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
        log_of(session, info, &pod)?;
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
            log_of(session, info, &pod)?;
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

/// The log of a pod's only container, or of the default one.
fn log_of(session: &Session, info: &Info, pod: &Value) -> Result<(), Failure> {
    let container = pods::container_or_default(pod, "", session.flags.bool("quiet"))?;
    let name = container["name"].as_str().unwrap_or_default();
    logs(session, (&info.namespace, &info.name), name)
}

/// Prints the log of a container of the pod of this namespace and name.
///
/// # Errors
/// When the server has none.
pub fn logs(session: &Session, (namespace, pod): (&str, &str), container: &str) -> Result<(), Failure> {
    let path = format!("/api/v1/namespaces/{}/pods/{}/log", escaped(namespace), name_part(pod)?);
    let mut request = Request::get(path).with("container", container);
    request.accept = "*/*";
    let mut stream = session.client()?.stream(&request)?;
    while let Some(chunk) = stream.chunk()? {
        bytes(&chunk)?;
    }
    Ok(())
}
