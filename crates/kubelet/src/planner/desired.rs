//! A pod's specification, in the form that the planner works with.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerRestartRule, EphemeralContainer, Pod, PodSpec, ResourceRequirements,
};

use crate::allocation::PendingResize;
use crate::resources;

/// The part a container plays in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container that keeps running beside the app (`restartPolicy: Always`, KEP-753).
    Sidecar,
    App,
    /// Added to a running pod for debugging; started once.
    Ephemeral,
}

/// When an ended container is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

impl RestartPolicy {
    /// Anything but the three names counts as `Always`, the API's default.
    pub fn parse(text: Option<&str>) -> Self {
        match text {
            Some("OnFailure") => Self::OnFailure,
            Some("Never") => Self::Never,
            _ => Self::Always,
        }
    }
}

/// A container of the pod with its part in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    pub role: Role,
    pub spec: Container,
    /// Tells whether a running container still matches: made of name and image.
    pub hash: String,
    /// What it was granted of the machine, as text; the running one carries as an annotation what it was made with.
    pub resources: String,
}

/// The pod shall end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deletion {
    /// How long its processes may take, in seconds; at least 1.
    pub grace_s: i64,
}

/// A pod as it should be.
#[derive(Debug, Clone)]
pub struct Desired {
    /// With the resources that the node has granted.
    pub pod: Arc<Pod>,
    /// The specification asks for other resources, and why they are not granted.
    pub pending_resize: Option<PendingResize>,
    pub members: Vec<Member>,
    pub restart_policy: RestartPolicy,
    pub host_network: bool,
    pub deletion: Option<Deletion>,
    /// The object is no longer in the API: nothing is reported any more.
    pub gone: bool,
    /// The node has not taken the pod on: nothing of it ever runs here.
    pub refusal: Option<Rejection>,
    /// The pod must not run here any more.
    pub eviction: Option<Eviction>,
    /// The node's addresses, primary first.
    pub host_ips: Vec<String>,
    /// The pod's own addresses in the node's network: those that the node had first.
    pub own_ips: Vec<String>,
    /// The scheme of container ids: the runtime's name.
    pub runtime_name: String,
}

/// Why the node refuses a pod or ends it for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub reason: String,
    pub message: String,
}

/// That the node ends a pod for its own sake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eviction {
    pub why: Rejection,
    /// The longest the pod may take, in seconds; its own grace period where nothing is said.
    pub grace_s: Option<i64>,
    /// What the condition `DisruptionTarget` says; `None` where the pod did something wrong.
    pub disruption: Option<String>,
    /// What upstream's metrics call the cause, where they count it.
    pub signal: Option<&'static str>,
    /// A more important pod needs the room: critical pods are ended too.
    pub is_for_other: bool,
}

impl From<Rejection> for Eviction {
    fn from(why: Rejection) -> Self {
        Self { why, grace_s: None, disruption: None, signal: None, is_for_other: false }
    }
}

/// Why a pod has to give way to a critical one.
const PREEMPTED: &str = "Preempted in order to admit critical pod";
const PREEMPTED_TOLD: &str = "Pod was preempted by Kubelet to accommodate a critical pod.";

impl Eviction {
    /// The pod gives way to a critical one, within its own grace period.
    pub fn preemption() -> Self {
        let why = Rejection { reason: "Preempting".to_owned(), message: PREEMPTED.to_owned() };
        let disruption = Some(PREEMPTED_TOLD.to_owned());
        Self { disruption, is_for_other: true, ..Self::from(why) }
    }
}

impl Eviction {
    /// How long containers of the pod may take to end for it, in seconds, at least 1.
    pub fn grace_of(&self, pod: &Pod) -> i64 {
        let own_s = own_grace_s(pod);
        self.grace_s.map_or(own_s, |longest| own_s.min(longest.max(1)))
    }

    /// Another eviction of the same pod: the shorter grace counts. The reason stays, unless the later one alone ends
    /// critical pods too. Whether the grace is shorter than before.
    pub fn hurry(&mut self, later: &Self) -> bool {
        let is_shorter =
            later.grace_s.is_some_and(|later| self.grace_s.is_none_or(|longest| later < longest));
        if later.is_for_other && !self.is_for_other {
            *self = Self { grace_s: self.grace_s, ..later.clone() };
        }
        if is_shorter {
            self.grace_s = later.grace_s;
        }
        is_shorter
    }
}

