//! [`explain`]: why no node takes a pod: node by node the first rule that says no, and the smallest change that would
//! help. Pure, and made of the rules by which [`crate::cycle::decide`] decides, so that the two cannot disagree.
//!
//! What is kept for pods that are about to come (nominations) is not in the objects, and does not count here.

use std::fmt;

use informer::Cache;
use k8s_openapi::api::core::v1::{
    Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Taint, Toleration,
};
use k8s_openapi::api::storage::v1::StorageClass;
use pods::{Amounts, HostPort, NodeRequirements};

use crate::filters::check_named;
use crate::neighbours::Neighbours;
use crate::node::NodeInfo;
use crate::nodes::Nodes;
use crate::pod::{Needs, PodInfo};
use crate::storage::{Storage, Wanted};
use crate::verdict::{Rule, Verdict};

/// The objects that decisions depend on.
#[derive(Debug, Default)]
pub struct World {
    pub nodes: Vec<Node>,
    pub pods: Vec<Pod>,
    pub namespaces: Vec<Namespace>,
    pub claims: Vec<PersistentVolumeClaim>,
    pub volumes: Vec<PersistentVolume>,
    pub classes: Vec<StorageClass>,
}

/// A change of a pod or a node that removes one obstacle.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The node accepts pods again.
    Uncordon,
    Tolerate(Taint),
    /// The pod asks for less of a resource: thousandths of processors, bytes, or pieces.
    Lower {
        resource: String,
        from: i64,
        to: i64,
    },
    /// The pod's node selector and required node affinity are matched, by other labels of the node or without them.
    Match(String),
    /// The pod does without this port of the node.
    GiveUpPort(i32),
}

/// What a node says.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    pub node: String,
    /// The first rule's refusal, in the words of the pod's condition.
    pub reasons: Vec<String>,
    /// The figures and names behind the reasons.
    pub detail: String,
    /// The changes after which the node takes the pod; `None` where none of pod and node helps.
    pub remedy: Option<Vec<Change>>,
}

/// Why a pod has no node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Explanation {
    /// No node is looked at, and why.
    pub nowhere: Option<String>,
    /// The nodes that would take the pod now.
    pub takers: Vec<String>,
    pub refusals: Vec<Refusal>,
    /// What a node must have free, where nothing but room is missing.
    pub size: Option<String>,
}

impl Explanation {
    /// The node with the fewest changes, and of equals the one for which the pod gives up least.
    pub fn best(&self) -> Option<&Refusal> {
        let rank = |changes: &[Change]| {
            let given_up: f64 = changes.iter().map(Change::share).sum();
            (changes.len(), given_up)
        };
        let curable = self.refusals.iter().filter_map(|r| Some((rank(r.remedy.as_deref()?), r)));
        curable.min_by(|(a, _), (b, _)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))).map(|(_, refusal)| refusal)
    }
}

impl Change {
    /// How much of what it asks for the pod gives up, from 0 to 1.
    fn share(&self) -> f64 {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "only compared")]
            Self::Lower { from, to, .. } => 1.0 - *to as f64 / (*from).max(1) as f64,
            _ => 0.0,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uncordon => f.write_str("uncordon the node"),
            Self::Tolerate(taint) => write!(f, "tolerate the taint {}", written(taint)),
            Self::Lower { resource, from, to } => write!(
                f,
                "lower the request for {resource} from {} to {}",
                amount(resource, *from),
                amount(resource, *to)
            ),
            Self::Match(what) => f.write_str(what),
            Self::GiveUpPort(port) => write!(f, "do without host port {port}, which another pod has"),
        }
    }
}

/// `key=value:effect`, as kubectl writes taints.
fn written(taint: &Taint) -> String {
    let value = taint.value.as_deref().filter(|value| !value.is_empty());
    let value = value.map(|value| format!("={value}")).unwrap_or_default();
    format!("{}{value}:{}", taint.key, taint.effect)
}

/// An amount of a resource as a manifest has it.
fn amount(resource: &str, amount: i64) -> String {
    const MI: i64 = 1 << 20;
    match resource {
        "cpu" if amount % 1000 == 0 => (amount / 1000).to_string(),
        "cpu" => format!("{amount}m"),
        // What is free is seldom a whole number of mebibytes; a little less fits as well.
        "memory" | "ephemeral-storage" if amount >= MI => format!("{}Mi", amount / MI),
        _ => amount.to_string(),
    }
}

