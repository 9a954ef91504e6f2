//! The table's completeness and its lookups.

use api::GroupVersionKind;

use super::*;
use crate::builtin;
use crate::part::PartHandler;
use crate::row::{Question, Scope};
use crate::verb::Verb;

#[test]
fn groups_stand_in_discovery_order() {
    let versions: Vec<String> = builtin().group_versions().iter().map(ToString::to_string).collect();
    assert_eq!(versions[..4], ["v1", "apiregistration.k8s.io/v1", "apps/v1", "events.k8s.io/v1"]);
    let hpa = versions.iter().position(|v| v == "autoscaling/v2").expect("served");
    assert_eq!(versions[hpa + 1], "autoscaling/v1");
    assert_eq!(builtin().preferred_version("autoscaling"), Some("v2"));
    let cron = versions.iter().position(|v| v == "batch/v1").expect("served");
    assert_eq!(versions[cron + 1], "batch/v1beta1", "what upstream removed comes last");
    assert_eq!(versions.len(), 25);
}

#[test]
fn rows_are_found_by_plural_and_kind() {
    let pods = builtin().find("", "v1", "pods").expect("pods are served");
    assert_eq!((&*pods.kind, &*pods.singular, pods.scope), ("Pod", "pod", Scope::Namespaced));
    assert_eq!(pods.key("ns", "a"), "/registry/pods/ns/a");
    assert!(pods.part("status").is_some() && pods.scale().is_none());
    assert!(pods.supports(Verb::Watch) && pods.question.is_none());
    assert!(builtin().by_kind("apps", "v1", "Deployment").is_some_and(|r| r.scale().is_some()));
    assert!(builtin().find("apps", "v1", "pods").is_none());
    let review = builtin().by_kind("authorization.k8s.io", "v1", "SubjectAccessReview").expect("served");
    assert_eq!(review.question, Some(Question::SubjectAccess));
    let nodes = builtin().find("", "v1", "nodes").expect("served");
    assert_eq!(nodes.key("", "n1"), "/registry/minions/n1");
    let namespaces = builtin().find("", "v1", "namespaces").expect("served");
    assert!(!namespaces.supports(Verb::DeleteCollection));
}

#[test]
fn events_are_stored_once() {
    let events = builtin().find("events.k8s.io", "v1", "events").expect("served");
    assert_eq!(events.storage_version, GroupVersion::new("", "v1"));
    assert_eq!(events.key("ns", "e"), "/registry/events/ns/e");
    assert!(events.convert.is_some());
    assert_eq!(events.ttl_s, Some(3600));
}

#[test]
fn special_subresources_have_their_kinds_and_verbs() {
    let pods = builtin().find("", "v1", "pods").expect("served");
    let infos = &pods.parts;
    let names: Vec<&str> = infos.iter().map(|i| &*i.name).collect();
    assert_eq!(
        names,
        [
            "attach",
            "binding",
            "ephemeralcontainers",
            "eviction",
            "exec",
            "log",
            "portforward",
            "proxy",
            "resize",
            "status"
        ]
    );
    let info = |name| infos.iter().find(|i| i.name == name).expect("listed above");
    assert_eq!(info("exec").kind.kind, "PodExecOptions");
    assert_eq!(info("exec").verbs, [Verb::Create, Verb::Get]);
    assert_eq!(info("eviction").kind, GroupVersionKind::new("policy", "v1", "Eviction"));
}

#[test]
fn added_rows_join_and_never_replace() {
    let mut row = Resource::clone(builtin().find("", "v1", "configmaps").expect("served"));
    row.group = "example.com".into();
    row.kind = "Widget".into();
    row.plural = "widgets".into();
    let mut clash = row.clone();
    clash.kind = "Other".into();
    let table = builtin().with([Arc::new(row), Arc::new(clash)]);
    assert_eq!(table.find("example.com", "v1", "widgets").map(|r| &*r.kind), Some("Widget"));
    assert_eq!(table.group_versions().last(), Some(&GroupVersion::new("example.com", "v1")));
    assert!(table.by_kind("", "v1", "Pod").is_some());
}

#[test]
fn selectable_fields_have_absent_values() {
    let absent = |group: &str, version: &str, plural: &str| -> Vec<&'static str> {
        let row = builtin().find(group, version, plural).expect("served");
        row.selectable_fields.iter().map(|field| field.absent).collect()
    };
    assert_eq!(absent("", "v1", "nodes"), ["false"]);
    assert_eq!(absent("batch", "v1", "jobs"), ["0"]);
    assert_eq!(absent("", "v1", "pods")[..2], ["false", ""]);
}

#[test]
fn every_handler_of_parts_answers_one() {
    // A new handler does not compile until it is listed.
    let place = |handler: &PartHandler| match handler {
        PartHandler::Status => 0,
        PartHandler::Scale(_) => 1,
        PartHandler::Approval => 2,
        PartHandler::Attach => 3,
        PartHandler::Binding => 4,
        PartHandler::EphemeralContainers => 5,
        PartHandler::Eviction => 6,
        PartHandler::Exec => 7,
        PartHandler::Finalize => 8,
        PartHandler::Log => 9,
        PartHandler::PortForward => 10,
        PartHandler::Proxy(_) => 11,
        PartHandler::Resize => 12,
        PartHandler::Token => 13,
    };
    let mut used = [false; 14];
    for part in builtin().rows().flat_map(|row| &row.parts) {
        used[place(&part.handler)] = true;
    }
    assert_eq!(used, [true; 14]);
}
