//! [`PodInfo`]: the properties of a pod that the rules use, read from its object once and shared between equal pods.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use api::selector::LabelSelector;
use informer::Key;
use k8s_openapi::api::core::v1::{ObjectReference, Pod, PodSpec, Toleration};
use pods::devices::PodClaim;
use pods::volumes::UsedClaim;
use pods::{Amounts, HostPort, NodeRequirements, Preference};

use crate::pool::Pool;
use crate::profile::{DEFAULT_NAME, Filter, Profile, Profiles};
use crate::relations::{Identity, Wishes};

/// What a pod requires of a node, independent of other pods; the same for all pods of one template.
#[derive(Debug, Clone, PartialEq)]
pub struct Needs {
    /// The rules that decide about the pod.
    pub profile: Arc<Profile>,
    pub priority: i32,
    pub can_preempt: bool,
    pub requests: Amounts,
    /// CPU (thousandths) and memory (bytes) with assumed minimums, for comparing nodes.
    pub nonzero: (i64, i64),
    pub host_ports: Vec<HostPort>,
    /// Node selector and required node affinity.
    pub nodes: NodeRequirements,
    pub preferred_nodes: Vec<Preference>,
    pub tolerations: Vec<Toleration>,
}

// A toleration has no hash of its own; equality is by all fields.
impl Eq for Needs {}

impl Hash for Needs {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.priority, &self.requests, self.nonzero, &self.host_ports, &self.nodes).hash(state);
    }
}

impl Needs {
    pub fn of(pod: &Pod, profile: &Arc<Profile>) -> Self {
        let none = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&none);
        Self {
            profile: Arc::clone(profile),
            priority: spec.priority.unwrap_or(0),
            can_preempt: profile.preempts && spec.preemption_policy.as_deref() != Some("Never"),
            requests: pods::requests(pod),
            nonzero: pods::nonzero_requests(pod),
            host_ports: pods::host_ports(pod),
            nodes: NodeRequirements::of(spec),
            preferred_nodes: [pods::preferences(spec), profile.preferred_nodes.clone()].concat(),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
        }
    }

    /// The names of the only nodes that can suit; `None` where nodes of any name can.
    pub fn only_nodes(&self) -> Option<Vec<&str>> {
        self.nodes.names().filter(|_| self.profile.filters.has(Filter::NodeAffinity))
    }

    pub fn tolerates(&self, key: &str, value: &str, effect: &str) -> bool {
        self.tolerations.iter().any(|t| pods::tolerates(t, key, value, effect))
    }
}

/// The claims that a pod's volumes use, in the volumes' order.
pub type Claims = Arc<[UsedClaim]>;

/// All properties of a pod that decisions depend on. Pods of equal shape are decided alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Shape {
    pub needs: Arc<Needs>,
    pub identity: Arc<Identity>,
    /// The pod's wishes about other pods, if it has any.
    pub wishes: Option<Arc<Wishes>>,
    /// The claims of the pod's volumes, if there are any.
    pub claims: Option<Claims>,
    /// The ResourceClaims that the pod lists, if there are any.
    pub devices: Option<Arc<[PodClaim]>>,
    pub images: Arc<Images>,
}

/// A pod as the scheduler sees it.
#[derive(Debug, Clone)]
pub struct PodInfo {
    pub key: Key,
    pub uid: Arc<str>,
    /// Of the specification.
    pub generation: Option<i64>,
    /// The version of the object that was read, for Events.
    pub resource_version: Option<String>,
    pub node_name: Option<Arc<str>>,
    pub shape: Shape,
    /// Whether the specification alone determines the pod's requests: no resize is under way.
    pub settled: bool,
}

/// The pool in which equal shapes are shared.
#[derive(Debug, Default)]
pub struct Shapes {
    pub profiles: Profiles,
    texts: Pool<str>,
    needs: Pool<Needs>,
    identities: Pool<Identity>,
    wishes: Pool<Wishes>,
    images: Pool<Images>,
}

