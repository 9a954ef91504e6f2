//! What is attached and detached, by scenes of pods, nodes and attachments.

use client::EventType;
use informer::Action;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::ObjectReference;
use pods::volumes::attachment;

use super::decision::decide;
use super::*;

fn source(is_exclusive: bool) -> Option<Source> {
    Some(Source { driver: "d".into(), handle: "h".into(), is_exclusive })
}

fn user(name: &str, namespace: &str, node: &str) -> User {
    let about = ObjectReference {
        name: Some(name.into()),
        namespace: Some(namespace.into()),
        uid: Some(format!("{name}-uid")),
        ..ObjectReference::default()
    };
    User { node: node.into(), about, is_pending: true }
}

fn attached(node: &str, is_attached: bool) -> Attached {
    Attached {
        name: attachment::object_name("d", "h", node),
        uid: format!("{node}-uid"),
        driver: "d".into(),
        node: node.into(),
        is_attached,
        error: None,
        is_going: false,
    }
}

fn scene(users: &[(&str, &str)], on: &[Attached], nodes: &[(&str, NodeState)]) -> Observed {
    Observed {
        volume: "pv".into(),
        source: source(true),
        users: users.iter().map(|(name, node)| user(name, "ns", node)).collect(),
        attachments: on.to_vec(),
        nodes: nodes.iter().map(|(name, state)| ((*name).to_owned(), *state)).collect(),
        ..Observed::default()
    }
}

/// One line an action.
fn lines(seen: &Observed, now: Timestamp) -> Vec<String> {
    let line = |action: &Action| match action {
        Action::Create { object, .. } => {
            let node = object.str_at(&["spec", "nodeName"]).unwrap_or_default();
            assert_eq!(object.name(), attachment::object_name("d", "h", node));
            assert_eq!(object.str_at(&["spec", "source", "persistentVolumeName"]), Some("pv"));
            format!("attach to {node}")
        }
        Action::Delete { target, policy } => {
            let held = seen.attachments.iter().find(|held| held.name == target.name).expect("an attachment");
            assert_eq!(policy.uid.as_ref(), Some(&held.uid));
            format!("detach from {}", held.node)
        }
        Action::Event { about, event_type, reason, message } => {
            assert_eq!(*event_type == EventType::Warning, *reason == "FailedAttachVolume");
            format!("{}: {reason}: {message}", about.name.as_deref().unwrap_or_default())
        }
        other => panic!("unexpected: {other:?}"),
    };
    decide(seen, now).actions.iter().map(line).collect()
}

const WELL: NodeState = NodeState { uses: false, is_ready: true, is_out_of_service: false };
const USES: NodeState = NodeState { uses: true, is_ready: true, is_out_of_service: false };
const ILL: NodeState = NodeState { uses: true, is_ready: false, is_out_of_service: false };
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

#[test]
fn a_volume_is_attached_where_a_pod_wants_it_and_the_pod_is_told() {
    let mut seen = scene(&[("p", "a")], &[], &[("a", WELL)]);
    assert_eq!(lines(&seen, NOW), ["attach to a"]);
    seen.attachments = vec![attached("a", false)];
    assert_eq!(lines(&seen, NOW), [""; 0], "its driver is at work");
    seen.attachments[0].error = Some("no room".into());
    let failed = "p: FailedAttachVolume: AttachVolume.Attach failed for volume \"pv\" : no room";
    assert_eq!(lines(&seen, NOW), [failed]);
    seen.attachments = vec![attached("a", true)];
    let told = "p: SuccessfulAttachVolume: AttachVolume.Attach succeeded for volume \"pv\" ";
    assert_eq!(lines(&seen, NOW), [told]);
    seen.told = Arc::new(seen.notice_keys());
    assert_eq!(lines(&seen, NOW), [""; 0], "once");
}

#[test]
fn nothing_is_attached_to_nodes_that_are_not_there() {
    assert_eq!(lines(&scene(&[("p", "gone")], &[], &[]), NOW), [""; 0]);
}

#[test]
fn a_volume_goes_when_its_node_has_let_go_of_it() {
    let mut seen = scene(&[], &[attached("a", true)], &[("a", USES)]);
    assert_eq!(lines(&seen, NOW), [""; 0], "the node still has it mounted");
    assert_eq!(decide(&seen, NOW).again_after, None, "the node will say so");
    seen.nodes.insert("a".into(), WELL);
    assert_eq!(lines(&seen, NOW), ["detach from a"]);
    seen.attachments[0].is_going = true;
    assert_eq!(lines(&seen, NOW), [""; 0]);
}

