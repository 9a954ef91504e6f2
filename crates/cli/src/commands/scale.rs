//! `scale`.

use std::time::Duration;

use http::Method;
use serde_json::Value;

use super::Command;
use crate::builder::{self, FILES, Info, Wanted};
use crate::client::Request;
use crate::failure::Failure;
use crate::format;
use crate::session::Session;
use crate::write::{DRY_RUN, DryRun, Telling, number};

pub const COMMANDS: [Command; 1] = [Command {
    words: "scale",
    flags: &[
        FILES,
        format::FLAGS,
        DRY_RUN,
        "all bool=false, current-replicas int=-1, replicas int=0, resource-version text, l selector text, \
         timeout duration=0s",
    ],
    usage: "[--resource-version=version] [--current-replicas=count] --replicas=COUNT (-f FILENAME | TYPE NAME)",
    about: "Set a new size for a deployment, replica set, or replication controller",
    run,
}];

/// How often a scale is written where others write too.
const TRIES: u32 = 20;

fn run(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    if !flags.changed("replicas") {
        return Err(Failure::message("required flag(s) \"replicas\" not set"));
    }
    if flags.int("replicas") < 0 {
        return Err(Failure::message(
            "The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0",
        ));
    }
    if flags.int("current-replicas") < -1 {
        return Err(Failure::message("The --current-replicas must specify an integer of -1 or greater"));
    }
    let telling = Telling::of(session)?;
    let wanted = Wanted {
        words: session.arguments(),
        selector: flags.text("selector").to_owned(),
        field_selector: String::new(),
        all_namespaces: false,
    };
    let (infos, mut failures) = builder::chosen(session, &wanted, flags.bool("all"))?;
    if infos.is_empty() && failures.is_empty() {
        return Err(Failure::message("no objects passed to scale"));
    }
    for info in infos {
        failures.extend(one(session, &telling, &info).err());
    }
    Failure::all(failures)
}

fn one(session: &Session, telling: &Telling, info: &Info) -> Result<(), Failure> {
    let flags = &session.flags;
    let path = format!("{}/scale", info.path()?);
    if telling.dry() == DryRun::Client {
        return telling.tell(session, info, "scaled");
    }
    let mut tries = 1;
    while let Err(failure) = scaled(session, telling, &path) {
        // Where somebody wrote in between, it is looked at anew whether the scale is as expected.
        if !failure.is_conflict() || tries == TRIES {
            return Err(failure);
        }
        tries += 1;
    }
    telling.tell(session, info, "scaled")?;
    let limit =
        u64::try_from(flags.duration_ns("timeout")).ok().filter(|ns| *ns > 0).map(Duration::from_nanos);
    match limit {
        Some(limit) if telling.dry() == DryRun::None => reached(session, info, limit),
        _ => Ok(()),
    }
}

/// Writes the scale as it was read, with the replicas wanted.
fn scaled(session: &Session, telling: &Telling, path: &str) -> Result<(), Failure> {
    let flags = &session.flags;
    let client = session.client()?;
    let mut scale: Value = client.json(&Request::get(path))?;
    let present = number(&scale, "/spec/replicas");
    let expected = flags.int("current-replicas");
    if expected >= 0 && expected != present {
        return Err(Failure::message(format!("Expected replicas to be {expected}, was {present}")));
    }
    let version = flags.text("resource-version");
    let at = scale["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    if !version.is_empty() && version != at {
        return Err(Failure::message(format!("Expected resource version to be {version}, was {at}")));
    }
    scale["spec"]["replicas"] = flags.int("replicas").into();
    client.json(&Request::new(Method::PUT, path).with("dryRun", telling.dry().parameter()).json(&scale))?;
    Ok(())
}

/// Waits until the object says that it has the replicas wanted.
fn reached(session: &Session, info: &Info, limit: Duration) -> Result<(), Failure> {
    let client = session.client()?;
    let started = session.now();
    loop {
        let object = client.json(&Request::get(info.path()?))?;
        let seen = number(&object, "/status/observedGeneration") >= number(&object, "/metadata/generation");
        if seen && number(&object, "/status/replicas") == number(&object, "/spec/replicas") {
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
