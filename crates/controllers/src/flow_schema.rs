//! Keeps the flow schemas and priority levels that every cluster has, and shows in each flow schema whether its level is
//! there. Upstream: `pkg/registry/flowcontrol/ensurer`, which looks every minute, and `apf_controller.go`.
//!
//! Mandatory objects are always as they are to be; suggested ones while their annotation says so, or nobody has changed
//! them. One key stands for all objects: each may concern others, and there are few.

use std::sync::Arc;

use api::Object;
use informer::{Action, Cache, Controller, DeletePolicy, Delta, Key, Plan, Round, Sources};
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use resources::flowcontrol::{AUTOUPDATE, EXEMPT, mandatory, suggested};
use serde_json::{Value, json};

use crate::target::{dynamic, target};

/// The key of all objects.
const ALL: &str = "all";
const DANGLING: &str = "Dangling";

/// See the module's documentation.
pub struct FlowSchemaController {
    schemas: Cache<FlowSchema>,
    levels: Cache<PriorityLevelConfiguration>,
}

/// All of them.
#[derive(Default)]
pub struct Observed {
    schemas: Vec<Object>,
    levels: Vec<Object>,
}

impl Controller for FlowSchemaController {
    const NAME: &'static str = "flow-schema-controller";
    const QUEUE: &'static str = "priority_and_fairness_config_queue";
    const WORKERS: usize = 1;
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        // What was removed while nobody looked is no change.
        sources.queue().add(Key::new("", ALL));
        Self {
            schemas: sources.mapped(|_: &Delta<FlowSchema>| vec![Key::new("", ALL)]),
            levels: sources.mapped(|_: &Delta<PriorityLevelConfiguration>| vec![Key::new("", ALL)]),
        }
    }

    async fn observe(&self, _: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        const WHY: &str = "a level concerns every schema that names it, and there are few";
        let schemas = self.schemas.scan(WHY);
        let levels = self.levels.scan(WHY);
        Ok(Some(Observed {
            schemas: schemas
                .iter()
                .filter_map(|schema| schema.typed().map(Arc::as_ref).map(dynamic))
                .collect(),
            levels: levels.iter().filter_map(|level| level.typed().map(Arc::as_ref).map(dynamic)).collect(),
        }))
    }

    fn reconcile(observed: &Observed, now: jiff::Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        for (wanted, always) in
            mandatory().iter().map(|o| (o, true)).chain(suggested().iter().map(|o| (o, false)))
        {
            let found = observed.of(wanted.kind()).iter().find(|object| object.name() == wanted.name());
            if let Some(action) = kept(wanted, found, always) {
                plan.then(action);
                plan = plan.because("an object that every cluster has is missing or differs");
            }
        }
        for object in observed.schemas.iter().chain(&observed.levels) {
            if object.annotation(AUTOUPDATE).and_then(truth) == Some(true) && !is_bootstrap(object) {
                let policy = DeletePolicy { uid: Some(object.uid().to_owned()), ..DeletePolicy::default() };
                plan.then(Action::Delete { target: target_of(object), policy });
                plan = plan.because("an object that clusters had before is no more among those they have");
            }
        }
        for schema in &observed.schemas {
            if let Some(action) = shown(schema, &observed.levels, now) {
                plan.then(action);
                plan = plan.because("whether the schema's level is there has changed");
            }
        }
        plan
    }
}

impl Observed {
    fn of(&self, kind: &str) -> &[Object] {
        if kind == "FlowSchema" { &self.schemas } else { &self.levels }
    }
}

/// As Go reads a truth value.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn is_bootstrap(object: &Object) -> bool {
    let same = |wanted: &&Object| wanted.kind() == object.kind() && wanted.name() == object.name();
    mandatory().iter().chain(suggested()).any(|wanted| same(&wanted))
}

fn target_of(object: &Object) -> informer::Target {
    match object.kind() {
        "FlowSchema" => target::<FlowSchema>("", object.name()),
        _ => target::<PriorityLevelConfiguration>("", object.name()),
    }
}

/// What makes the object that is found into the wanted one.
fn kept(wanted: &Object, found: Option<&Object>, always: bool) -> Option<Action> {
    let Some(found) = found else {
        let mut collection = target_of(wanted);
        collection.name.clear();
        return Some(Action::Create { target: collection, object: wanted.clone() });
    };
    let noted = found.annotation(AUTOUPDATE).and_then(truth);
    // Who has not said is taken by whether the specification was ever changed.
    let update = always || noted.unwrap_or(found.generation() == 1);
    let mut next = found.clone();
    if noted != Some(update) {
        let metadata = next.0.entry("metadata").or_insert_with(|| json!({}));
        metadata["annotations"][AUTOUPDATE] = update.to_string().into();
    }
    // What an administrator may set of the exempt level stays.
    let free = always && wanted.name() == EXEMPT && wanted.kind() != "FlowSchema";
    if update && !free && next.0.get("spec") != wanted.0.get("spec") {
        next.0.insert("spec".to_owned(), wanted.0["spec"].clone());
    }
    (next != *found).then(|| Action::Update { target: target_of(wanted), object: next })
}

