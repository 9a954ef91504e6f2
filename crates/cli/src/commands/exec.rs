//! `exec` and `attach`: the standard streams of a command in a container.

use serde_json::Value;

use super::Command;
use crate::failure::Failure;
use crate::output::{bytes, err, out};
use crate::remote::terminal::{self, Raw, Sizes};
use crate::remote::{self, STDERR, Target, pods};
use crate::session::Session;

const STREAMS: &str = "c container text, pod-running-timeout duration=1m0s, q quiet bool=false, \
     i stdin bool=false, t tty bool=false";

pub const COMMANDS: [Command; 2] = [
    Command {
        words: "exec",
        flags: &[STREAMS, "f filename list"],
        usage: "(POD | TYPE/NAME) [-c CONTAINER] [flags] -- COMMAND [args...]",
        about: "Execute a command in a container",
        run: exec,
    },
    Command {
        words: "attach",
        flags: &[STREAMS],
        usage: "(POD | TYPE/NAME) -c CONTAINER",
        about: "Attach to a running container",
        run: attach,
    },
];

/// The pod's words and those of the command.
fn split(session: &Session) -> Result<(&[String], &[String]), Failure> {
    let words = session.arguments();
    let (before, command) = match session.flags.dash {
        Some(dash) => words.split_at(dash),
        None if words.len() > 1 || (!words.is_empty() && !session.flags.list("filename").is_empty()) => {
            let why = "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead";
            return Err(session.usage(why));
        }
        None => words.split_at(words.len()),
    };
    if before.is_empty() && session.flags.list("filename").is_empty() {
        return Err(Failure::message("pod, type/name or --filename must be specified"));
    }
    if command.is_empty() {
        return Err(Failure::message("you must specify at least one command for the container"));
    }
    Ok((&before[..before.len().min(1)], command))
}

fn exec(session: &Session) -> Result<(), Failure> {
    let (words, command) = split(session)?;
    pods::patience(session)?;
    let flags = &session.flags;
    let pod = pods::of_object(session, &pods::object(session, words)?)?;
    if let Some(phase @ ("Succeeded" | "Failed")) = pod["status"]["phase"].as_str() {
        let why = format!("cannot exec into a container in a completed pod; current phase is {phase}");
        return Err(Failure::message(why));
    }
    // A name that is given is for the server to judge.
    let container = match flags.text("container") {
        "" => pods::container_or_default(&pod, "", flags.bool("quiet"))?["name"].as_str().unwrap_or_default(),
        named => named,
    };
    let tty = terminal_wanted(flags.bool("stdin"), flags.bool("tty"), flags.bool("quiet"));
    let streams = Streams { stdin: flags.bool("stdin"), tty, redraw: false };
    converse(session, &pod, (container, command), &streams)
}

fn attach(session: &Session) -> Result<(), Failure> {
    let (words, flags) = (session.arguments(), &session.flags);
    if words.is_empty() {
        return Err(Failure::message("at least 1 argument is required for attach"));
    }
    if words.len() > 2 {
        let why = format!(
            "expected POD, TYPE/NAME, or TYPE NAME, (at most 2 arguments) saw {}: [{}]",
            words.len(),
            words.join(" ")
        );
        return Err(Failure::message(why));
    }
    pods::patience(session)?;
    let pod = pods::of_object(session, &pods::object(session, words)?)?;
    if let Some(phase @ ("Succeeded" | "Failed")) = pod["status"]["phase"].as_str() {
        let why = format!("cannot attach a container in a completed pod; current phase is {phase}");
        return Err(Failure::message(why));
    }
    let asked = Attaching {
        container: flags.text("container"),
        stdin: flags.bool("stdin"),
        tty: flags.bool("tty"),
        quiet: flags.bool("quiet"),
    };
    attach_to(session, &pod, &asked)
}

/// How a container is attached to.
pub struct Attaching<'a> {
    pub container: &'a str,
    pub stdin: bool,
    pub tty: bool,
    pub quiet: bool,
}

/// Attaches to a container of the pod until it ends.
///
/// # Errors
/// When it cannot be attached to.
pub fn attach_to(session: &Session, pod: &Value, asked: &Attaching<'_>) -> Result<(), Failure> {
    let container = pods::container_or_default(pod, asked.container, asked.quiet)
        .map_err(|f| Failure::message(format!("cannot attach to the container: {}", f.plain())))?;
    let name = container["name"].as_str().unwrap_or_default();
    let has_one = container["tty"] == true;
    if asked.tty && !has_one && !asked.quiet {
        err(&format!("error: Unable to use a TTY - container {name} did not allocate one\n"));
    }
    let tty = terminal_wanted(asked.stdin, has_one, asked.quiet);
    if !asked.quiet {
        err(
            "All commands and output from this session will be recorded in container logs, including credentials and \
             sensitive information passed through the command prompt.\n",
        );
        err("If you don't see a command prompt, try pressing enter.\n");
    }
    converse(session, pod, (name, &[]), &Streams { stdin: asked.stdin, tty, redraw: true })?;
    if asked.quiet || !asked.stdin || !tty || pod["spec"]["restartPolicy"] != "Always" {
        return Ok(());
    }
    let pod_name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let again = format!("kubectl attach {pod_name} -c {name} -i -t");
    let mut ephemeral = pod["spec"]["ephemeralContainers"].as_array().into_iter().flatten();
    out(&if ephemeral.any(|container| container["name"] == name) {
        format!(
            "Session ended, the ephemeral container will not be restarted but may be reattached using '{again}' if it \
             is still running\n"
        )
    } else {
        format!("Session ended, resume using '{again}' command when the pod is running\n")
    })
}

/// Whether a terminal is to be used: only where standard input is passed on, and is one.
fn terminal_wanted(stdin: bool, tty: bool, quiet: bool) -> bool {
    if !stdin || !tty {
        return false;
    }
    if !terminal::is_input() {
        if !quiet {
            err("Unable to use a TTY - input is not a terminal or the right kind of file\n");
        }
        return false;
    }
    true
}

struct Streams {
    stdin: bool,
    tty: bool,
    redraw: bool,
}

fn converse(
    session: &Session,
    pod: &Value,
    (container, command): (&str, &[String]),
    streams: &Streams,
) -> Result<(), Failure> {
    let text = |key: &str| pod["metadata"][key].as_str().unwrap_or_default();
    let target = Target {
        namespace: text("namespace"),
        pod: text("name"),
        container,
        command,
        tty: streams.tty,
        stderr: !streams.tty,
    };
    let client = session.client()?;
    let input = streams.stdin.then(remote::standard_input);
    let mut output = |channel, chunk: &[u8]| {
        if channel == STDERR {
            // Not UTF-8 in general.
            let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), chunk);
            return Ok(());
        }
        bytes(chunk)
    };
    if !streams.tty {
        return remote::run(client, &target, input, None, &mut output);
    }
    let sizes = client.wait(async { Sizes::follow(streams.redraw) })?;
    let _raw = Raw::enter()?;
    remote::run(client, &target, input, Some(sizes), &mut output)
}
