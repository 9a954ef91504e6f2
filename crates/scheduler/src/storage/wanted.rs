//! [`Wanted`]: what one pod's volumes ask of a node. Pure.

use std::sync::Arc;

use informer::Key;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use pods::NodeSelector;
use pods::volumes::{self, Search, attachment};

use super::Storage;
use crate::node::NodeInfo;
use crate::pod::{Claims, PodInfo};
use crate::verdict::{Rule, Verdict};

/// The labels by which a volume says in which zones it is.
const ZONES: [&str; 4] = [
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
];
/// Between the zones of a volume that is in several.
const ZONE_SEPARATOR: &str = "__";

/// A claim without a volume, whose class waits for its first consumer.
struct Waiting {
    key: Key,
    claim: Arc<PersistentVolumeClaim>,
    class: Arc<StorageClass>,
    /// The node that was chosen for the claim before.
    node: Option<Box<str>>,
    /// The volume that another pod's decision gives the claim.
    volume: Option<Arc<PersistentVolume>>,
    /// Volumes that the claim could have.
    candidates: Vec<Arc<PersistentVolume>>,
}

/// See the module's documentation.
pub struct Wanted<'s> {
    storage: &'s Storage,
    bound: Vec<Arc<PersistentVolume>>,
    /// The volume of a bound claim is not there.
    lacks_volume: bool,
    waiting: Vec<Waiting>,
    /// A pod with a node uses a claim that only one pod may use.
    is_taken: bool,
}

/// Which volumes a pod's claims get on a node.
#[derive(Debug, Clone, Default)]
pub struct Choices {
    /// Claims and the volumes that are there for them.
    pub volumes: Vec<(Key, Arc<PersistentVolume>)>,
    /// Claims whose volumes are to be made on the node.
    pub to_make: Vec<Key>,
}

impl Choices {
    /// Whether something is to be written before the pod is bound, or waited for.
    pub fn is_empty(&self) -> bool {
        self.volumes.is_empty() && self.to_make.is_empty()
    }
}

impl<'s> Wanted<'s> {
    pub(super) fn of(storage: &'s Storage, pod: &PodInfo, claims: &Claims) -> Result<Self, String> {
        let mut wanted =
            Self { storage, bound: Vec::new(), lacks_volume: false, waiting: Vec::new(), is_taken: false };
        let mut has_immediate = false;
        for used in claims.iter() {
            let name = &*used.name;
            let key = Key::new(&pod.key.namespace, name);
            let Some(claim) = storage.claims.get_key(&key) else {
                return Err(if used.is_ephemeral {
                    format!(
                        "waiting for ephemeral volume controller to create the persistentvolumeclaim {name:?}"
                    )
                } else {
                    format!("persistentvolumeclaim {name:?} not found")
                });
            };
            let volume = volumes::volume_name(&claim);
            if claim.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Lost")) {
                return Err(format!(
                    "persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume:?}"
                ));
            }
            if claim.metadata.deletion_timestamp.is_some() {
                return Err(format!("persistentvolumeclaim {name:?} is being deleted"));
            }
            if used.is_ephemeral && !volumes::is_of_pod(&claim, &pod.uid) {
                let Key { namespace, name: pod } = &pod.key;
                return Err(format!(
                    "PVC {namespace}/{name} was not created for pod {namespace}/{pod} (pod is not owner)"
                ));
            }
            wanted.is_taken |= is_for_one_pod(&claim) && storage.is_used(&key);
            if volumes::is_fully_bound(&claim) {
                match storage.volumes.get("", volume) {
                    Some(volume) => wanted.bound.push(volume),
                    None => wanted.lacks_volume = true,
                }
                continue;
            }
            let class = storage.classes.get("", volumes::class_of_claim(&claim));
            match class.filter(|class| volumes::is_delayed(class) && volume.is_empty()) {
                Some(class) => wanted.waiting.push(storage.waiting(key, claim, class)),
                None => has_immediate = true,
            }
        }
        if has_immediate {
            return Err("pod has unbound immediate PersistentVolumeClaims".to_owned());
        }
        // The smallest first, so that each gets what suits it.
        wanted.waiting.sort_by_cached_key(|waiting| volumes::requested(&waiting.claim));
        Ok(wanted)
    }

    /// Whether the pod can have its volumes on the node.
    pub fn check(&self, node: &NodeInfo) -> Verdict {
        if self.is_taken {
            return Verdict::no(Rule::ClaimTaken);
        }
        if self.lacks_volume {
            return Verdict::no(Rule::VolumeGone);
        }
        if !self.bound.iter().all(|volume| reaches(volume, node)) {
            return Verdict::no(Rule::VolumeElsewhere);
        }
        if self.choose(node).is_none() {
            return Verdict::no(Rule::NoVolume);
        }
        if !self.bound.iter().all(|volume| is_in_zone(volume, node)) {
            return Verdict::no(Rule::VolumeZone);
        }
        if self.storage.exceeds(node, self.asked()) {
            return Verdict::no(Rule::TooManyVolumes);
        }
        if !self.has_space(node) {
            return Verdict::no(Rule::NoSpace);
        }
        Verdict::FITS
    }

    /// The volumes of drivers that the pod would bring along: driver and volume. Of a claim that has none yet the class
    /// names the driver, and the claim stands for the volume.
    fn asked(&self) -> impl Iterator<Item = (String, String)> {
        let bound = self.bound.iter().filter_map(|volume| {
            let (driver, handle) = attachment::driver_of(volume)?;
            Some((driver.to_owned(), handle.to_owned()))
        });
        let waiting = self.waiting.iter().map(|waiting| match &waiting.volume {
            Some(volume) => {
                attachment::driver_of(volume).map(|(driver, handle)| (driver.to_owned(), handle.to_owned()))
            }
            None => Some((
                waiting.class.provisioner.clone(),
                format!("{}/{}", waiting.key.namespace, waiting.key.name),
            )),
        });
        bound.chain(waiting.flatten())
    }

    /// Whether there is room for every volume that would be made on the node.
    fn has_space(&self, node: &NodeInfo) -> bool {
        let Some(choices) = self.choose(node) else { return true };
        let made = self.waiting.iter().filter(|waiting| choices.to_make.contains(&waiting.key));
        made.filter(|waiting| waiting.node.is_none())
            .all(|waiting| self.storage.limits.has_space(&waiting.class, &waiting.claim, node))
    }

    /// The volumes that the pod's claims get on the node; `None` if a claim gets none.
    pub fn choose(&self, node: &NodeInfo) -> Option<Choices> {
        let mut choices = Choices::default();
        for waiting in &self.waiting {
            if waiting.node.as_deref().is_some_and(|chosen| *chosen != *node.name) {
                return None;
            }
            if let Some(volume) = &waiting.volume {
                if !reaches(volume, node) {
                    return None;
                }
                choices.volumes.push((waiting.key.clone(), Arc::clone(volume)));
                continue;
            }
            // One that a node was chosen for gets a volume made there.
            let found = if waiting.node.is_none() { self.find(waiting, node, &choices) } else { None };
            match found {
                Some(volume) => choices.volumes.push((waiting.key.clone(), Arc::clone(volume))),
                None if is_made_on(&waiting.class, node) => choices.to_make.push(waiting.key.clone()),
                None => return None,
            }
        }
        Some(choices)
    }

    fn find<'w>(
        &self,
        waiting: &'w Waiting,
        node: &NodeInfo,
        choices: &Choices,
    ) -> Option<&'w Arc<PersistentVolume>> {
        let is_free = |volume: &PersistentVolume| {
            let name = volume.metadata.name.as_deref().unwrap_or_default();
            let is_name = |held: &PersistentVolume| held.metadata.name.as_deref() == Some(name);
            !choices.volumes.iter().any(|(_, chosen)| is_name(chosen))
                && !self.storage.assumed.values().any(|held| held.volume.as_deref() == Some(name))
        };
        let fits = |volume: &PersistentVolume| is_free(volume) && reaches(volume, node);
        volumes::best_match(&waiting.claim, waiting.candidates.iter(), Search::On(&fits))
    }
}