/// How long a pod that is deleted may take to end, in seconds, at least 1; `None` for one that stays.
pub fn deletion_grace_s(pod: &Pod) -> Option<i64> {
    pod.metadata.deletion_timestamp.as_ref()?;
    Some(
        pod.metadata.deletion_grace_period_seconds.map_or_else(|| own_grace_s(pod), |seconds| seconds.max(1)),
    )
}

fn own_grace_s(pod: &Pod) -> i64 {
    pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30).max(1)
}

impl Desired {
    pub fn new(pod: Arc<Pod>, gone: bool, host_ips: Vec<String>, runtime_name: String) -> Self {
        let empty = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&empty);
        // Gone without having been asked to end: it was deleted by force.
        let told_s = pod.metadata.deletion_grace_period_seconds;
        let deletion = match deletion_grace_s(&pod) {
            Some(grace_s) if !gone || told_s.is_some() => Some(Deletion { grace_s }),
            _ => gone.then_some(Deletion { grace_s: 1 }),
        };
        Self {
            members: members(spec),
            restart_policy: RestartPolicy::parse(spec.restart_policy.as_deref()),
            host_network: spec.host_network.unwrap_or(false),
            deletion,
            gone,
            refusal: None,
            eviction: None,
            own_ips: if spec.host_network == Some(true) { host_ips.clone() } else { Vec::new() },
            host_ips,
            runtime_name,
            pending_resize: None,
            pod,
        }
    }

    /// A pod in the node's network keeps its addresses while the node agent runs, as upstream's does.
    pub fn keep_own_ips(&mut self, before: &Self) {
        if !before.own_ips.is_empty() {
            self.own_ips.clone_from(&before.own_ips);
        }
    }

    pub fn spec(&self) -> Option<&PodSpec> {
        self.pod.spec.as_ref()
    }

    pub fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    pub fn name(&self) -> &str {
        self.pod.metadata.name.as_deref().unwrap_or_default()
    }

    pub fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// How long containers may take to end now, in seconds, at least 1.
    pub fn ending_grace_s(&self) -> i64 {
        let evicted =
            self.eviction.as_ref().filter(|eviction| self.deletion.is_none() || eviction.grace_s.is_some());
        let deleted = self.deletion.map(|deletion| deletion.grace_s);
        let told = deleted.into_iter().chain(evicted.map(|eviction| eviction.grace_of(&self.pod)));
        told.min().unwrap_or_else(|| self.grace_s())
    }

    /// The pod's own grace period in seconds, at least 1, whatever a deletion asked for.
    pub fn grace_s(&self) -> i64 {
        own_grace_s(&self.pod)
    }

    pub fn with_role(&self, role: Role) -> impl DoubleEndedIterator<Item = &Member> {
        self.members.iter().filter(move |m| m.role == role)
    }

    /// Init containers and sidecars in the order they start.
    pub fn initial(&self) -> impl DoubleEndedIterator<Item = &Member> {
        self.members.iter().filter(|m| matches!(m.role, Role::Init | Role::Sidecar))
    }

    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|m| m.spec.name == name)
    }

    /// The moment the pod's deadline ends, counted from `started_at`.
    pub fn deadline(&self, started_at: Timestamp) -> Option<Timestamp> {
        let seconds = self.spec()?.active_deadline_seconds?;
        started_at.checked_add(jiff::SignedDuration::from_secs(seconds)).ok()
    }

    /// Whether a container that ended with `code` is started again (container rules first, KEP-5307).
    pub fn restarts(&self, member: &Member, code: i32) -> bool {
        match member.role {
            Role::Sidecar => return true,
            Role::Ephemeral => return false,
            Role::Init | Role::App => {}
        }
        if matches!(rule(member, code), Some("Restart" | RESTART_ALL)) {
            return true;
        }
        let policy = match member.spec.restart_policy.as_deref() {
            Some(own) => RestartPolicy::parse(Some(own)),
            None => self.restart_policy,
        };
        match (policy, member.role) {
            (RestartPolicy::Never, _) => false,
            (RestartPolicy::Always, Role::App) => true,
            (RestartPolicy::Always | RestartPolicy::OnFailure, _) => code != 0,
        }
    }

    /// Whether a container may have all of its pod restart.
    pub fn may_restart_all(&self) -> bool {
        let rules = self.members.iter().flat_map(|m| m.spec.restart_policy_rules.iter().flatten());
        rules.into_iter().any(|rule| rule.action == RESTART_ALL)
    }

    /// Whether all containers restart because this one ended with `code`.
    pub fn restarts_all(&self, member: &Member, code: i32) -> bool {
        rule(member, code) == Some(RESTART_ALL)
    }
}

