//! `set selector`: which pods a Service leads to.

use serde_json::{Value, json};

use super::super::generate::selecting;
use super::{Work, checked, chosen, difference, sent};
use crate::failure::Failure;
use crate::session::Session;
use crate::write::{DryRun, Telling};

pub fn run(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    let telling = Telling::of(session)?;
    checked(session, &telling)?;
    let Some((text, words)) = session.arguments().split_last() else {
        return Err(Failure::message("one selector is required"));
    };
    let selector = selecting(text)?;
    let work = Work { telling: &telling, done: "selector updated", failed: "", always: true };
    let mut failures = Vec::new();
    for mut info in chosen(session, words)? {
        let mut before = info.object.clone();
        if let Err(why) = changed(&mut info.object, &selector) {
            failures.push(Failure::message(why));
            continue;
        }
        let version = flags.text("resource-version");
        if !version.is_empty() {
            before["metadata"]["resourceVersion"] = Value::Null;
            info.object["metadata"]["resourceVersion"] = version.into();
        }
        if flags.bool("local") || telling.dry() == DryRun::Client {
            telling.tell(session, &info, work.done)?;
            continue;
        }
        match sent(session, &work, &info, &difference(&info, &before)) {
            Err(failure) => failures.push(failure),
            Ok(object) => {
                info.object = object;
                telling.tell(session, &info, work.done)?;
            }
        }
    }
    Failure::all(failures)
}

fn changed(object: &mut Value, selector: &Value) -> Result<(), String> {
    if object["kind"] != "Service" || object["apiVersion"] != "v1" {
        return Err("setting a selector is only supported for Services".to_owned());
    }
    if let Some(expressions) = selector["matchExpressions"].as_array() {
        let shown: Vec<String> = expressions.iter().map(expression).collect();
        return Err(format!("match expression [{}] not supported on this object", shown.join(" ")));
    }
    let labels = selector.get("matchLabels").cloned().unwrap_or_else(|| json!({}));
    object["spec"]["selector"] = labels;
    Ok(())
}

/// As Go prints the structure.
fn expression(expression: &Value) -> String {
    let text = |key: &str| expression[key].as_str().unwrap_or_default();
    let values = expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str);
    format!("{{{} {} [{}]}}", text("key"), text("operator"), values.collect::<Vec<_>>().join(" "))
}