#[test]
fn a_volume_that_is_gone_is_known_by_what_its_node_calls_it() {
    let (driver, handle) = ("d.example.com", "h^1");
    let mut seen = scene(&[], &[attached("a", true)], &[("a", USES)]);
    seen.attachments[0].name = attachment::object_name(driver, handle, "a");
    seen.source = None;
    let name = attachment::unique_name(driver, handle);
    assert!(seen.is_named(&name, "a") && !seen.is_named(&name, "b"));
    assert!(!seen.is_named("kubernetes.io/csi/d.example.com^h", "a") && !seen.is_named("other", "a"));
    assert_eq!(lines(&seen, NOW), [""; 0], "it is mounted");
}

#[test]
fn a_node_whose_object_is_gone_may_have_volumes_mounted() {
    let mut running = scene(&[("p", "a")], &[attached("a", true)], &[]);
    running.users[0].is_pending = false;
    assert_eq!(lines(&running, NOW + SignedDuration::from_hours(1)), [""; 0], "its pod is there");
    let mut gone = scene(&[], &[attached("a", true)], &[]);
    gone.unwanted_since.insert("a".into(), NOW);
    assert_eq!(lines(&gone, NOW), [""; 0]);
    assert_eq!(decide(&gone, NOW).again_after, Some(std::time::Duration::from_mins(6)));
    assert_eq!(lines(&gone, NOW + SignedDuration::from_mins(6)), ["detach from a"]);
}

#[test]
fn an_ill_node_keeps_a_volume_for_six_minutes() {
    let mut seen = scene(&[], &[attached("a", true)], &[("a", ILL)]);
    seen.unwanted_since.insert("a".into(), NOW);
    assert_eq!(lines(&seen, NOW + SignedDuration::from_secs(300)), [""; 0]);
    let again = decide(&seen, NOW + SignedDuration::from_secs(300)).again_after;
    assert_eq!(again, Some(std::time::Duration::from_secs(60)));
    assert_eq!(lines(&seen, NOW + SignedDuration::from_mins(6)), ["detach from a"]);
    seen.nodes.insert("a".into(), NodeState { is_out_of_service: true, ..ILL });
    assert_eq!(lines(&seen, NOW), ["detach from a"], "an administrator has said that it is off");
}

#[test]
fn a_volume_of_one_node_waits_for_the_other_and_says_why() {
    let mut seen = scene(&[("old", "a"), ("new", "b")], &[attached("a", true)], &[("a", USES), ("b", WELL)]);
    seen.users[0].is_pending = false;
    let told =
        "new: FailedAttachVolume: Multi-Attach error for volume \"pv\" Volume is already used by pod(s) old";
    assert_eq!(lines(&seen, NOW), [told]);
    seen.users[0].about.namespace = Some("other".into());
    let far = "new: FailedAttachVolume: Multi-Attach error for volume \"pv\" Volume is already used by 1 pod(s) in \
               different namespaces";
    assert_eq!(lines(&seen, NOW), [far]);
    seen.users.remove(0);
    let left = "new: FailedAttachVolume: Multi-Attach error for volume \"pv\" Volume is already exclusively attached \
                to one node and can't be attached to another";
    assert_eq!(lines(&seen, NOW), [left]);
    seen.source = source(false);
    assert_eq!(lines(&seen, NOW), ["attach to b"]);
}

#[test]
fn two_pods_of_two_nodes_get_one_attachment_of_an_exclusive_volume() {
    let nodes = [("a", WELL), ("b", WELL)];
    assert_eq!(lines(&scene(&[("p", "a"), ("q", "b")], &[], &nodes), NOW), ["attach to a"]);
    let mut shared = scene(&[("p", "a"), ("q", "b")], &[], &nodes);
    shared.source = source(false);
    assert_eq!(lines(&shared, NOW), ["attach to a", "attach to b"]);
}

#[test]
fn attachments_that_others_made_are_theirs() {
    let mut foreign = attached("a", true);
    foreign.name = "mine".into();
    assert_eq!(lines(&scene(&[], &[foreign], &[("a", WELL)]), NOW), [""; 0]);
}
