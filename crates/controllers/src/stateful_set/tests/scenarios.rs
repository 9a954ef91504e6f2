//! Scripts whose lines are compared with `testdata/stateful_set`, and single facts.

use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::StatefulSetOrdinals;

use super::*;
use crate::golden;

#[test]
fn pods_come_and_go_in_order() {
    let mut c = Cluster::new(3);
    c.settle();
    c.runs(&["web-0"]);
    c.settle();
    c.runs(&["web-1"]);
    c.each("unready:", is_unready, &["web-0"]);
    c.settle();
    c.runs(&["web-0"]);
    c.settle();
    c.runs(&["web-2"]);
    c.settle();
    c.scale(1);
    c.settle();
    c.each("unready:", is_unready, &["web-0"]);
    c.ended();
    c.settle();
    c.runs(&["web-0"]);
    c.settle();
    c.ended();
    c.settle();
    golden::check("stateful_set/order", &c.log);
}

/// None of them ever becomes ready, so none is waited for.
#[test]
fn pods_that_have_ended_are_scaled_away() {
    let mut c = Cluster::new(3);
    c.run_out();
    c.each("fails", fails, &["web-1", "web-2"]);
    c.scale(0);
    c.run_out();
    assert_eq!(c.images(), [], "{}", c.log);
}

#[test]
fn parallel_pods_wait_for_nobody() {
    let mut c = Cluster::new(3);
    c.spec().pod_management_policy = Some("Parallel".into());
    c.settle();
    c.each("fails", fails, &["web-1"]);
    c.settle();
    c.scale(5);
    c.settle();
    c.ended();
    c.settle();
    c.scale(1);
    c.settle();
    golden::check("stateful_set/parallel", &c.log);
}

#[test]
fn updates_roll_from_the_highest_ordinal_down_to_the_partition() {
    let mut c = Cluster::new(3);
    c.run_out();
    c.log.clear();
    c.set_partition(2);
    c.set_image("v2");
    c.settle();
    c.ended();
    c.settle();
    c.runs(&["web-2"]);
    c.settle();
    assert_eq!(c.images(), [(0, "v1"), (1, "v1"), (2, "v2")]);
    // A pod below the partition comes back as it was.
    c.each("is deleted by a user:", |p, now| p.metadata.deletion_timestamp = Some(Time(now)), &["web-0"]);
    c.ended();
    c.settle();
    assert_eq!(image(&c.pods["web-0"]), "v1");
    c.runs(&["web-0"]);
    c.set_partition(0);
    c.run_out();
    assert_eq!(c.images(), [(0, "v2"), (1, "v2"), (2, "v2")]);
    let status = c.status();
    assert_eq!(status.current_revision, status.update_revision);
    // And back: the first revision gets a new number.
    c.set_image("v1");
    c.run_out();
    assert_eq!(c.images(), [(0, "v1"), (1, "v1"), (2, "v1")]);
    golden::check("stateful_set/update", &c.log);
}

#[test]
fn on_delete_leaves_pods_to_users() {
    let mut c = Cluster::new(2);
    c.run_out();
    let strategy = StatefulSetUpdateStrategy { type_: Some("OnDelete".into()), rolling_update: None };
    c.spec().update_strategy = Some(strategy);
    c.set_image("v2");
    c.run_out();
    assert_eq!(c.images(), [(0, "v1"), (1, "v1")]);
    c.pods.remove("web-0");
    c.run_out();
    assert_eq!(c.images(), [(0, "v2"), (1, "v1")]);
    let status = c.status();
    assert_eq!((status.updated_replicas, status.current_replicas), (Some(1), Some(1)));
    assert_ne!(status.current_revision, status.update_revision);
}

