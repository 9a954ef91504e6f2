//! A small cluster in memory: plans are applied to it and told as lines; the ReplicaSet controller and the
//! nodes are played.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use informer::{Action, FailedWrite, Failure, controller_of};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStatus, DeploymentStrategy, ReplicaSet, ReplicaSetStatus,
    RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::ObjectMeta;
use proptest::prelude::*;
use serde_json::Value;

use super::plan::{Observed, plan};
use crate::golden;

struct Cluster {
    deployment: Deployment,
    sets: BTreeMap<String, ReplicaSet>,
    pods: Vec<Arc<Pod>>,
    now: Timestamp,
    failure: Option<Failure>,
    /// Letters for set names, in order of creation, so that scenarios do not depend on hashes.
    letters: Vec<String>,
    log: String,
    /// Images whose pods never become ready.
    broken: &'static str,
}

fn template(image: &str) -> PodTemplateSpec {
    let labels = Some(BTreeMap::from([("app".to_owned(), "a".to_owned())]));
    let container = Container { name: "c".into(), image: Some(image.to_owned()), ..Container::default() };
    PodTemplateSpec {
        metadata: Some(ObjectMeta { labels, ..ObjectMeta::default() }),
        spec: Some(PodSpec { containers: vec![container], ..PodSpec::default() }),
    }
}