/// Explains why `pod` has no node in this world.
pub fn explain(pod: &Pod, world: &World) -> Explanation {
    let mut table = table(world);
    let pod_info = PodInfo::new(pod);
    table.attend(&pod_info.shape);
    let table = &table;
    let wanted = match table.storage.wanted(&pod_info) {
        Ok(wanted) => wanted,
        Err(why) => return Explanation { nowhere: Some(why), ..Explanation::default() },
    };
    if table.count() == 0 {
        let why = "no nodes available to schedule pods".to_owned();
        return Explanation { nowhere: Some(why), ..Explanation::default() };
    }
    let case = Case {
        pod,
        info: &pod_info,
        wanted: wanted.as_ref(),
        neighbours: Neighbours::of(&pod_info.shape, table),
    };
    let mut found = Explanation::default();
    let mut lacks_room_only = true;
    let present = table.slots().iter().enumerate().filter(|(_, node)| node.present);
    for (slot, node) in present {
        let verdict = case.check(&pod_info.shape.needs, node, slot);
        if verdict.fits() {
            found.takers.push(node.name.to_string());
            continue;
        }
        lacks_room_only &= verdict.rule() == Some(Rule::Resources);
        found.refusals.push(Refusal {
            node: node.name.to_string(),
            reasons: verdict.reasons(&pod_info.shape.needs),
            detail: case.detail(verdict, node),
            remedy: case.remedy(node, slot),
        });
    }
    found.size = lacks_room_only.then(|| size(&pod_info.shape.needs.requests));
    found
}

fn size(asked: &Amounts) -> String {
    let fixed = [
        ("cpu", asked.cpu_milli),
        ("memory", asked.memory_bytes),
        ("ephemeral-storage", asked.ephemeral_bytes),
    ];
    let all = fixed.into_iter().chain(asked.scalar.iter().map(|(name, asked)| (name.as_str(), *asked)));
    let named =
        all.filter(|(_, asked)| *asked > 0).map(|(name, asked)| format!("{} {name}", amount(name, asked)));
    named.collect::<Vec<_>>().join(", ")
}

fn table(world: &World) -> Nodes {
    let (claims, volumes, classes) = (Cache::new(), Cache::new(), Cache::new());
    world.claims.iter().for_each(|claim| claims.apply(claim.clone()));
    world.volumes.iter().for_each(|volume| volumes.apply(volume.clone()));
    world.classes.iter().for_each(|class| classes.apply(class.clone()));
    let mut nodes = Nodes::default();
    nodes.storage = Storage::over(claims, volumes, classes);
    for namespace in &world.namespaces {
        let labels = namespace.metadata.labels.clone().unwrap_or_default();
        nodes.set_namespace(namespace.metadata.name.as_deref().unwrap_or_default(), Some(labels));
    }
    for node in &world.nodes {
        nodes.set_node(node);
    }
    let placed = |pod: &&Pod| !pods::node_name(pod).is_empty() && !pods::is_terminal(pod);
    for pod in world.pods.iter().filter(placed) {
        nodes.place(&PodInfo::new(pod), pods::node_name(pod));
    }
    nodes
}

/// One pod that is to be placed.
struct Case<'a> {
    pod: &'a Pod,
    info: &'a PodInfo,
    wanted: Option<&'a Wanted<'a>>,
    neighbours: Neighbours<'a>,
}

