//! `set`: single fields of objects, by a patch of what is there or in a file's text.

mod containers;
mod env;
mod local;
mod selector;
mod subject;

use serde_json::Value;

use super::Command;
use crate::builder::{self, FILES, Info, Wanted};
use crate::failure::Failure;
use crate::format;
use crate::session::Session;
use crate::threeway;
use crate::write::{DRY_RUN, DryRun, STRATEGIC, Telling, patch};

const COMMON: &str = "all bool=false, field-manager text=kubectl-set, local bool=false, l selector text";

pub const COMMANDS: [Command; 6] = [
    Command {
        words: "set image",
        flags: &[FILES, format::FLAGS, DRY_RUN, COMMON],
        usage: "(-f FILENAME | TYPE NAME) CONTAINER_NAME_1=CONTAINER_IMAGE_1 ... CONTAINER_NAME_N=CONTAINER_IMAGE_N",
        about: "Update the image of a pod template",
        run: containers::image,
    },
    Command {
        words: "set env",
        flags: &[
            FILES,
            format::FLAGS,
            DRY_RUN,
            COMMON,
            "c containers text=*, e env array, from text, keys list, list bool=false, overwrite bool=true, prefix text, \
             resolve bool=false",
        ],
        usage: "RESOURCE/NAME KEY_1=VAL_1 ... KEY_N=VAL_N",
        about: "Update environment variables on a pod template",
        run: env::run,
    },
    Command {
        words: "set resources",
        flags: &[FILES, format::FLAGS, DRY_RUN, COMMON, "c containers text=*, limits text, requests text"],
        usage: "(-f FILENAME | TYPE NAME) ([--limits=LIMITS & --requests=REQUESTS]",
        about: "Update resource requests/limits on objects with pod templates",
        run: containers::resources,
    },
    Command {
        words: "set serviceaccount|set sa",
        flags: &[FILES, format::FLAGS, DRY_RUN, COMMON],
        usage: "(-f FILENAME | TYPE NAME) SERVICE_ACCOUNT",
        about: "Update the service account of a resource",
        run: containers::service_account,
    },
    Command {
        words: "set selector",
        flags: &[FILES, format::FLAGS, DRY_RUN, COMMON, "resource-version text"],
        usage: "(-f FILENAME | TYPE NAME) EXPRESSIONS [--resource-version=version]",
        about: "Set the selector on a resource",
        run: selector::run,
    },
    Command {
        words: "set subject",
        flags: &[FILES, format::FLAGS, DRY_RUN, COMMON, "group array, serviceaccount array, user array"],
        usage: "(-f FILENAME | TYPE NAME) [--user=username] [--group=groupname] [--serviceaccount=namespace:serviceaccountname]",
        about: "Update the user, group, or service account in a role binding or cluster role binding",
        run: subject::run,
    },
];

/// The objects that `words`, files and selectors mean: as the server has them, or with `--local` as files say.
fn chosen(session: &Session, words: &[String]) -> Result<Vec<Info>, Failure> {
    let flags = &session.flags;
    if flags.bool("local") {
        return local::chosen(session, words);
    }
    let wanted = Wanted {
        words,
        selector: flags.text("selector").to_owned(),
        field_selector: String::new(),
        all_namespaces: false,
    };
    if flags.bool("all") && !wanted.selector.is_empty() {
        return Err(Failure::message("cannot set --all and --selector at the same time"));
    }
    let (infos, failures) = builder::chosen(session, &wanted, flags.bool("all"))?;
    Failure::all(failures)?;
    Ok(infos)
}

/// Local work is not sent anywhere, to be tried out there either.
fn checked(session: &Session, telling: &Telling) -> Result<(), Failure> {
    if session.flags.bool("local") && telling.dry() == DryRun::Server {
        return Err(Failure::message(
            "cannot specify --local and --dry-run=server - did you mean --dry-run=client?",
        ));
    }
    Ok(())
}

/// What a command does with its objects.
struct Work<'a> {
    telling: &'a Telling,
    /// `image updated`.
    done: &'static str,
    /// What stands before a refusal, if anything.
    failed: &'static str,
    /// Whether objects that stay as they are, are sent and told of too.
    always: bool,
}

/// A change of an object, or why there is none.
type Change<'a> = dyn FnMut(&mut Value) -> Result<(), String> + 'a;

/// Changes each object and sends the differences. All failures are returned, each to be said on a line.
fn each(
    session: &Session,
    work: &Work<'_>,
    infos: Vec<Info>,
    change: &mut Change<'_>,
) -> Result<Vec<Failure>, Failure> {
    let mut failures = Vec::new();
    for mut info in infos {
        let before = info.object.clone();
        if let Err(why) = change(&mut info.object) {
            let name = format!("{}/{}", info.resource.plural, info.name);
            failures.push(Failure::message(format!("error: {name} {why}\n")));
            continue;
        }
        let difference = difference(&info, &before);
        if difference.as_object().is_some_and(serde_json::Map::is_empty) && !work.always {
            continue;
        }
        if session.flags.bool("local") || work.telling.dry() == DryRun::Client {
            work.telling.tell(session, &info, work.done)?;
            continue;
        }
        match sent(session, work, &info, &difference) {
            Err(Failure::Status(status)) if !work.failed.is_empty() => {
                let message = status["message"].as_str().unwrap_or_default();
                failures.push(Failure::message(format!("{} {message}", work.failed)));
            }
            Err(failure) => failures.push(failure),
            Ok(object) => {
                info.object = object;
                work.telling.tell(session, &info, work.done)?;
            }
        }
    }
    Ok(failures)
}

fn sent(session: &Session, work: &Work<'_>, info: &Info, difference: &Value) -> Result<Value, Failure> {
    let body = difference.to_string().into_bytes();
    let manager = session.flags.text("field-manager");
    session.client()?.json(&patch(info, STRATEGIC, body, manager, work.telling.dry())?)
}

/// What changed, as a strategic merge patch.
fn difference(info: &Info, before: &Value) -> Value {
    match resources::schema_of_kind(&info.resource.gvk()) {
        Some(schema) => threeway::strategic(schema.types(), schema.structure(), before, &info.object, before),
        None => threeway::merge(before, &info.object, before),
    }
}