#[test]
fn pods_have_their_identity_and_a_start() {
    let mut c = Cluster::with_claims(2, "Retain", "Retain");
    c.spec().ordinals = Some(StatefulSetOrdinals { start: Some(5) });
    c.run_out();
    assert_eq!(c.pods.keys().collect::<Vec<_>>(), ["web-5", "web-6"]);
    assert_eq!(c.claims.keys().collect::<Vec<_>>(), ["www-web-5", "www-web-6"]);
    assert_eq!(c.claims["www-web-5"].metadata.labels, Some(labels()));
    let pod = &c.pods["web-5"];
    let spec = pod.spec.as_ref().expect("a spec");
    assert_eq!((spec.hostname.as_deref(), spec.subdomain.as_deref()), (Some("web-5"), Some("svc")));
    let labels = pod.metadata.labels.as_ref().expect("labels");
    assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "web-5");
    assert_eq!(labels["apps.kubernetes.io/pod-index"], "5");
    assert_eq!(Some(&labels["controller-revision-hash"]), c.status().update_revision.as_ref());
    let volume = &spec.volumes.as_ref().expect("a volume")[0];
    assert_eq!(volume.name, "www");
    assert_eq!(volume.persistent_volume_claim.as_ref().map(|source| &*source.claim_name), Some("www-web-5"));
    // Moving the start replaces the pods outside the new range.
    c.spec().ordinals = Some(StatefulSetOrdinals { start: Some(6) });
    c.run_out();
    assert_eq!(c.pods.keys().collect::<Vec<_>>(), ["web-6", "web-7"]);
    // A label that a user took away comes back.
    c.pods.get_mut("web-6").expect("there").metadata.labels.get_or_insert_default().remove(names::POD_NAME);
    c.run_out();
    let labels = c.pods["web-6"].metadata.labels.as_ref().expect("labels");
    assert_eq!(labels[names::POD_NAME], "web-6");
}

#[test]
fn claims_go_with_pods_and_sets_as_the_policy_says() {
    let owners = |c: &Cluster, claim: &str| -> Vec<String> {
        let owners = c.claims[claim].metadata.owner_references.iter().flatten();
        owners.map(|o| o.kind.clone()).collect()
    };
    for (when_deleted, when_scaled, kept, scaled) in [
        ("Retain", "Retain", &[][..], true),
        ("Delete", "Retain", &["StatefulSet"][..], true),
        ("Retain", "Delete", &[][..], false),
        ("Delete", "Delete", &["StatefulSet"][..], false),
    ] {
        let mut c = Cluster::with_claims(2, when_deleted, when_scaled);
        c.run_out();
        assert_eq!(owners(&c, "www-web-1"), kept, "{when_deleted} {when_scaled}");
        c.scale(1);
        c.settle();
        c.settle();
        if !scaled {
            assert_eq!(owners(&c, "www-web-1"), ["Pod"], "{when_deleted} {when_scaled}");
        }
        c.run_out();
        assert_eq!(c.claims.contains_key("www-web-1"), scaled, "{when_deleted} {when_scaled}");
        assert_eq!(owners(&c, "www-web-0"), kept);
        // Another policy changes the owners of claims that are there.
        let policy = c.spec().persistent_volume_claim_retention_policy.as_mut().expect("a policy");
        policy.when_deleted = Some("Retain".into());
        policy.when_scaled = Some("Retain".into());
        c.run_out();
        assert!(owners(&c, "www-web-0").is_empty());
    }
}

#[test]
fn a_pod_waits_for_the_end_of_its_predecessors_claim() {
    let mut c = Cluster::with_claims(1, "Retain", "Delete");
    let stale = OwnerReference {
        api_version: "v1".into(),
        kind: "Pod".into(),
        name: "web-0".into(),
        uid: "gone".into(),
        ..OwnerReference::default()
    };
    let held = PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some("www-web-0".into()),
            namespace: Some("ns".into()),
            owner_references: Some(vec![stale]),
            ..ObjectMeta::default()
        },
        ..PersistentVolumeClaim::default()
    };
    c.claims.insert("www-web-0".into(), held.clone());
    c.settle();
    assert!(c.pods.is_empty());
    c.claims.clear();
    c.settle();
    assert_eq!(c.pods.len(), 1);

    // One that is being deleted is waited for under every policy, and that is reported.
    let mut c = Cluster::with_claims(1, "Retain", "Retain");
    let mut going = held;
    going.metadata.owner_references = None;
    going.metadata.deletion_timestamp = Some(Time(c.now));
    c.claims.insert("www-web-0".into(), going);
    c.round();
    assert!(c.pods.is_empty());
    let said =
        "event FailedCreate create Pod web-0 in StatefulSet web failed error: pvc www-web-0 is being deleted";
    assert!(c.log.contains(said), "{}", c.log);
}