/// The images that a pod uses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Images {
    /// As nodes name theirs; one for each container, and those that are volumes.
    pub names: Box<[Arc<str>]>,
    pub containers: usize,
}

impl Images {
    fn of(spec: Option<&PodSpec>, texts: &mut Pool<str>) -> Self {
        let containers =
            spec.into_iter().flat_map(|s| s.init_containers.iter().flatten().chain(&s.containers));
        let used: Vec<&str> =
            containers.map(|container| container.image.as_deref().unwrap_or_default()).collect();
        let volumes = spec.into_iter().flat_map(|spec| spec.volumes.iter().flatten());
        let mounted = volumes.filter_map(|volume| volume.image.as_ref()?.reference.as_deref());
        let containers = used.len();
        let names = used.into_iter().chain(mounted).map(|image| {
            // One without a tag or digest is the one tagged `latest`.
            let is_whole = image.rfind(':') > image.rfind('/');
            if is_whole { texts.text(image) } else { texts.text(&format!("{image}:latest")) }
        });
        Self { names: names.collect(), containers }
    }
}

impl Shape {
    /// The same of a pod that is placed: whom it was spread among by default is no matter any more.
    pub fn placed(&self) -> Self {
        let wishes = self.wishes.as_ref().filter(|wishes| !wishes.is_default_alone());
        Self { wishes: wishes.cloned(), ..self.clone() }
    }
}

impl Shapes {
    /// Shapes of pods that choose among these profiles.
    pub fn choosing(profiles: Profiles) -> Self {
        Self { profiles, ..Self::default() }
    }
}

impl PodInfo {
    /// A pod that shares no data with other pods.
    pub fn new(pod: &Pod) -> Self {
        Self::shared(pod, None, &mut Shapes::default())
    }

    /// A pod that shares its shape with all equal pods of `shapes`. `siblings`: those among whom it is spread unless it
    /// says something else.
    pub fn shared(pod: &Pod, siblings: Option<LabelSelector>, shapes: &mut Shapes) -> Self {
        let identity = Identity::of(pod, &mut shapes.texts);
        let spec = pod.spec.as_ref();
        let profile = spec.and_then(|spec| spec.scheduler_name.as_deref()).unwrap_or(DEFAULT_NAME);
        let profile = Arc::clone(shapes.profiles.of(profile));
        let spread = &profile.default_spread;
        let wishes = spec.and_then(|spec| Wishes::of(spec, &identity, spread, siblings, &mut shapes.texts));
        Self {
            key: Key { namespace: Arc::clone(&identity.namespace), ..Key::of(pod) },
            uid: Arc::from(pod.metadata.uid.as_deref().unwrap_or_default()),
            generation: pod.metadata.generation,
            resource_version: pod.metadata.resource_version.clone(),
            node_name: Some(pods::node_name(pod))
                .filter(|name| !name.is_empty())
                .map(|n| shapes.texts.text(n)),
            shape: Shape {
                needs: shapes.needs.share(Arc::new(Needs::of(pod, &profile))),
                identity: shapes.identities.share(Arc::new(identity)),
                wishes: wishes.map(|wishes| shapes.wishes.share(Arc::new(wishes))),
                claims: Some(pods::volumes::claims_of(pod)).filter(|used| !used.is_empty()).map(Into::into),
                devices: Some(pods::devices::claims_of(pod)).filter(|all| !all.is_empty()).map(Into::into),
                images: shapes.images.share(Arc::new(Images::of(spec, &mut shapes.texts))),
            },
            settled: pods::is_settled(pod),
        }
    }

    /// The rules that decide about the pod.
    pub fn profile(&self) -> &Arc<Profile> {
        &self.shape.needs.profile
    }

    pub fn priority(&self) -> i32 {
        self.shape.needs.priority
    }

    /// What an Event about the pod refers to.
    pub fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(self.key.name.to_string()),
            namespace: Some(self.key.namespace.to_string()),
            uid: Some(self.uid.to_string()),
            resource_version: self.resource_version.clone(),
            field_path: None,
        }
    }
}
