//! What commands that change objects have in common: dry runs, field managers, what is said afterwards.

use std::cell::Cell;

use http::Method;
use serde_json::{Value, json};

use crate::builder::Info;
use crate::client::Request;
use crate::failure::{Failure, quoted};
use crate::flags::Parsed;
use crate::format;
use crate::output::{err, out};
use crate::printing::OutputFormat;
use crate::session::Session;

/// `--dry-run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DryRun {
    None,
    Client,
    Server,
}

pub const DRY_RUN: &str = "dry-run text=none?unchanged";

impl DryRun {
    /// What the flag says.
    ///
    /// # Errors
    /// When it says none of the known words.
    pub fn of(flags: &Parsed) -> Result<Self, Failure> {
        match flags.text("dry-run") {
            "none" | "" => Ok(Self::None),
            "client" => Ok(Self::Client),
            "server" => Ok(Self::Server),
            "unchanged" => {
                err("W --dry-run is deprecated and can be replaced with --dry-run=client.\n");
                Ok(Self::Client)
            }
            other => Err(Failure::message(format!(
                "Invalid dry-run value ({other}). Must be \"none\", \"server\", or \"client\"."
            ))),
        }
    }

    /// Behind what was done.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Client => " (dry run)",
            Self::Server => " (server dry run)",
        }
    }

    /// The parameter of a request.
    pub fn parameter(self) -> &'static str {
        if self == Self::Server { "All" } else { "" }
    }
}

pub const MERGE: &str = "application/merge-patch+json";
pub const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub const JSON_PATCH: &str = "application/json-patch+json";
pub const APPLY: &str = "application/apply-patch+yaml";

/// A patch of an object.
///
/// # Errors
/// When its name leads elsewhere.
pub fn patch(
    info: &Info,
    content_type: &'static str,
    body: Vec<u8>,
    manager: &str,
    dry: DryRun,
) -> Result<Request, Failure> {
    let mut request = Request::new(Method::PATCH, info.path()?)
        .with("dryRun", dry.parameter())
        .with("fieldManager", manager);
    request.content_type = content_type;
    request.body = body;
    Ok(request)
}

/// How a result is told: in words, or printed.
pub struct Telling {
    format: Option<OutputFormat>,
    dry: DryRun,
    /// Whether an object was printed before: documents of YAML are divided.
    began: Cell<bool>,
}

impl Telling {
    /// As the flags say.
    ///
    /// # Errors
    /// When there is no such format.
    pub fn of(session: &Session) -> Result<Self, Failure> {
        let (format, dry) = (format::asked(&session.flags, &[])?, DryRun::of(&session.flags)?);
        Ok(Self { format, dry, began: Cell::new(false) })
    }

    pub fn dry(&self) -> DryRun {
        self.dry
    }

    pub fn is_in_words(&self) -> bool {
        self.format.is_none()
    }

    /// Whether objects are printed rather than told of in words or by name.
    pub fn is_printed(&self) -> bool {
        !matches!(self.format, None | Some(OutputFormat::Name))
    }

    /// Prints objects: one as it is, several as a list.
    ///
    /// # Errors
    /// When they cannot be printed.
    pub fn print(&self, session: &Session, mut objects: Vec<Value>) -> Result<(), Failure> {
        let Some(format) = &self.format else { return Ok(()) };
        match objects.len() {
            0 => Ok(()),
            1 => format::print(format, objects.remove(0), &session.flags),
            _ => {
                let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": objects});
                format::print(format, list, &session.flags)
            }
        }
    }

    /// Tells what was done to one object.
    ///
    /// # Errors
    /// When it cannot be printed.
    pub fn tell(&self, session: &Session, info: &Info, done: &str) -> Result<(), Failure> {
        self.tell_as(session, info, done, self.dry)
    }

    /// As [`Telling::tell`], as if the dry run were `dry`.
    ///
    /// # Errors
    /// As [`Telling::tell`].
    pub fn tell_as(&self, session: &Session, info: &Info, done: &str, dry: DryRun) -> Result<(), Failure> {
        match &self.format {
            None => out(&format!("{} {done}{}\n", info.shown(), dry.suffix())),
            Some(OutputFormat::Name) => out(&format!("{}\n", info.shown())),
            Some(format) => {
                if self.began.replace(true) && *format == OutputFormat::Yaml {
                    out("---\n")?;
                }
                format::print(format, info.object.clone(), &session.flags)
            }
        }
    }
}

/// A failure with what was being done: `error when creating "f.yaml": …`.
pub fn during(failure: Failure, doing: &str, source: &str) -> Failure {
    if source.is_empty() {
        return failure;
    }
    let prefix = format!("error when {doing} {}: ", quoted(source));
    match failure {
        Failure::Status(mut status)
            if status["reason"] != "Invalid" || status["details"]["causes"].is_null() =>
        {
            let message = status["message"].as_str().unwrap_or_default();
            status["message"] = format!("{prefix}{message}").into();
            Failure::Status(status)
        }
        Failure::Message(message) => Failure::Message(format!("{prefix}{message}")),
        other => other,
    }
}

/// `true`, `false`, `strict`, `warn`, `ignore` as the server's parameter.
///
/// # Errors
/// When it is none of these.
pub fn validation(flags: &Parsed) -> Result<&'static str, Failure> {
    match flags.text("validate") {
        "strict" | "true" => Ok("Strict"),
        "warn" => Ok("Warn"),
        "ignore" | "false" => Ok("Ignore"),
        // Commands without the flag leave it to the server.
        "" if !flags.changed("validate") => Ok(""),
        other => Err(Failure::message(format!(
            "invalid - validate option {}; must be one of: strict (or true), warn, ignore (or false)",
            quoted(other)
        ))),
    }
}

pub const VALIDATE: &str = "validate text=strict?strict";

/// A number of an object; 0 where there is none.
pub fn number(object: &Value, path: &str) -> i64 {
    object.pointer(path).and_then(Value::as_i64).unwrap_or(0)
}

/// Nanoseconds as Go prints a duration: `1m30s`, `1.5s`, `20ms`.
pub fn go_duration(ns: i128) -> String {
    let fraction = |value: i128, unit: i128| {
        let text = format!("{}.{:0width$}", value / unit, value % unit, width = unit.ilog10() as usize);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match ns {
        0 => "0s".to_owned(),
        ns if ns < 0 => format!("-{}", go_duration(-ns)),
        ns if ns < 1_000 => format!("{ns}ns"),
        ns if ns < 1_000_000 => format!("{}µs", fraction(ns, 1_000)),
        ns if ns < 1_000_000_000 => format!("{}ms", fraction(ns, 1_000_000)),
        ns => {
            let minutes = ns / 60_000_000_000;
            let seconds = fraction(ns % 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_printed_as_gos() {
        let shown = |ns| go_duration(ns);
        assert_eq!(shown(0), "0s");
        assert_eq!(shown(3_000_000_000), "3s");
        assert_eq!(shown(90_500_000_000), "1m30.5s");
        assert_eq!(shown(3_600_000_000_000), "1h0m0s");
        assert_eq!(shown(1_500_000), "1.5ms");
    }
}