impl Cluster {
    fn new(replicas: i32, surge: i32, unavailable: i32) -> Self {
        let rolling = RollingUpdateDeployment {
            max_surge: Some(IntOrString::Int(surge)),
            max_unavailable: Some(IntOrString::Int(unavailable)),
        };
        let spec = DeploymentSpec {
            replicas: Some(replicas),
            progress_deadline_seconds: Some(600),
            revision_history_limit: Some(2),
            selector: LabelSelector {
                match_labels: Some(BTreeMap::from([("app".to_owned(), "a".to_owned())])),
                ..LabelSelector::default()
            },
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(rolling),
            }),
            template: template("v1"),
            ..DeploymentSpec::default()
        };
        let metadata = ObjectMeta {
            name: Some("web".into()),
            namespace: Some("ns".into()),
            uid: Some("d".into()),
            generation: Some(1),
            ..ObjectMeta::default()
        };
        Self {
            deployment: Deployment { metadata, spec: Some(spec), status: None },
            sets: BTreeMap::new(),
            pods: Vec::new(),
            now: "2026-01-01T00:00:00Z".parse().expect("a valid time"),
            failure: None,
            letters: Vec::new(),
            log: String::new(),
            broken: "none",
        }
    }

    fn say(&mut self, line: impl AsRef<str>) {
        let mut line = line.as_ref().to_owned();
        for (i, name) in self.letters.iter().enumerate() {
            line = line.replace(name, &format!("web-{}", char::from(b'A' + u8::try_from(i).unwrap_or(25))));
        }
        writeln!(self.log, "{line}").expect("strings can be written to");
    }

    fn spec(&mut self) -> &mut DeploymentSpec {
        *self.deployment.metadata.generation.get_or_insert(0) += 1;
        self.deployment.spec.get_or_insert_default()
    }

    fn set_image(&mut self, image: &str) {
        self.spec().template = template(image);
        self.say(format!("# image {image}"));
    }

    fn observe(&self) -> Observed {
        Observed {
            deployment: Arc::new(self.deployment.clone()),
            sets: self
                .sets
                .values()
                .filter(|s| controller_of(*s).is_none_or(|o| o.uid == "d"))
                .cloned()
                .map(Arc::new)
                .collect(),
            strays: Vec::new(),
            namesakes: self
                .sets
                .values()
                .filter(|s| controller_of(*s).is_some_and(|o| o.uid != "d"))
                .cloned()
                .map(Arc::new)
                .collect(),
            pods: self.pods.clone(),
            failure: self.failure.clone(),
        }
    }

    fn round(&mut self) -> bool {
        let plan = plan(&self.observe(), self.now);
        self.failure = None;
        let busy = !plan.actions.is_empty();
        for action in &plan.actions {
            self.apply(action);
        }
        busy
    }

    fn settle(&mut self) {
        for _ in 0..50 {
            if !self.round() {
                return;
            }
        }
        panic!("the plans do not come to rest:\n{}", self.log);
    }

    fn apply(&mut self, action: &Action) {
        match action {
            Action::Event { reason, message, .. } => self.say(format!("  {reason}: {message}")),
            Action::Create { object, .. } => {
                let mut made: ReplicaSet = object.typed().expect("a set");
                let name = made.metadata.name.clone().expect("a name");
                self.letters.push(name.clone());
                let at =
                    self.now + SignedDuration::from_millis(i64::try_from(self.letters.len()).unwrap_or(0));
                made.metadata.creation_timestamp = Some(Time(at));
                made.metadata.uid = Some(format!("uid-{name}"));
                let annotations = made.metadata.annotations.clone().unwrap_or_default();
                self.say(format!("  create {name} {}", shortened(&annotations)));
                self.sets.insert(name, made);
            }
            Action::MergePatch { target, patch } if target.resource.resource == "replicasets" => {
                let held = self.sets.get_mut(&target.name).expect("the set is there");
                let mut value = serde_json::to_value(&*held).expect("plain data");
                merge(&mut value, patch);
                *held = serde_json::from_value(value).expect("a set");
                let note = &patch["metadata"]["annotations"];
                let notes: BTreeMap<String, String> =
                    serde_json::from_value(note.clone()).unwrap_or_default();
                self.say(format!("  patch {} {} {}", target.name, shortened(&notes), patch["spec"]));
            }
            Action::Update { target, object } => {
                assert_eq!(target.subresource, "status", "{object:?}");
                let before = std::mem::replace(&mut self.deployment, object.typed().expect("a deployment"));
                if before.metadata.annotations != self.deployment.metadata.annotations {
                    let noted = serde_json::to_string(&self.deployment.metadata.annotations);
                    self.say(format!("  {}", noted.expect("plain data")));
                }
                if before.status != self.deployment.status {
                    self.tell_status();
                }
            }
            Action::Delete { target, .. } => {
                self.say(format!("  delete {}", target.name));
                self.sets.remove(&target.name);
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    fn tell_status(&mut self) {
        let s = self.deployment.status.clone().unwrap_or_default();
        let n = |figure: Option<i32>| figure.unwrap_or(0);
        let conditions: Vec<String> = s
            .conditions
            .iter()
            .flatten()
            .map(|c| format!("{}={}({})", c.type_, c.status, c.reason.as_deref().unwrap_or("")))
            .collect();
        self.say(format!(
            "  status {} updated {} ready {} available {} unavailable {} {}",
            n(s.replicas),
            n(s.updated_replicas),
            n(s.ready_replicas),
            n(s.available_replicas),
            n(s.unavailable_replicas),
            conditions.join(" ")
        ));
    }

    /// The ReplicaSet controller and the nodes do their part.
    fn pods_follow(&mut self) {
        for set in self.sets.values_mut() {
            let spec = set.spec.as_ref().expect("a spec");
            let image = |t: &PodTemplateSpec| t.spec.as_ref().and_then(|s| s.containers[0].image.clone());
            let broken = spec.template.as_ref().and_then(image).as_deref() == Some(self.broken);
            let size = spec.replicas.unwrap_or(1);
            let ready = if broken { 0 } else { size };
            set.status = Some(ReplicaSetStatus {
                replicas: size,
                ready_replicas: Some(ready),
                available_replicas: Some(ready),
                observed_generation: set.metadata.generation,
                ..ReplicaSetStatus::default()
            });
        }
    }

    /// Until nothing moves any more, in steps of a second; at every step the limits hold.
    fn roll(&mut self) {
        for _ in 0..50 {
            self.now += SignedDuration::from_secs(1);
            self.pods_follow();
            let busy = self.round();
            self.settle();
            if !busy {
                return self.say("--");
            }
        }
        panic!("the rollout does not end:\n{}", self.log);
    }
}

fn shortened(annotations: &BTreeMap<String, String>) -> String {
    let of =
        |(k, v): (&String, &String)| format!("{}={v}", k.trim_start_matches("deployment.kubernetes.io/"));
    annotations.iter().map(of).collect::<Vec<_>>().join(" ")
}

fn merge(target: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else { return *target = patch.clone() };
    if !target.is_object() {
        *target = serde_json::json!({});
    }
    for (key, value) in fields {
        if value.is_null() {
            target.as_object_mut().expect("made an object above").remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}

#[test]
fn rolling_update_rollback_and_history() {
    let mut c = Cluster::new(3, 1, 0);
    c.roll();
    c.set_image("v2");
    c.roll();
    c.say("# back to v1");
    c.spec().template = template("v1");
    c.roll();
    for image in ["v3", "v4"] {
        c.set_image(image);
        c.roll();
    }
    golden::check("deployment/rolling_update", &c.log);
}

#[test]
fn a_broken_revision_stops_at_the_limits_and_times_out() {
    let mut c = Cluster::new(10, 3, 2);
    c.roll();
    c.broken = "bad";
    c.set_image("bad");
    c.roll();
    let wait = plan(&c.observe(), c.now).again_after.expect("the deadline is checked");
    c.now += SignedDuration::try_from(wait).expect("a short time");
    c.settle();
    c.say("# scale to 20 in the middle");
    c.spec().replicas = Some(20);
    c.roll();
    c.say("# scale to 5 in the middle");
    c.spec().replicas = Some(5);
    c.roll();
    c.set_image("v3");
    c.roll();
    golden::check("deployment/broken_and_scaled", &c.log);
}

#[test]
fn paused_deployments_scale_but_do_not_roll() {
    let mut c = Cluster::new(2, 1, 0);
    c.roll();
    c.spec().paused = Some(true);
    c.set_image("v2");
    c.roll();
    c.say("# scale to 4");
    c.spec().replicas = Some(4);
    c.roll();
    c.say("# resume");
    c.spec().paused = Some(false);
    c.roll();
    golden::check("deployment/paused", &c.log);
}

#[test]
fn recreate_waits_for_the_last_old_pod() {
    let mut c = Cluster::new(2, 0, 0);
    c.spec().strategy = Some(DeploymentStrategy { type_: Some("Recreate".into()), rolling_update: None });
    c.roll();
    c.set_image("v2");
    let owner = crate::target::controller_reference(c.sets.values().next().expect("the first set"));
    let metadata = ObjectMeta { owner_references: Some(vec![owner]), ..ObjectMeta::default() };
    c.pods = vec![Arc::new(Pod { metadata, ..Pod::default() })];
    c.roll();
    c.say("# the last old pod ended");
    c.pods.clear();
    c.roll();
    golden::check("deployment/recreate", &c.log);
}

#[test]
fn a_taken_name_leads_to_another_hash() {
    let mut c = Cluster::new(1, 1, 0);
    c.round();
    let first = c.letters[0].clone();
    let mut foreign = c.sets.remove(&first).expect("just made");
    for owner in foreign.metadata.owner_references.iter_mut().flatten() {
        owner.uid = "another".into();
    }
    c.sets.insert(first.clone(), foreign);
    c.round();
    assert_eq!(c.deployment.status.as_ref().and_then(|s| s.collision_count), Some(1));
    c.round();
    assert_eq!(c.letters.len(), 2);
    assert_ne!(c.letters[1], first);
}

#[test]
fn failing_to_make_a_set_is_told() {
    let mut c = Cluster::new(1, 1, 0);
    c.failure = Some(Failure {
        write: FailedWrite::Create,
        target: String::new(),
        message: "no".into(),
        gone: false,
    });
    let plan = plan(&c.observe(), c.now);
    let told: Vec<String> = plan
        .actions
        .iter()
        .filter_map(|a| match a {
            Action::Event { reason, .. } => Some((*reason).to_owned()),
            Action::Update { object, .. } => {
                let conditions = object.at(&["status", "conditions"])?;
                Some(conditions.as_array()?.iter().map(|c| c["reason"].to_string()).collect())
            }
            Action::Create { .. } => Some("create".to_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(told[..3], ["ReplicaSetCreateError", "\"ReplicaSetCreateError\"", "create"]);
}

#[test]
fn an_empty_selector_is_refused() {
    let mut c = Cluster::new(1, 1, 0);
    c.spec().selector = LabelSelector::default();
    let plan = plan(&c.observe(), c.now);
    assert!(matches!(plan.actions[0], Action::Event { reason: "SelectingAll", .. }), "{plan:?}");
    assert!(!plan.actions.iter().any(|a| matches!(a, Action::Create { .. })));
}

#[test]
fn nothing_changes_once_all_is_well() {
    let mut c = Cluster::new(2, 1, 0);
    c.roll();
    let before: Option<DeploymentStatus> = c.deployment.status.clone();
    c.now += SignedDuration::from_secs(3600);
    let plan = plan(&c.observe(), c.now);
    assert_eq!((plan.actions.len(), plan.again_after, &c.deployment.status), (0, None, &before));
}

/// Lets the sets' controller and the nodes come `by` pods nearer to what the sets want.
fn some_pods_follow(c: &mut Cluster, by: i32) {
    for set in c.sets.values_mut() {
        let size = set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
        let status = set.status.get_or_insert_default();
        let available = status.available_replicas.unwrap_or(0);
        let nearer = if available > size { size } else { size.min(available + by) };
        status.replicas = size;
        status.available_replicas = Some(nearer);
        status.ready_replicas = Some(nearer);
        status.observed_generation = set.metadata.generation;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// A rolling update keeps within its limits at every step, however slowly pods come, and ends.
    #[test]
    fn rolling_updates_keep_their_limits(
        replicas in 1i32..12, surge in 0i32..4, unavailable in 0i32..4,
        paces in proptest::collection::vec(0i32..4, 1..6),
    ) {
        prop_assume!(surge + unavailable > 0);
        let mut c = Cluster::new(replicas, surge, unavailable);
        c.roll();
        c.set_image("v2");
        let least = replicas - unavailable.min(replicas);
        for round in 0..400 {
            c.settle();
            let wanted: i32 = c.sets.values().filter_map(|s| s.spec.as_ref()?.replicas).sum();
            prop_assert!(wanted <= replicas + surge);
            let serving: i32 = c.sets.values().map(|s| {
                let available = s.status.as_ref().and_then(|s| s.available_replicas).unwrap_or(0);
                available.min(s.spec.as_ref().and_then(|s| s.replicas).unwrap_or(0))
            }).sum();
            prop_assert!(serving >= least, "{serving} of {least} serve");
            some_pods_follow(&mut c, if round % 20 == 19 { 1 } else { paces[round % paces.len()] });
        }
        let status = c.deployment.status.clone().unwrap_or_default();
        prop_assert_eq!((status.updated_replicas, status.available_replicas), (Some(replicas), Some(replicas)));
    }
}