impl Case<'_> {
    /// The first rule's refusal, in the order of [`crate::cycle`].
    fn check(&self, needs: &Needs, node: &NodeInfo, slot: usize) -> Verdict {
        let mut verdict = check_named(needs, self.info.node_name.as_deref(), node);
        if verdict.fits()
            && let Some(wanted) = self.wanted
        {
            verdict = wanted.check(node);
        }
        if verdict.fits() { self.neighbours.check(slot) } else { verdict }
    }

    /// Removes one obstacle after the other, as long as changes of the pod or the node do.
    fn remedy(&self, node: &NodeInfo, slot: usize) -> Option<Vec<Change>> {
        let (mut needs, mut node) = (Needs::clone(&self.info.shape.needs), node.clone());
        let mut changes = Vec::new();
        loop {
            match self.check(&needs, &node, slot).rule() {
                None => return Some(changes),
                Some(Rule::Unschedulable) => {
                    node.unschedulable = false;
                    // The taint goes with it.
                    let stays = |taint: &&Taint| taint.key != "node.kubernetes.io/unschedulable";
                    node.taints = node.taints.iter().filter(stays).cloned().collect();
                    changes.push(Change::Uncordon);
                }
                Some(Rule::Taints) => {
                    for taint in untolerated(&needs, &node) {
                        needs.tolerations.push(Toleration {
                            key: Some(taint.key.clone()),
                            operator: Some("Exists".to_owned()),
                            effect: Some(taint.effect.clone()),
                            ..Toleration::default()
                        });
                        changes.push(Change::Tolerate(taint));
                    }
                }
                Some(Rule::NodeAffinity) => {
                    needs.nodes = NodeRequirements::default();
                    changes.push(Change::Match(self.unmatched(&node)));
                }
                Some(Rule::Ports) => {
                    let taken = taken_port(&needs, &node)?;
                    needs.host_ports.retain(|port| *port != taken);
                    changes.push(Change::GiveUpPort(taken.port));
                }
                Some(Rule::Resources) => changes.extend(lower(&mut needs, &node)?),
                // Other pods, and volumes that are where they are.
                Some(_) => return None,
            }
        }
    }

    /// The figures and names behind a refusal.
    fn detail(&self, verdict: Verdict, node: &NodeInfo) -> String {
        let needs = &self.info.shape.needs;
        match verdict.rule() {
            Some(Rule::Taints) => {
                let taints: Vec<String> = untolerated(needs, node).iter().map(written).collect();
                taints.join(", ")
            }
            Some(Rule::NodeAffinity) => self.missing(node).join(", "),
            Some(Rule::Ports) => taken_port(needs, node)
                .map(|port| format!("host port {} is taken", port.port))
                .unwrap_or_default(),
            Some(Rule::Resources) => {
                let short = shortages(needs, node);
                let text = |(resource, asked, free, of): &(String, i64, i64, i64)| {
                    let shown = |number: i64| amount(resource, number);
                    format!(
                        "{} of {resource} asked for, {} of {} free",
                        shown(*asked),
                        shown(*free),
                        shown(*of)
                    )
                };
                let mut parts: Vec<String> = short.iter().map(text).collect();
                if node.pods + 1 > node.allowed_pods {
                    parts.push(format!("it has {} pods, and takes {}", node.pods, node.allowed_pods));
                }
                parts.join("; ")
            }
            _ => String::new(),
        }
    }

    /// What the node's labels lack of the pod's node selector and node affinity.
    fn missing(&self, node: &NodeInfo) -> Vec<String> {
        let selector = self.pod.spec.iter().flat_map(|spec| spec.node_selector.iter().flatten());
        let lacking = selector.filter(|(key, value)| node.label(key) != Some(value.as_str()));
        let mut missing: Vec<String> = lacking
            .map(|(key, value)| match node.label(key) {
                Some(other) => format!("{key} is {other}, not {value}"),
                None => format!("it has no label {key}={value}"),
            })
            .collect();
        if missing.is_empty() {
            missing.push("its labels do not match the required node affinity".to_owned());
        }
        missing
    }

    fn unmatched(&self, node: &NodeInfo) -> String {
        let selector = self.pod.spec.iter().flat_map(|spec| spec.node_selector.iter().flatten());
        let lacking = selector.filter(|(key, value)| node.label(key) != Some(value.as_str()));
        let labels: Vec<String> = lacking.map(|(key, value)| format!("{key}={value}")).collect();
        if labels.is_empty() {
            "change the required node affinity, or the node's labels to match it".to_owned()
        } else {
            format!("label the node {}", labels.join(" "))
        }
    }
}

/// The taints that keep the pod away.
fn untolerated(needs: &Needs, node: &NodeInfo) -> Vec<Taint> {
    let repelling = node.taints.iter().filter(|t| t.effect == "NoSchedule" || t.effect == "NoExecute");
    let tolerated = |taint: &&Taint| !needs.tolerations.iter().any(|t| pods::tolerates_taint(t, taint));
    repelling.filter(tolerated).cloned().collect()
}

fn taken_port(needs: &Needs, node: &NodeInfo) -> Option<HostPort> {
    needs.host_ports.iter().find(|port| node.ports.iter().any(|held| held.clashes(port))).cloned()
}

/// Resource, what is asked for, what is free, and what there is in all.
fn shortages(needs: &Needs, node: &NodeInfo) -> Vec<(String, i64, i64, i64)> {
    let short = pods::shortages(&needs.requests, &node.allocatable, &node.requested);
    short.map(|s| (s.resource.to_owned(), s.requested, (s.capacity - s.used).max(0), s.capacity)).collect()
}

/// Lowers what the pod asks for to what is free; `None` where nothing is free, or pods are too many.
fn lower(needs: &mut Needs, node: &NodeInfo) -> Option<Vec<Change>> {
    let short = shortages(needs, node);
    if short.is_empty() || short.iter().any(|(_, _, free, _)| *free == 0) {
        return None;
    }
    let lowered = short.into_iter().map(|(resource, from, to, _)| {
        set(&mut needs.requests, &resource, to);
        Change::Lower { resource, from, to }
    });
    Some(lowered.collect())
}

fn set(amounts: &mut Amounts, resource: &str, to: i64) {
    match resource {
        "cpu" => amounts.cpu_milli = to,
        "memory" => amounts.memory_bytes = to,
        "ephemeral-storage" => amounts.ephemeral_bytes = to,
        other => {
            amounts.scalar.insert(other.to_owned(), to);
        }
    }
}

#[cfg(test)]
mod tests;