/// What notes in the schema's status whether its level is there.
fn shown(schema: &Object, levels: &[Object], now: jiff::Timestamp) -> Option<Action> {
    let name = schema.at(&["spec", "priorityLevelConfiguration", "name"]).and_then(Value::as_str)?;
    let there = levels.iter().any(|level| level.name() == name);
    let (status, reason, end) = match there {
        true => ("False", "Found", "and it exists"),
        false => ("True", "NotFound", "but there is no such object"),
    };
    let message =
        format!("This FlowSchema references the PriorityLevelConfiguration object named \"{name}\" {end}");
    let conditions = schema.at(&["status", "conditions"]).and_then(Value::as_array);
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == DANGLING);
    let same = |found: &Value| {
        found["status"] == status && found["reason"] == reason && found["message"] == message.as_str()
    };
    if found.is_some_and(same) {
        return None;
    }
    let at = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = json!({"type": DANGLING, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": at});
    let patch = json!({"status": {"conditions": [condition]}});
    let target = target::<FlowSchema>("", schema.name()).subresource("status");
    Some(Action::StrategicPatch { target, patch })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything as it is to be, and shown so.
    fn settled() -> Observed {
        let mut observed = Observed::default();
        for object in mandatory().iter().chain(suggested()) {
            match object.kind() {
                "FlowSchema" => observed.schemas.push(object.clone()),
                _ => observed.levels.push(object.clone()),
            }
        }
        for schema in &mut observed.schemas {
            let Some(Action::StrategicPatch { patch, .. }) = shown(schema, &observed.levels, now()) else {
                panic!("what is shown nowhere is to be")
            };
            schema.0.insert("status".to_owned(), patch["status"].clone());
        }
        observed
    }

    fn now() -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }

    fn written(observed: &Observed) -> Vec<String> {
        let plan = FlowSchemaController::reconcile(observed, now());
        let told = |action: &Action| match action {
            Action::Create { target, object } => format!("create {} {}", target.path(), object.name()),
            Action::Update { target, object } => {
                format!("update {} {}", target.path(), object.annotation(AUTOUPDATE).unwrap_or("-"))
            }
            Action::Delete { target, .. } => format!("delete {}", target.path()),
            Action::StrategicPatch { target, patch } => {
                format!("patch {} {}", target.path(), patch["status"]["conditions"][0]["message"])
            }
            other => panic!("{other:?}"),
        };
        plan.actions.iter().map(told).collect()
    }

    const GROUP: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";

    fn schema<'a>(observed: &'a mut Observed, name: &str) -> &'a mut Object {
        observed.schemas.iter_mut().find(|schema| schema.name() == name).expect("it is among them")
    }

    #[test]
    fn what_is_missing_is_made_and_what_is_right_is_left() {
        assert!(written(&settled()).is_empty());
        assert_eq!(written(&Observed::default()).len(), mandatory().len() + suggested().len());
        let mut observed = settled();
        observed.schemas.retain(|schema| schema.name() != "catch-all");
        assert_eq!(written(&observed), [format!("create {GROUP}/flowschemas catch-all")]);
    }

    #[test]
    fn suggested_objects_are_kept_while_nobody_objects() {
        let mut observed = settled();
        let probes = schema(&mut observed, "probes");
        probes.0["spec"]["matchingPrecedence"] = 7.into();
        assert_eq!(written(&observed), [format!("update {GROUP}/flowschemas/probes true")]);
        schema(&mut observed, "probes").0["metadata"]["annotations"][AUTOUPDATE] = "false".into();
        assert!(written(&observed).is_empty());
        let probes = schema(&mut observed, "probes");
        probes.0["metadata"] = json!({"name": "probes", "generation": 2});
        assert_eq!(written(&observed), [format!("update {GROUP}/flowschemas/probes false")]);
        schema(&mut observed, "catch-all").0["metadata"]["annotations"][AUTOUPDATE] = "false".into();
        let mended = format!("update {GROUP}/flowschemas/catch-all true");
        assert!(written(&observed).contains(&mended), "a mandatory object is kept whatever it says");
    }

    #[test]
    fn objects_of_the_past_go_and_others_stay() {
        let mut observed = settled();
        for (name, note) in [("old", Some("true")), ("own", Some("false")), ("plain", None)] {
            let mut level = observed.levels[1].clone();
            level.0["metadata"] = json!({"name": name, "uid": "u"});
            if let Some(note) = note {
                level.0["metadata"]["annotations"] = json!({AUTOUPDATE: note});
            }
            observed.levels.push(level);
        }
        assert_eq!(written(&observed), [format!("delete {GROUP}/prioritylevelconfigurations/old")]);
    }

    #[test]
    fn a_schema_shows_whether_its_level_is_there() {
        let mut observed = settled();
        let mut own = observed.schemas[0].clone();
        own.0.insert("metadata".to_owned(), json!({"name": "own"}));
        own.0["spec"]["priorityLevelConfiguration"]["name"] = "none".into();
        observed.schemas.push(own);
        let told = "This FlowSchema references the PriorityLevelConfiguration object named \\\"none\\\" but there is no such object";
        assert_eq!(written(&observed), [format!("patch {GROUP}/flowschemas/own/status \"{told}\"")]);
    }
}
