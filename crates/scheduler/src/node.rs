//! [`NodeInfo`]: a node and the sums of its placed pods.

use std::sync::Arc;

use api::quantity::Quantity;
use k8s_openapi::api::core::v1::{Node, Taint};
use pods::{Amounts, HostPort};

use crate::pod::Needs;
use crate::pool::Pool;

/// Sizes of images in bytes, by all their names; sorted.
pub type Images = Box<[(Arc<str>, i64)]>;

/// A node and what is placed on it.
#[derive(Debug, Clone)]
pub struct NodeInfo {
    pub name: Arc<str>,
    /// Whether the node object exists; pods may be known before their node is.
    pub present: bool,
    /// Sorted by key.
    labels: Box<[(Arc<str>, Arc<str>)]>,
    pub taints: Box<[Taint]>,
    pub unschedulable: bool,
    images: Images,
    /// Shared by equal nodes.
    pub allocatable: Arc<Amounts>,
    pub allowed_pods: i64,
    pub requested: Amounts,
    /// CPU and memory with assumed minimums.
    pub nonzero: (i64, i64),
    pub pods: i64,
    pub ports: Vec<HostPort>,
    /// The priorities of its pods, lowest first, and how many pods have them.
    priorities: Vec<(i32, u32)>,
}

/// Which of a node's own properties changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Aspects {
    /// The node was not there before.
    pub presence: bool,
    pub labels: bool,
    pub taints: bool,
    pub cordon: bool,
    pub capacity: bool,
}

impl Aspects {
    pub fn any(self) -> bool {
        self != Self::default()
    }
}

impl NodeInfo {
    pub fn named(name: Arc<str>) -> Self {
        Self {
            name,
            present: false,
            labels: Box::default(),
            taints: Box::default(),
            images: Box::default(),
            unschedulable: false,
            allocatable: Arc::default(),
            allowed_pods: 0,
            requested: Amounts::default(),
            nonzero: (0, 0),
            pods: 0,
            ports: Vec::new(),
            priorities: Vec::new(),
        }
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        self.shared_label(key).map(|value| &**value)
    }

    pub fn shared_label(&self, key: &str) -> Option<&Arc<str>> {
        let at = self.labels.binary_search_by(|(held, _)| (**held).cmp(key)).ok()?;
        Some(&self.labels[at].1)
    }

    /// Takes over the properties of the object; returns which of them changed.
    pub fn learn(&mut self, node: &Node, texts: &mut Pool<str>, amounts: &mut Pool<Amounts>) -> Aspects {
        let spec = node.spec.as_ref();
        let mut changed = Aspects { presence: !self.present, ..Aspects::default() };
        self.present = true;
        let labels = || node.metadata.labels.iter().flatten();
        if !self.labels.iter().map(|(k, v)| (&**k, &**v)).eq(labels().map(|(k, v)| (&**k, &**v))) {
            self.labels = labels().map(|(key, value)| (texts.text(key), texts.text(value))).collect();
            changed.labels = true;
        }
        let taints = spec.and_then(|s| s.taints.as_deref()).unwrap_or_default();
        if *self.taints != *taints {
            self.taints = taints.into();
            changed.taints = true;
        }
        let unschedulable = spec.and_then(|s| s.unschedulable).unwrap_or(false);
        if self.unschedulable != unschedulable {
            self.unschedulable = unschedulable;
            changed.cordon = true;
        }
        let allocatable = node.status.as_ref().and_then(|s| s.allocatable.as_ref());
        let allowed = allocatable.and_then(|list| list.get("pods")?.0.parse::<Quantity>().ok());
        let allowed_pods = allowed.map_or(0, |quantity| quantity.value());
        let allocatable = allocatable.map(Amounts::from_list).unwrap_or_default();
        if *self.allocatable != allocatable || self.allowed_pods != allowed_pods {
            self.allocatable = amounts.share(Arc::new(allocatable));
            self.allowed_pods = allowed_pods;
            changed.capacity = true;
        }
        changed
    }

    /// Takes over the images of the object; returns those it had before if they are others now. No decision that is
    /// remembered goes by them.
    pub fn learn_images(&mut self, node: &Node, texts: &mut Pool<str>) -> Option<Images> {
        let images = node.status.iter().flat_map(|status| status.images.iter().flatten());
        let named = images.flat_map(|image| {
            let size = image.size_bytes.unwrap_or(0);
            image.names.iter().flatten().map(move |name| (name.as_str(), size))
        });
        let mut named: Vec<(&str, i64)> = named.collect();
        named.sort_unstable();
        named.dedup_by_key(|(name, _)| *name);
        let held = self.images.iter().map(|(name, size)| (&**name, *size));
        if held.eq(named.iter().copied()) {
            return None;
        }
        let learned = named.into_iter().map(|(name, size)| (texts.text(name), size)).collect();
        Some(std::mem::replace(&mut self.images, learned))
    }

    /// The images it has, by all their names.
    pub fn images(&self) -> impl Iterator<Item = &Arc<str>> {
        self.images.iter().map(|(name, _)| name)
    }

    /// The size of an image in bytes; `None` for one that it has not.
    pub fn image_size(&self, name: &str) -> Option<i64> {
        let at = self.images.binary_search_by(|(held, _)| (**held).cmp(name)).ok()?;
        Some(self.images[at].1)
    }

    /// A pod is placed here.
    pub fn take(&mut self, pod: &Needs) {
        self.requested.add(&pod.requests);
        self.nonzero.0 += pod.nonzero.0;
        self.nonzero.1 += pod.nonzero.1;
        self.pods += 1;
        self.ports.extend(pod.host_ports.iter().cloned());
        match self.priorities.binary_search_by_key(&pod.priority, |(priority, _)| *priority) {
            Ok(at) => self.priorities[at].1 += 1,
            Err(at) => self.priorities.insert(at, (pod.priority, 1)),
        }
    }

    /// Subtracts what a pod used on this node.
    pub fn give_back(&mut self, pod: &Needs) {
        self.requested.subtract(&pod.requests);
        self.nonzero.0 -= pod.nonzero.0;
        self.nonzero.1 -= pod.nonzero.1;
        self.pods -= 1;
        for port in &pod.host_ports {
            if let Some(at) = self.ports.iter().position(|held| held == port) {
                self.ports.swap_remove(at);
            }
        }
        if let Ok(at) = self.priorities.binary_search_by_key(&pod.priority, |(priority, _)| *priority) {
            self.priorities[at].1 -= 1;
            if self.priorities[at].1 == 0 {
                self.priorities.remove(at);
            }
        }
    }

    /// Whether a pod of a lower priority is placed here.
    pub fn has_pods_below(&self, priority: i32) -> bool {
        self.priorities.first().is_some_and(|(lowest, _)| *lowest < priority)
    }
}
