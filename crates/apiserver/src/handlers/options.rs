//! The options of writes (`CreateOptions`, `UpdateOptions`, `PatchOptions`, `DeleteOptions`), from
//! query and body. Pure.

use api::codec::FieldValidation;
use api::field::{ErrorList, FieldError, Path};
use api::{Error, GroupKind, Object};
use http::HeaderMap;
use serde_json::{Map, Value, json};

use crate::admission::RequestOptions;
use crate::request::query::Query;

/// The longest field manager, in characters.
const MANAGER_MAX: usize = 128;

/// What all writes but deletion may ask for.
#[derive(Debug, Clone)]
pub(crate) struct WriteOptions {
    pub dry_run: bool,
    /// The name in managed fields: as asked for, or made of the user agent.
    pub manager: String,
    /// The field manager and the field validation as they were asked for; empty where they were not.
    pub asked: [String; 2],
    pub field_validation: FieldValidation,
    /// Server-side apply takes fields over from other managers.
    pub force: bool,
}

impl WriteOptions {
    /// `kind` names the options in errors (`CreateOptions`); `apply` is whether it is a server-side apply.
    pub(crate) fn parse(kind: &str, query: &Query, headers: &HeaderMap, apply: bool) -> Result<Self, Error> {
        let mut errors = ErrorList::new();
        let dry_run = dry_run(query.all("dryRun"), &mut errors);
        let manager = query.get("fieldManager").unwrap_or("");
        let path = Path::root("fieldManager");
        if manager.chars().count() > MANAGER_MAX {
            errors.push(FieldError::too_long(&path, MANAGER_MAX));
        }
        if manager.chars().any(char::is_control) {
            errors.push(FieldError::invalid(&path, manager, "should only contain printable characters"));
        }
        if apply && manager.is_empty() {
            errors.push(FieldError::required(&path, "is required for apply patch"));
        }
        if !apply && query.get("force").is_some() {
            errors.push(FieldError::forbidden(
                &Path::root("force"),
                "may not be specified for non-apply patch",
            ));
        }
        let field_validation = FieldValidation::parse(query.get("fieldValidation").unwrap_or(""))
            .unwrap_or_else(|fault| {
                errors.push(fault);
                FieldValidation::Warn
            });
        if !errors.is_empty() {
            return Err(Error::invalid(&GroupKind::new("meta.k8s.io", kind), "", &errors));
        }
        Ok(Self {
            dry_run,
            manager: if manager.is_empty() { manager_of_agent(headers) } else { manager.to_owned() },
            asked: [manager, query.get("fieldValidation").unwrap_or("")].map(str::to_owned),
            field_validation,
            force: apply && query.flag("force"),
        })
    }
}

/// The dry run of options, as it is written.
fn set_dry_run(shown: &mut Map<String, Value>, dry_run: bool) {
    if dry_run {
        shown.insert("dryRun".to_owned(), json!(["All"]));
    }
}

impl RequestOptions for WriteOptions {
    fn shown(&self) -> Map<String, Value> {
        let mut shown = Map::new();
        set_dry_run(&mut shown, self.dry_run);
        for (key, value) in ["fieldManager", "fieldValidation"].iter().zip(&self.asked) {
            if !value.is_empty() {
                shown.insert((*key).to_owned(), value.as_str().into());
            }
        }
        shown
    }
}

/// The user agent up to its first slash, as upstream names managers that do not name themselves.
fn manager_of_agent(headers: &HeaderMap) -> String {
    let agent = headers.get(http::header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or("");
    let name: String =
        agent.split('/').next().unwrap_or("").chars().filter(|c| !c.is_control()).take(MANAGER_MAX).collect();
    if name.is_empty() { "unknown".to_owned() } else { name }
}

fn dry_run<'a>(values: impl Iterator<Item = &'a str>, errors: &mut ErrorList) -> bool {
    let mut dry = false;
    for value in values {
        match value {
            "All" => dry = true,
            "" => {}
            other => errors.push(FieldError::not_supported(&Path::root("dryRun"), other, &["All"])),
        }
    }
    dry
}

/// What happens to dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propagation {
    Orphan,
    Background,
    Foreground,
}

/// How to delete.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeleteOptions {
    pub dry_run: bool,
    pub grace_period_s: Option<i64>,
    pub propagation: Option<Propagation>,
    /// `orphanDependents: false` was said: not yet deleted objects are answered with 202.
    pub cascade_asked: bool,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
}

