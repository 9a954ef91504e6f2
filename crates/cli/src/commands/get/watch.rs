//! `get --watch`.

use std::time::Duration;

use serde_json::Value;

use super::{Asked, TABLE, items, options, several_kinds};
use crate::client::{JSON, Line, Request};
use crate::failure::Failure;
use crate::format;
use crate::output::out;
use crate::printing::OutputFormat;
use crate::session::Session;
use crate::table::Printer;

/// Lists and then follows what is asked for, until the server ends the watch.
pub fn run(session: &Session, asked: &[Asked], format: Option<&OutputFormat>) -> Result<(), Failure> {
    let [one] = asked else {
        let why = if several_kinds(session, asked) {
            "you may only specify a single resource type"
        } else {
            "you may only specify a single resource"
        };
        return Err(Failure::message(format!(
            "watch is only supported on individual resources and resource collections - {why}"
        )));
    };
    let mut shown = Shown { session, one, format: format.cloned(), printer: Printer::default() };
    let accept = if format.is_some() { JSON } else { TABLE };
    let mut version = String::new();
    let mut pages = Vec::new();
    one.pages(session, accept, "", |page| pages.push(page))?;
    for page in pages {
        let at = if one.name.is_some() && page["kind"] == "Table" {
            page["rows"][0]["object"]["metadata"]["resourceVersion"]
                .as_str()
                .or(page["metadata"]["resourceVersion"].as_str())
        } else {
            page["metadata"]["resourceVersion"].as_str()
        };
        at.unwrap_or_default().clone_into(&mut version);
        if !session.flags.bool("watch-only") {
            shown.page(page)?;
        }
    }
    follow(session, one, accept, &version, &mut shown)
}

fn follow(
    session: &Session,
    one: &Asked,
    accept: &'static str,
    version: &str,
    shown: &mut Shown<'_>,
) -> Result<(), Failure> {
    let flags = &session.flags;
    let fields = match &one.name {
        Some(name) => format!("metadata.name={name}"),
        None => flags.text("field-selector").to_owned(),
    };
    let mut request = Request::get(one.resource.path(one.namespace.as_deref()))
        .with("watch", "true")
        .with("resourceVersion", version)
        .with("labelSelector", flags.text("selector"))
        .with("fieldSelector", &fields);
    request.accept = accept;
    let limit = flags.text("request-timeout");
    let limit =
        crate::flags::duration_ns(limit).or_else(|| limit.parse::<i128>().ok().map(|s| s * 1_000_000_000));
    let limit = limit.and_then(|ns| u64::try_from(ns).ok()).filter(|ns| *ns > 0).map(Duration::from_nanos);
    let mut stream = session.client()?.stream(&request)?;
    loop {
        match stream.line(limit)? {
            Line::End | Line::TimedOut => return Ok(()),
            Line::Text(line) => {
                let event: Value = serde_json::from_slice(&line).map_err(|e| {
                    Failure::message(format!("unable to decode an event from the watch stream: {e}"))
                })?;
                shown.event(event)?;
            }
        }
    }
}

/// What has been shown so far.
struct Shown<'a> {
    session: &'a Session,
    one: &'a Asked,
    format: Option<OutputFormat>,
    printer: Printer,
}

impl Shown<'_> {
    fn page(&mut self, page: Value) -> Result<(), Failure> {
        match self.format {
            None => self.table(&page, "ADDED"),
            Some(_) => {
                for item in items(self.one, page) {
                    self.object(item, "ADDED")?;
                }
                Ok(())
            }
        }
    }

    fn event(&mut self, mut event: Value) -> Result<(), Failure> {
        let kind = event["type"].as_str().unwrap_or_default().to_owned();
        let object = event["object"].take();
        match (kind.as_str(), &self.format) {
            ("BOOKMARK", _) => Ok(()),
            ("ERROR", _) => Err(Failure::Status(Box::new(object))),
            (kind, None) => self.table(&object, kind),
            (kind, Some(_)) => self.object(object, kind),
        }
    }

    fn table(&mut self, table: &Value, event: &str) -> Result<(), Failure> {
        let options = options(self.session, &self.one.resource, false);
        out(&self.printer.lines(table, &self.one.resource, &options, Some(event)))
    }

    fn object(&mut self, object: Value, event: &str) -> Result<(), Failure> {
        let Some(format) = &mut self.format else { return Ok(()) };
        let flags = &self.session.flags;
        if flags.bool("output-watch-events") {
            format::print(format, serde_json::json!({"type": event, "object": object}), flags)?;
        } else {
            format::print(format, object, flags)?;
        }
        if let OutputFormat::CustomColumns { headers, .. } | OutputFormat::CustomColumnsFile { headers, .. } =
            format
        {
            *headers = false;
        }
        Ok(())
    }
}