#[test]
fn pods_are_adopted_by_name_and_released_by_label() {
    let mut c = Cluster::new(2);
    let orphan = |name: &str| {
        let mut pod = Pod { spec: template("v1").spec, ..Pod::default() };
        pod.metadata = ObjectMeta {
            name: Some(name.into()),
            namespace: Some("ns".into()),
            uid: Some(format!("orphan-{name}")),
            labels: Some(labels()),
            ..ObjectMeta::default()
        };
        run(&mut pod, Timestamp::UNIX_EPOCH);
        pod
    };
    for name in ["web-0", "web-01", "other-1"] {
        c.pods.insert(name.into(), orphan(name));
    }
    c.run_out();
    assert!(c.log.contains("  adopt web-0\n"), "{}", c.log);
    for foreign in ["web-01", "other-1"] {
        assert!(c.pods[foreign].metadata.owner_references.is_none(), "{foreign} has no place in the set");
    }
    // The adopted pod had no revision: it was replaced by one that has.
    assert_ne!(c.pods["web-0"].metadata.uid.as_deref(), Some("orphan-web-0"));
    c.each("labels changed of", |p, _| p.metadata.labels = None, &["web-1"]);
    let made = plan(&c.observe(), c.now);
    // The release comes first; that the name is taken is the API's to say.
    c.apply(&made.actions[0]);
    assert!(c.log.contains("  release web-1\n"), "{}", c.log);
    assert!(c.pods["web-1"].metadata.owner_references.is_none());
}

#[test]
fn pods_are_available_after_min_ready_seconds() {
    let mut c = Cluster::new(2);
    c.spec().min_ready_seconds = Some(30);
    c.settle();
    c.runs(&["web-0"]);
    c.settle();
    c.now += SignedDuration::from_secs(10);
    assert_eq!(plan(&c.observe(), c.now).again_after, Some(std::time::Duration::from_secs(20)));
    let status = c.status();
    assert_eq!((status.ready_replicas, status.available_replicas), (Some(1), Some(0)));
    assert_eq!(c.pods.len(), 1, "the next pod waits for the first to be available");
    c.now += SignedDuration::from_secs(20);
    c.settle();
    assert_eq!(c.status().available_replicas, Some(1));
    assert_eq!(c.pods.len(), 2);
}

#[test]
fn a_set_being_deleted_makes_and_claims_nothing() {
    let mut c = Cluster::new(2);
    c.set.metadata.deletion_timestamp = Some(Time(c.now));
    let orphan = Pod {
        metadata: ObjectMeta { name: Some("web-0".into()), labels: Some(labels()), ..ObjectMeta::default() },
        ..Pod::default()
    };
    c.pods.insert("web-0".into(), orphan);
    c.settle();
    assert!(c.revisions.is_empty() && c.pods["web-0"].metadata.owner_references.is_none());
}

#[test]
fn history_is_truncated_to_the_limit() {
    let mut c = Cluster::new(1);
    for image in ["v1", "v2", "v3", "v4", "v5"] {
        c.set_image(image);
        c.run_out();
    }
    let mut numbers: Vec<i64> = c.revisions.values().map(|r| r.revision).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [3, 4, 5], "the present one and two of old");
}

#[test]
fn a_name_that_anothers_revision_has_is_counted_and_avoided() {
    let mut c = Cluster::new(1);
    c.round();
    let (name, mut foreign) = c.revisions.pop_first().expect("a revision was made");
    foreign.data = None;
    foreign.metadata.owner_references = Some(vec![OwnerReference {
        uid: "other".into(),
        controller: Some(true),
        ..OwnerReference::default()
    }]);
    c.revisions.insert(name.clone(), foreign);
    c.pods.clear();
    c.run_out();
    assert_eq!(c.status().collision_count, Some(1));
    assert_ne!(c.status().update_revision, Some(name));
    assert_eq!(c.revisions.len(), 2);
}
