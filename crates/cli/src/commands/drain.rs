//! `drain`: takes the pods off a node, by evictions.

mod pods;

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::{Command, delete, nodes};
use crate::builder::Info;
use crate::client::{Request, escaped, name_part};
use crate::failure::{Failure, quoted};
use crate::output::{err, out};
use crate::session::Session;
use crate::write::{DRY_RUN, DryRun, Telling, go_duration};

pub const COMMANDS: [Command; 1] = [Command {
    words: "drain",
    flags: &[
        DRY_RUN,
        "chunk-size int=500, delete-emptydir-data bool=false, disable-eviction bool=false, force bool=false, \
         grace-period int=-1, ignore-daemonsets bool=false, pod-selector text, l selector text, \
         skip-wait-for-delete-timeout int=0, timeout duration=0s",
    ],
    usage: "NODE",
    about: "Drain node in preparation for maintenance",
    run,
}];

/// How long is waited before a pod that a budget holds is tried again.
const PAUSE: Duration = Duration::from_secs(5);

fn run(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    if session.arguments().is_empty() && !flags.changed("selector") {
        return Err(session.usage("USAGE: drain NODE [flags]"));
    }
    if !session.arguments().is_empty() && !flags.text("selector").is_empty() {
        return Err(session.usage("cannot specify both a node name and a --selector option"));
    }
    let telling = Telling::of(session)?;
    let selector = flags.text("pod-selector");
    if !selector.is_empty() && api::selector::LabelSelector::parse(selector).is_err() {
        return Err(Failure::message("--pod-selector=<pod_selector> must be a valid label selector"));
    }
    let (nodes, failures) = nodes::nodes(session, session.arguments())?;
    Failure::all(failures)?;
    for node in &nodes {
        if let Err(failure) = nodes::marked(session, &telling, node, true) {
            err(&format!("error: unable to cordon node {}: {}\n", quoted(&node.name), failure.plain()));
        }
    }
    let (mut failures, mut pending) = (Vec::new(), Vec::new());
    for node in &nodes {
        match emptied(session, &telling, node) {
            Ok(()) => telling.tell(session, node, "drained")?,
            Err(several) => {
                let shown: Vec<String> = several.iter().map(Failure::plain).collect();
                let shown = if shown.len() == 1 { shown.concat() } else { format!("[{}]", shown.join(", ")) };
                err(&format!(
                    "error: unable to drain node {} due to error: {shown}, continuing command...\n",
                    quoted(&node.name)
                ));
                pending.push(&node.name);
                failures.extend(several);
            }
        }
    }
    if !pending.is_empty() {
        err("There are pending nodes to be drained:\n");
        pending.iter().for_each(|name| err(&format!(" {name}\n")));
    }
    // Upstream prints what is left without a prefix, also if it is one thing.
    if failures.is_empty() { Ok(()) } else { Err(Failure::Many(failures)) }
}

/// Takes the pods off one node.
fn emptied(session: &Session, telling: &Telling, node: &Info) -> Result<(), Vec<Failure>> {
    let one = |failure: Failure| vec![failure];
    let chosen = pods::chosen(session, &node.name)?;
    if !chosen.warnings.is_empty() {
        err(&format!("Warning: {}\n", chosen.warnings));
    }
    if telling.dry() == DryRun::Client {
        for pod in &chosen.pods {
            let (namespace, name) = (&pod.namespace, &pod.name);
            out(&format!("evicting pod {namespace}/{name} (dry run)\n")).map_err(one)?;
        }
        return Ok(());
    }
    let work = Work::new(session, telling);
    let done = if session.flags.bool("disable-eviction") {
        work.delete(&chosen.pods).map_err(one)
    } else {
        work.evict(&chosen.pods)
    };
    if let Err(failures) = &done
        && let Ok(left) = pods::chosen(session, &node.name)
        && !left.pods.is_empty()
    {
        let shown: Vec<String> = failures.iter().map(Failure::plain).collect();
        let shown = if shown.len() == 1 { shown.concat() } else { format!("[{}]", shown.join(", ")) };
        err(&format!(
            "There are pending pods in node {} when an error occurred: {shown}\n",
            quoted(&node.name)
        ));
        left.pods.iter().for_each(|pod| err(&format!("pod/{}\n", pod.name)));
    }
    done
}

/// What takes pods away, and until when.
struct Work<'a> {
    session: &'a Session,
    telling: &'a Telling,
    started: jiff::Timestamp,
    limit: Option<Duration>,
}

impl<'a> Work<'a> {
    fn new(session: &'a Session, telling: &'a Telling) -> Self {
        let ns = u64::try_from(session.flags.duration_ns("timeout")).ok().filter(|ns| *ns > 0);
        Self { session, telling, started: session.now(), limit: ns.map(Duration::from_nanos) }
    }

    /// What is left of the time; all of a week where none is given.
    fn left(&self) -> Duration {
        let past = Duration::try_from(self.session.now().duration_since(self.started)).unwrap_or_default();
        self.limit.unwrap_or(delete::LONGEST).saturating_sub(past)
    }

    fn timed_out(&self) -> String {
        let limit = self.limit.unwrap_or(delete::LONGEST);
        format!("global timeout reached: {}", go_duration(limit.as_nanos() as i128))
    }

