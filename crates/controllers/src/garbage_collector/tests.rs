//! Objects come, change and go; what the graph then wants looked at is decided about.

use std::collections::HashMap;
use std::sync::Arc;

use informer::{Action, Item, Meta};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use resources::{Resource, builtin};

use super::decide::{self, Owner, Situation};
use super::graph::{FOREGROUND, Graph, News, ORPHAN, Work, row_of};

fn row(kind: &str) -> Arc<Resource> {
    let reference =
        OwnerReference { api_version: version(kind).into(), kind: kind.into(), ..Default::default() };
    row_of(builtin(), &reference).expect("a built-in kind")
}

fn version(kind: &str) -> &'static str {
    if matches!(kind, "Deployment" | "ReplicaSet") { "apps/v1" } else { "v1" }
}

/// An object of the kind and name its uid tells (`Pod/a`), owned by those named.
fn object(uid: &str, owners: &[&str]) -> (Arc<Resource>, ObjectMeta) {
    let (kind, name) = uid.split_once('/').expect("kind and name");
    let owner = |uid: &&str| {
        let blocks = uid.starts_with('!');
        let uid = uid.trim_start_matches('!');
        let (kind, name) = uid.split_once('/').expect("kind and name");
        OwnerReference {
            api_version: version(kind).into(),
            kind: kind.into(),
            name: name.into(),
            uid: uid.into(),
            controller: None,
            block_owner_deletion: Some(blocks),
        }
    };
    let row = row(kind);
    let meta = ObjectMeta {
        name: Some(name.into()),
        namespace: row.namespaced().then(|| "ns".into()),
        uid: Some(uid.into()),
        resource_version: Some("1".into()),
        owner_references: (!owners.is_empty()).then(|| owners.iter().map(owner).collect()),
        ..ObjectMeta::default()
    };
    (row, meta)
}

/// The metadata as a cache has them.
fn cached(meta: &ObjectMeta) -> Meta {
    let json = serde_json::json!({"metadata": meta}).to_string();
    Item::read(json.into()).expect("an object").meta().clone()
}

/// The graph beside the objects there really are.
#[derive(Default)]
struct World {
    graph: Graph,
    live: HashMap<String, ObjectMeta>,
    invalid: usize,
}

impl World {
    fn put(&mut self, uid: &str, owners: &[&str]) -> Vec<String> {
        let (_, meta) = object(uid, owners);
        self.update(meta)
    }

    fn update(&mut self, meta: ObjectMeta) -> Vec<String> {
        let uid = meta.uid.clone().expect("a uid");
        let kind = uid.split_once('/').expect("kind and name").0;
        self.live.insert(uid.clone(), meta.clone());
        let news = self.graph.seen(builtin(), &row(kind), &cached(&meta));
        self.told(news)
    }

    fn delete(&mut self, uid: &str, finalizer: Option<&str>) -> Vec<String> {
        let Some(finalizer) = finalizer else {
            self.live.remove(uid);
            let news = self.graph.gone(uid);
            return self.told(news);
        };
        let mut meta = self.live[uid].clone();
        meta.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        meta.finalizers = Some(vec![finalizer.into()]);
        self.update(meta)
    }

    fn told(&mut self, news: News) -> Vec<String> {
        self.invalid += news.invalid.len();
        let mut told: Vec<String> = news
            .work
            .iter()
            .map(|w| match w {
                Work::Check(uid) => format!("check {uid}"),
                Work::Orphan(uid) => format!("orphan {uid}"),
                Work::Kinds => "kinds".into(),
            })
            .collect();
        told.sort();
        told
    }

    fn situation(&self, uid: &str) -> Situation {
        let known = self.graph.get(uid).expect("a known object");
        let live = self.live.get(uid).cloned();
        let state = |r: &OwnerReference| match self.live.get(&r.uid) {
            None => Owner::Absent,
            Some(meta) if meta.finalizers.iter().flatten().any(|f| f == FOREGROUND) => Owner::Waits,
            Some(_) => Owner::Solid,
        };
        let references = live.iter().flat_map(|m| m.owner_references.clone().unwrap_or_default());
        let owners = references.map(|r| (r.clone(), state(&r))).collect();
        Situation { known, live, owners, unmerged: Vec::new() }
    }

    /// The decision in words.
    fn check(&self, uid: &str) -> Vec<String> {
        words(&decide::check(&self.situation(uid)))
    }
}