/// The action of a rule by which one container restarts all of its pod (KEP-5532).
const RESTART_ALL: &str = "RestartAllContainers";

/// The action of the first of a container's own rules that is about an exit code.
fn rule(member: &Member, code: i32) -> Option<&str> {
    let is_about = |rule: &&ContainerRestartRule| {
        rule.exit_codes.as_ref().is_some_and(|codes| {
            let is_listed = codes.values.iter().flatten().any(|value| *value == code);
            is_listed == (codes.operator == "In")
        })
    };
    let rule = member.spec.restart_policy_rules.iter().flatten().find(is_about)?;
    Some(rule.action.as_str())
}

fn members(spec: &PodSpec) -> Vec<Member> {
    let member = |role, container| member(role, container, spec.resources.as_ref());
    let initial = spec
        .init_containers
        .iter()
        .flatten()
        .map(|c| member(if pods::is_sidecar(c) { Role::Sidecar } else { Role::Init }, c.clone()));
    let apps = spec.containers.iter().map(|c| member(Role::App, c.clone()));
    let ephemeral =
        spec.ephemeral_containers.iter().flatten().map(|c| member(Role::Ephemeral, as_container(c)));
    initial.chain(apps).chain(ephemeral).collect()
}

fn member(role: Role, spec: Container, whole: Option<&ResourceRequirements>) -> Member {
    let hash = container_hash(&spec);
    let resources = resources::text(spec.resources.as_ref(), whole);
    Member { role, spec, hash, resources }
}

/// What [`Member::hash`] is for this container; the running one carries it as an annotation.
pub fn container_hash(spec: &Container) -> String {
    format!("{:016x}", fnv1a(&[&spec.name, spec.image.as_deref().unwrap_or_default()]))
}

/// FNV-1a over length-prefixed parts: stable across versions of this program, unlike the standard hasher.
fn fnv1a(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut eat = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    for part in parts {
        (part.len() as u64).to_le_bytes().into_iter().for_each(&mut eat);
        part.bytes().for_each(&mut eat);
    }
    hash
}

/// An ephemeral container with the fields it shares with ordinary ones.
fn as_container(c: &EphemeralContainer) -> Container {
    let c = c.clone();
    Container {
        args: c.args,
        command: c.command,
        env: c.env,
        env_from: c.env_from,
        image: c.image,
        image_pull_policy: c.image_pull_policy,
        name: c.name,
        resources: c.resources,
        security_context: c.security_context,
        stdin: c.stdin,
        stdin_once: c.stdin_once,
        termination_message_path: c.termination_message_path,
        termination_message_policy: c.termination_message_policy,
        tty: c.tty,
        volume_devices: c.volume_devices,
        volume_mounts: c.volume_mounts,
        working_dir: c.working_dir,
        ..Container::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_of_the_nodes_network_keeps_its_address_when_the_nodes_changes() {
        let want = |spec: serde_json::Value, ip: &[&str]| {
            let pod =
                serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).expect("a pod");
            let ips = ip.iter().map(|ip| (*ip).to_owned()).collect();
            Desired::new(Arc::new(pod), false, ips, "knarr".into())
        };
        let of_node = || json!({"hostNetwork": true, "containers": []});
        let mut moved = want(of_node(), &["203.0.113.7"]);
        moved.keep_own_ips(&want(of_node(), &["192.0.2.1"]));
        assert_eq!((moved.host_ips, moved.own_ips), (vec!["203.0.113.7".into()], vec!["192.0.2.1".into()]));
        let mut first = want(of_node(), &["203.0.113.7"]);
        first.keep_own_ips(&want(of_node(), &[]));
        assert_eq!(first.own_ips, ["203.0.113.7"], "there was none");
        assert_eq!(want(json!({"containers": []}), &["192.0.2.1"]).own_ips, [""; 0], "of the pods' network");
    }
}