impl Storage {
    fn waiting(&self, key: Key, claim: Arc<PersistentVolumeClaim>, class: Arc<StorageClass>) -> Waiting {
        let assumed = self.assumed.get(&key);
        let selected = volumes::annotation(&claim.metadata.annotations, volumes::SELECTED_NODE);
        let selected = selected.map(Into::into);
        let to_make = assumed.filter(|held| held.volume.is_none()).map(|held| (*held.node).into());
        let volume = assumed.and_then(|held| self.volumes.get("", held.volume.as_deref()?));
        let kept = self.kept.get(&format!("{}/{}", key.namespace, key.name));
        let candidates = self.free.get(volumes::class_of_claim(&claim)).into_iter().chain(kept);
        let candidates = candidates.filter_map(|volume| volume.typed().cloned()).collect();
        Waiting { node: to_make.or(selected), volume, candidates, key, claim, class }
    }
}

fn is_for_one_pod(claim: &PersistentVolumeClaim) -> bool {
    let modes = claim.spec.as_ref().and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default();
    modes.iter().any(|mode| mode == "ReadWriteOncePod")
}

/// Whether the volume can be had on the node.
fn reaches(volume: &PersistentVolume, node: &NodeInfo) -> bool {
    let required = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref());
    required.is_none_or(|required| {
        let selector = NodeSelector::of(&required.node_selector_terms);
        selector.matches(&node.name, |key| node.label(key))
    })
}

/// Whether the node is in a zone of the volume. A node that says nothing of zones has all.
fn is_in_zone(volume: &PersistentVolume, node: &NodeInfo) -> bool {
    if ZONES.iter().all(|key| node.label(key).is_none()) {
        return true;
    }
    let labels = volume.metadata.labels.as_ref();
    let mut zones = ZONES.iter().filter_map(|key| Some((*key, labels?.get(*key)?)));
    zones.all(|(key, zones)| {
        let mut zones = zones.split(ZONE_SEPARATOR).map(str::trim);
        node.label(key).is_some_and(|zone| zones.any(|held| held == zone))
    })
}

/// Whether volumes of the class are made on the node.
fn is_made_on(class: &StorageClass, node: &NodeInfo) -> bool {
    if class.provisioner == volumes::NO_PROVISIONER {
        return false;
    }
    let terms = class.allowed_topologies.as_deref().unwrap_or_default();
    terms.is_empty()
        || terms.iter().any(|term| {
            term.match_label_expressions.iter().flatten().all(|expression| {
                node.label(&expression.key)
                    .is_some_and(|label| expression.values.iter().any(|value| value == label))
            })
        })
}