fn words(decision: &decide::Decision) -> Vec<String> {
    fn word(action: &Action) -> String {
        match action {
            Action::Delete { target, policy } => {
                format!("delete {} {}", target.name, policy.propagation.unwrap_or(""))
            }
            Action::MergePatch { target, patch } => {
                let meta = patch["metadata"].as_object().expect("an object");
                let changed = meta.iter().filter(|(k, _)| !["uid", "resourceVersion"].contains(&k.as_str()));
                let shown: Vec<String> = changed
                    .map(|(k, v)| {
                        let uids: Vec<&str> = v
                            .as_array()
                            .into_iter()
                            .flatten()
                            .filter_map(|o| o["uid"].as_str().or(o.as_str()))
                            .collect();
                        format!("{k}=[{}]", uids.join(","))
                    })
                    .collect();
                format!("patch {} {}", target.name, shown.join(" "))
            }
            Action::StrategicPatch { target, patch } => {
                format!("release {} from {}", target.name, patch["metadata"]["ownerReferences"][0]["uid"])
            }
            Action::Batch(all) => {
                let mut all: Vec<String> = all.iter().map(word).collect();
                all.sort();
                all.join("; ")
            }
            other => format!("{other:?}"),
        }
    }
    let mut told: Vec<String> = decision.plan.actions.iter().map(word).collect();
    let mut next: Vec<String> = decision.check.iter().map(|uid| format!("then check {uid}")).collect();
    next.sort();
    told.extend(next);
    if decision.gone {
        told.push("gone".into());
    }
    told
}

const NOTHING: [&str; 0] = [];

#[test]
fn in_the_background_dependents_go_after_their_owner() {
    let mut w = World::default();
    assert_eq!(w.put("Deployment/d", &[]), NOTHING);
    assert_eq!(w.put("ReplicaSet/r", &["!Deployment/d"]), NOTHING);
    assert_eq!(w.put("Pod/p", &["!ReplicaSet/r"]), NOTHING);
    assert_eq!(w.check("Pod/p"), NOTHING);
    assert_eq!(w.delete("Deployment/d", None), ["check ReplicaSet/r"]);
    assert_eq!(w.check("ReplicaSet/r"), ["delete r Background"]);
    assert_eq!(w.delete("ReplicaSet/r", None), ["check Pod/p"]);
    assert_eq!(w.check("Pod/p"), ["delete p Background"]);
    assert_eq!(w.delete("Pod/p", None), NOTHING);
    assert_eq!(w.graph.len(), 0);
}

#[test]
fn in_the_foreground_the_owner_waits_for_those_that_block() {
    let mut w = World::default();
    w.put("Deployment/d", &[]);
    w.put("ReplicaSet/r", &["!Deployment/d"]);
    w.put("ConfigMap/c", &["Deployment/d"]);
    w.put("Pod/p", &["!ReplicaSet/r"]);
    let woken = w.delete("Deployment/d", Some(FOREGROUND));
    assert_eq!(woken, ["check ConfigMap/c", "check Deployment/d", "check ReplicaSet/r"]);
    assert_eq!(w.check("Deployment/d"), ["then check ReplicaSet/r"]);
    assert_eq!(w.check("ConfigMap/c"), ["delete c Background"]);
    assert_eq!(w.check("ReplicaSet/r"), ["delete r Foreground"], "it has dependents itself");
    w.delete("ReplicaSet/r", Some(FOREGROUND));
    assert_eq!(w.check("Pod/p"), ["delete p Background"]);
    assert_eq!(w.delete("Pod/p", None), ["check ReplicaSet/r"]);
    assert_eq!(w.check("ReplicaSet/r"), ["patch r finalizers=[]"]);
    assert_eq!(w.delete("ReplicaSet/r", None), ["check Deployment/d"]);
    assert_eq!(w.check("Deployment/d"), ["patch d finalizers=[]"], "what does not block is not waited for");
}