    fn options(&self) -> Value {
        let mut options = json!({});
        if self.session.flags.int("grace-period") >= 0 {
            options["gracePeriodSeconds"] = self.session.flags.int("grace-period").into();
        }
        if self.telling.dry() == DryRun::Server {
            options["dryRun"] = json!(["All"]);
        }
        options
    }

    /// Asks for each pod's eviction, again and again where a budget holds it, and waits until they are gone.
    fn evict(&self, pods: &[Info]) -> Result<(), Vec<Failure>> {
        let dry = self.telling.dry();
        let mut failures = Vec::new();
        let mut held: Vec<&Info> = pods.iter().collect();
        let mut leaving: Vec<&Info> = Vec::new();
        while !held.is_empty() || !leaving.is_empty() {
            let mut still = Vec::new();
            for pod in std::mem::take(&mut held) {
                let shown = format!("evicting pod {}/{}{}\n", pod.namespace, pod.name, dry.suffix());
                out(&shown).map_err(|failure| vec![failure])?;
                let named =
                    format!("error when evicting pods/{} -n {}", quoted(&pod.name), quoted(&pod.namespace));
                if self.left().is_zero() {
                    failures.push(Failure::message(format!("{named}: {}", self.timed_out())));
                    continue;
                }
                match self.eviction(pod) {
                    Ok(()) if dry == DryRun::Server => {}
                    Ok(()) => leaving.push(pod),
                    Err(failure) if failure.is_not_found() => {}
                    Err(Failure::Status(status)) if status["code"] == 429 => {
                        let message = status["message"].as_str().unwrap_or_default();
                        err(&format!("{named} (will retry after 5s): {message}\n"));
                        still.push(pod);
                    }
                    Err(failure) => failures.push(Failure::message(format!("{named}: {}", failure.plain()))),
                }
            }
            held = still;
            let until = if held.is_empty() { self.left() } else { self.left().min(PAUSE) };
            self.wait(&mut leaving, until, !held.is_empty(), &mut failures)
                .map_err(|failure| vec![failure])?;
        }
        if failures.is_empty() { Ok(()) } else { Err(failures) }
    }

    fn eviction(&self, pod: &Info) -> Result<(), Failure> {
        let path =
            format!("/api/v1/namespaces/{}/pods/{}/eviction", escaped(&pod.namespace), name_part(&pod.name)?);
        let body = json!({"apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": pod.namespace}, "deleteOptions": self.options()});
        self.session.client()?.send(&Request::new(Method::POST, path).json(&body)).map(drop)
    }

    /// Waits for pods that leave until they are gone or the time is over. With `others` to be tried again, the whole
    /// pause passes; without, pods that are still there then have failed.
    fn wait(
        &self,
        leaving: &mut Vec<&Info>,
        until: Duration,
        others: bool,
        failures: &mut Vec<Failure>,
    ) -> Result<(), Failure> {
        let started = self.session.now();
        let past = || Duration::try_from(self.session.now().duration_since(started)).unwrap_or_default();
        for pod in std::mem::take(leaving) {
            if self.is_skipped(pod)? {
                continue;
            }
            let uid = pod.object["metadata"]["uid"].as_str().unwrap_or_default();
            if delete::gone(self.session, pod, uid, until.saturating_sub(past()))? {
                self.telling.tell(self.session, pod, "evicted")?;
            } else if others {
                leaving.push(pod);
            } else {
                failures.push(Failure::message(format!(
                    "error when waiting for pod {} in namespace {} to terminate: {}",
                    quoted(&pod.name),
                    quoted(&pod.namespace),
                    self.timed_out()
                )));
            }
        }
        if others {
            let rest = until.saturating_sub(past());
            self.session.client()?.wait(async { tokio::time::sleep(rest).await });
        }
        Ok(())
    }

    /// Whether a pod has been leaving for so long that nobody is to wait for it.
    fn is_skipped(&self, pod: &Info) -> Result<bool, Failure> {
        let seconds = self.session.flags.int("skip-wait-for-delete-timeout");
        if seconds <= 0 {
            return Ok(false);
        }
        let present = match self.session.client()?.json(&Request::get(pod.path()?)) {
            Err(failure) if failure.is_not_found() => return Ok(false),
            other => other?,
        };
        let since: Option<jiff::Timestamp> =
            present["metadata"]["deletionTimestamp"].as_str().and_then(|text| text.parse().ok());
        let skipped = since.is_some_and(|since| self.session.now().duration_since(since).as_secs() > seconds);
        if skipped {
            let name = quoted(&pod.name);
            out(&format!("pod {name} has DeletionTimestamp older than {seconds} seconds, skipping\n"))?;
        }
        Ok(skipped)
    }

    /// Deletes the pods, whatever budgets say, and waits until they are gone.
    fn delete(&self, pods: &[Info]) -> Result<(), Failure> {
        let client = self.session.client()?;
        for pod in pods {
            let request = Request::new(Method::DELETE, pod.path()?).json(&self.options());
            match client.send(&request) {
                Err(failure) if !failure.is_not_found() => return Err(failure),
                _ => {}
            }
        }
        if self.telling.dry() == DryRun::Server {
            return Ok(());
        }
        for pod in pods {
            if self.is_skipped(pod)? {
                continue;
            }
            let uid = pod.object["metadata"]["uid"].as_str().unwrap_or_default();
            if !delete::gone(self.session, pod, uid, self.left())? {
                return Err(Failure::message(self.timed_out()));
            }
            self.telling.tell(self.session, pod, "deleted")?;
        }
        Ok(())
    }
}
