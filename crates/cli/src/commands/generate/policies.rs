//! What bounds others: budgets, quotas, priorities. And the tokens of accounts.

use api::quantity::{ParseError, Quantity};
use api::selector::{LabelSelector, Operator};
use http::Method;
use serde_json::{Map, Value, json};

use super::{name, named};
use crate::client::{Request, escaped, name_part};
use crate::failure::Failure;
use crate::format;
use crate::output::out;
use crate::session::Session;

pub fn budget(session: &Session) -> Result<Value, Failure> {
    let flags = &session.flags;
    let name = name(session)?;
    let (selector, least, most) =
        (flags.text("selector"), flags.text("min-available"), flags.text("max-unavailable"));
    if selector.is_empty() {
        return Err(Failure::message("a selector must be specified"));
    }
    let (field, amount) = match (least, most) {
        ("", "") => {
            return Err(Failure::message("one of min-available or max-unavailable must be specified"));
        }
        (least, "") => ("min-available", least),
        ("", most) => ("max-unavailable", most),
        _ => return Err(Failure::message("min-available and max-unavailable cannot be both specified")),
    };
    let digits = amount.strip_suffix('%').unwrap_or(amount);
    if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit()) {
        return Err(Failure::message(format!("invalid format specified for {field}")));
    }
    let amount: Value = amount.parse::<i32>().map_or_else(|_| amount.into(), Value::from);
    let mut object = named("policy/v1", "PodDisruptionBudget", name);
    let key = if field == "min-available" { "minAvailable" } else { "maxUnavailable" };
    object["spec"] = json!({"selector": selecting(selector)?, key: amount});
    object["status"] =
        json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0});
    Ok(object)
}

/// A selector's text as the object that says the same.
///
/// # Errors
/// When the text is none, or has no such object.
pub fn selecting(text: &str) -> Result<Value, Failure> {
    let selector = LabelSelector::parse(text)
        .map_err(|e| Failure::message(format!("couldn't parse the selector string {text:?}: {e}")))?;
    let (mut labels, mut expressions) = (Map::new(), Vec::new());
    for requirement in selector.requirements() {
        let key = requirement.key();
        let operator = match requirement.operator() {
            Operator::Equals | Operator::DoubleEquals => {
                let value = requirement.values().first().map_or("", String::as_str);
                labels.insert(key.to_owned(), value.into());
                continue;
            }
            Operator::In => "In",
            Operator::NotIn => "NotIn",
            Operator::Exists => "Exists",
            Operator::DoesNotExist => "DoesNotExist",
            other => {
                let why = format!("{:?} is not a valid label selector operator", other.as_str());
                return Err(Failure::message(why));
            }
        };
        let mut expression = json!({"key": key, "operator": operator});
        if !requirement.values().is_empty() {
            expression["values"] = requirement.values().into();
        }
        expressions.push(expression);
    }
    let mut object = json!({});
    if !labels.is_empty() {
        object["matchLabels"] = labels.into();
    }
    if !expressions.is_empty() {
        object["matchExpressions"] = expressions.into();
    }
    Ok(object)
}

pub fn priority(session: &Session) -> Result<Value, Failure> {
    let flags = &session.flags;
    let mut object = named("scheduling.k8s.io/v1", "PriorityClass", name(session)?);
    object["value"] = flags.int("value").into();
    object["preemptionPolicy"] = flags.text("preemption-policy").into();
    if flags.bool("global-default") {
        object["globalDefault"] = true.into();
    }
    if !flags.text("description").is_empty() {
        object["description"] = flags.text("description").into();
    }
    Ok(object)
}

pub fn quota(session: &Session) -> Result<Value, Failure> {
    let flags = &session.flags;
    let mut object = named("v1", "ResourceQuota", name(session)?);
    object["spec"] = json!({});
    if !flags.text("hard").is_empty() {
        object["spec"]["hard"] = amounts(flags.text("hard"))?.into();
    }
    if !flags.text("scopes").is_empty() {
        let scopes: Vec<&str> = flags.text("scopes").split(',').collect();
        if scopes.contains(&"") {
            return Err(Failure::message("invalid resource quota scope \"\""));
        }
        object["spec"]["scopes"] = scopes.into();
    }
    object["status"] = json!({});
    Ok(object)
}

/// `cpu=1,memory=1Gi`.
///
/// # Errors
/// When a part of it is something else.
pub fn amounts(text: &str) -> Result<Map<String, Value>, Failure> {
    let mut amounts = Map::new();
    for statement in text.split(',') {
        let Some((key, value)) = statement.split_once('=').filter(|(_, value)| !value.contains('=')) else {
            let why = format!("Invalid argument syntax {statement}, expected <resource>=<value>");
            return Err(Failure::message(why));
        };
        let amount: Quantity = value.parse().map_err(|e: ParseError| Failure::message(e.to_string()))?;
        amounts.insert(key.to_owned(), amount.to_string().into());
    }
    Ok(amounts)
}

const BOUND_TO: [&str; 3] = ["Node", "Pod", "Secret"];

/// `create token`: asks for one, and prints it.
pub fn token(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    let account = name(session)?;
    let format = format::asked(flags, &[])?;
    let duration = flags.duration_ns("duration");
    let (kind, bound, uid) =
        (flags.text("bound-object-kind"), flags.text("bound-object-name"), flags.text("bound-object-uid"));
    let wrong = if duration < 0 {
        "--duration must be greater than or equal to 0"
    } else if duration % 1_000_000_000 != 0 {
        "--duration cannot be expressed in units less than seconds"
    } else if flags.list("audience").iter().any(String::is_empty) {
        "--audience must not be an empty string"
    } else if kind.is_empty() && !bound.is_empty() {
        "--bound-object-name can only be set if --bound-object-kind is provided"
    } else if kind.is_empty() && !uid.is_empty() {
        "--bound-object-uid can only be set if --bound-object-kind is provided"
    } else if !kind.is_empty() && !BOUND_TO.contains(&kind) {
        "supported --bound-object-kind values are Node, Pod, Secret"
    } else if !kind.is_empty() && bound.is_empty() {
        "--bound-object-name is required if --bound-object-kind is provided"
    } else {
        ""
    };
    if !wrong.is_empty() {
        return Err(Failure::message(wrong));
    }
    let mut spec = json!({"audiences": flags.list("audience")});
    if duration > 0 {
        spec["expirationSeconds"] = i64::try_from(duration / 1_000_000_000).unwrap_or(i64::MAX).into();
    }
    if !kind.is_empty() {
        spec["boundObjectRef"] = json!({"apiVersion": "v1", "kind": kind, "name": bound, "uid": uid});
    }
    let namespace = escaped(session.namespace()?);
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{}/token", name_part(account)?);
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    let answer = session.client()?.json(&Request::new(Method::POST, path).json(&body));
    let answer = answer.map_err(|failure| super::failing("token:", failure))?;
    let token = answer["status"]["token"].as_str().unwrap_or_default();
    if token.is_empty() {
        return Err(Failure::message("failed to create token: no token in server response"));
    }
    match format {
        Some(format) => format::print(&format, answer, flags),
        None if rustix::termios::isatty(std::io::stdout()) => out(&format!("{token}\n")),
        None => out(token),
    }
}