#[test]
fn orphans_are_set_free_first() {
    let mut w = World::default();
    w.put("ReplicaSet/r", &[]);
    w.put("Pod/a", &["!ReplicaSet/r"]);
    w.put("Pod/b", &["!ReplicaSet/r"]);
    assert_eq!(w.delete("ReplicaSet/r", Some(ORPHAN)), ["orphan ReplicaSet/r"]);
    let decision = decide::orphan(&w.situation("ReplicaSet/r"));
    assert_eq!(
        words(&decision),
        [r#"release a from "ReplicaSet/r"; release b from "ReplicaSet/r""#, "patch r finalizers=[]"]
    );
    w.put("Pod/a", &[]);
    w.put("Pod/b", &[]);
    assert_eq!(w.delete("ReplicaSet/r", None), NOTHING);
}

#[test]
fn an_object_with_one_owner_left_stays() {
    let mut w = World::default();
    w.put("ConfigMap/a", &[]);
    w.put("ConfigMap/b", &[]);
    w.put("Pod/p", &["ConfigMap/a", "ConfigMap/b"]);
    assert_eq!(w.delete("ConfigMap/a", None), ["check Pod/p"]);
    assert_eq!(w.check("Pod/p"), ["patch p ownerReferences=[ConfigMap/b]"]);
}

#[test]
fn an_owner_never_seen_is_verified_before_anything_goes() {
    let mut w = World::default();
    assert_eq!(w.put("Pod/p", &["ReplicaSet/r"]), ["check ReplicaSet/r"]);
    assert_eq!(w.check("ReplicaSet/r"), ["gone"]);
    let news = w.graph.gone("ReplicaSet/r");
    assert_eq!(w.told(news), ["check Pod/p"]);
    assert_eq!(w.check("Pod/p"), ["delete p Background"]);
    // Seen late, it is its dependents' owner after all.
    w.put("ReplicaSet/r", &[]);
    assert_eq!(w.check("Pod/p"), NOTHING);
    assert_eq!(w.delete("ReplicaSet/r", None), ["check Pod/p"]);
    w.delete("Pod/p", None);
    assert_eq!(w.graph.len(), 0);
}

#[test]
fn owners_in_other_namespaces_are_told_and_do_not_count() {
    let mut w = World::default();
    let (_, mut foreign) = object("ReplicaSet/r", &[]);
    foreign.namespace = Some("other".into());
    w.update(foreign);
    assert_eq!(w.put("Pod/p", &["ReplicaSet/r"]), ["check Pod/p"]);
    assert_eq!(w.invalid, 1);
    assert_eq!(w.put("Namespace/n", &["ReplicaSet/r"]), NOTHING);
    assert_eq!(w.invalid, 2, "a cluster-scoped object cannot have a namespaced owner");
}

#[test]
fn a_reference_to_a_uid_of_another_kind_group_or_name_is_looked_at() {
    let wrong: [fn(&mut OwnerReference); 3] = [
        |owner| owner.kind = "Secret".into(),
        |owner| (owner.api_version, owner.kind) = ("apps/v1".into(), "Deployment".into()),
        |owner| owner.name = "other".into(),
    ];
    for spoil in wrong {
        // The owner is seen first …
        let mut w = World::default();
        w.put("ConfigMap/c", &[]);
        let (_, mut meta) = object("Pod/p", &["ConfigMap/c"]);
        spoil(&mut meta.owner_references.as_mut().expect("one owner")[0]);
        assert_eq!(w.update(meta.clone()), ["check Pod/p"]);
        // … or after the one who names it …
        let mut w = World::default();
        w.update(meta.clone());
        assert_eq!(w.put("ConfigMap/c", &[]), ["check Pod/p"]);
        // … or between one that names it rightly and one that does not.
        let mut w = World::default();
        w.put("Pod/q", &["ConfigMap/c"]);
        assert_eq!(w.update(meta), ["check Pod/p"]);
        assert_eq!(w.put("ConfigMap/c", &[]), NOTHING);
    }
}

#[test]
fn unknown_kinds_keep_their_dependents() {
    let mut w = World::default();
    let (_, mut meta) = object("Pod/p", &["ConfigMap/c"]);
    meta.owner_references.as_mut().expect("one owner")[0].api_version = "x.example/v1".into();
    assert_eq!(w.update(meta.clone()), NOTHING);
    assert_eq!(w.graph.unresolved(), [Work::Check("Pod/p".into())]);
    let mut situation = w.situation("Pod/p");
    situation.owners[0].1 = Owner::Unknown;
    assert_eq!(words(&decide::check(&situation)), NOTHING);
}

#[test]
fn a_circle_in_foreground_deletion_comes_apart() {
    let mut w = World::default();
    w.put("ConfigMap/a", &["!ConfigMap/b"]);
    w.put("ConfigMap/b", &["!ConfigMap/a"]);
    w.delete("ConfigMap/a", Some(FOREGROUND));
    assert_eq!(
        w.check("ConfigMap/b"),
        ["patch b ownerReferences=[ConfigMap/a]", "delete b Foreground"],
        "the patch takes the blocking away"
    );
}