impl DeleteOptions {
    /// From the query, or from a body where there is one: the body wins as a whole.
    pub(crate) fn parse(query: &Query, body: Option<&Object>) -> Result<Self, Error> {
        let mut errors = ErrorList::new();
        let mut options = Self::default();
        let (policy, orphan);
        match body {
            Some(body) => {
                options.grace_period_s = integer(body.at(&["gracePeriodSeconds"]), "gracePeriodSeconds")?;
                policy = body.str_at(&["propagationPolicy"]).map(str::to_owned);
                orphan = body.at(&["orphanDependents"]).and_then(Value::as_bool);
                options.uid = body.str_at(&["preconditions", "uid"]).map(str::to_owned);
                options.resource_version =
                    body.str_at(&["preconditions", "resourceVersion"]).map(str::to_owned);
                let dry = body.at(&["dryRun"]).and_then(Value::as_array);
                options.dry_run = dry_run(dry.into_iter().flatten().filter_map(Value::as_str), &mut errors);
            }
            None => {
                options.grace_period_s = query.integer("gracePeriodSeconds")?;
                policy = query.non_empty("propagationPolicy").map(str::to_owned);
                orphan = query.get("orphanDependents").map(|_| query.flag("orphanDependents"));
                options.dry_run = dry_run(query.all("dryRun"), &mut errors);
            }
        }
        let path = Path::root("propagationPolicy");
        if policy.is_some() && orphan.is_some() {
            errors.push(FieldError::invalid(
                &path,
                policy.clone().unwrap_or_default(),
                "orphanDependents and deletionPropagation cannot be both set",
            ));
        }
        options.cascade_asked = orphan == Some(false);
        options.propagation = match (policy.as_deref(), orphan) {
            (None, None) => None,
            (None, Some(true)) | (Some("Orphan"), _) => Some(Propagation::Orphan),
            (None, Some(false)) | (Some("Background"), _) => Some(Propagation::Background),
            (Some("Foreground"), _) => Some(Propagation::Foreground),
            (Some(other), _) => {
                let supported = ["Foreground", "Background", "Orphan", "nil"];
                errors.push(FieldError::not_supported(&path, other, &supported));
                None
            }
        };
        if !errors.is_empty() {
            return Err(Error::invalid(&GroupKind::new("meta.k8s.io", "DeleteOptions"), "", &errors));
        }
        Ok(options)
    }
}

impl RequestOptions for DeleteOptions {
    fn shown(&self) -> Map<String, Value> {
        let mut shown = Map::new();
        set_dry_run(&mut shown, self.dry_run);
        if let Some(seconds) = self.grace_period_s {
            shown.insert("gracePeriodSeconds".to_owned(), seconds.into());
        }
        if let Some(propagation) = self.propagation {
            shown.insert("propagationPolicy".to_owned(), format!("{propagation:?}").into());
        }
        let mut preconditions = Map::new();
        for (key, value) in [("uid", &self.uid), ("resourceVersion", &self.resource_version)] {
            if let Some(value) = value {
                preconditions.insert(key.to_owned(), value.as_str().into());
            }
        }
        if !preconditions.is_empty() {
            shown.insert("preconditions".to_owned(), preconditions.into());
        }
        shown
    }
}

fn integer(value: Option<&Value>, field: &str) -> Result<Option<i64>, Error> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or_else(|| {
            Error::bad_request(format!(
                "DeleteOptions.{field}: cannot unmarshal {value} into a value of type int64"
            ))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managers_come_from_the_option_or_the_agent() {
        let mut headers = HeaderMap::new();
        headers.insert("user-agent", "kubectl/v1.35 (linux)".parse().unwrap());
        let parse =
            |query: &str, apply| WriteOptions::parse("PatchOptions", &Query::parse(query), &headers, apply);
        assert_eq!(parse("", false).unwrap().manager, "kubectl");
        assert_eq!(parse("fieldManager=me&force=true", true).unwrap().manager, "me");
        assert_eq!(
            parse("", true).unwrap_err().message,
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
        );
        assert_eq!(
            parse("dryRun=Some", false).unwrap_err().message,
            "PatchOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: \"Some\": supported values: \"All\""
        );
        assert!(parse("dryRun=All", false).unwrap().dry_run);
    }

    #[test]
    fn deletion_reads_body_or_query() {
        let query = Query::parse("gracePeriodSeconds=5&propagationPolicy=Foreground");
        let options = DeleteOptions::parse(&query, None).unwrap();
        assert_eq!((options.grace_period_s, options.propagation), (Some(5), Some(Propagation::Foreground)));
        let body =
            Object::from_value(json!({"gracePeriodSeconds": 0, "preconditions": {"uid": "u"}})).unwrap();
        let options = DeleteOptions::parse(&query, Some(&body)).unwrap();
        assert_eq!(
            (options.grace_period_s, options.uid.as_deref(), options.propagation),
            (Some(0), Some("u"), None)
        );
        let bad = Object::from_value(json!({"propagationPolicy": "X"})).unwrap();
        assert_eq!(DeleteOptions::parse(&query, Some(&bad)).unwrap_err().code(), 422);
    }
}
