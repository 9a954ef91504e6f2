//! Makes the claims that a pod wants from templates, one for each entry, and writes their names into the pod's
//! status; reserves claims for pods that came to their node without the scheduler.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::EventType;
use informer::{Action, Cache, Controller, Delta, Index, Key, Plan, Round, Sources};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimTemplate};
use kube::core::ObjectMeta;
use pods::devices::{self, PodClaim, Source};
use serde_json::{Value, json};

use super::by_claim;
use crate::replicas::pod;
use crate::target::{controller_reference, dynamic, target, target_of, update_status};

/// The longest prefix of a generated name that leaves room for a hyphen and five random characters in 63.
const MAX_PREFIX: usize = 57;
const FAILED: &str = "FailedResourceClaimCreation";

/// See the module's documentation. Keys are pods.
pub struct PodClaimsController {
    pods: Cache<Pod>,
    claims: Cache<ResourceClaim>,
    /// Claims by the uid of the pod that owns them.
    owned: Index<ResourceClaim>,
    templates: Cache<ResourceClaimTemplate>,
}

/// A pod, and what there is of its claims.
pub struct Observed {
    pub pod: Arc<Pod>,
    /// Claims that the pod names, by their names.
    pub claims: BTreeMap<String, Arc<ResourceClaim>>,
    /// Claims that the pod owns.
    pub owned: Vec<Arc<ResourceClaim>>,
    pub templates: BTreeMap<String, Arc<ResourceClaimTemplate>>,
}

/// Pods by the templates that they name, as `namespace/name`.
fn by_template(pods: &Cache<Pod>) -> Index<Pod> {
    pods.index("device-claim-template", |pod, found| {
        for entry in &pod::facts(pod).device_claims {
            if let Source::Made { template, .. } = &entry.source {
                found(&format!("{}/{template}", pod.namespace()));
            }
        }
    })
}

impl Controller for PodClaimsController {
    const NAME: &'static str = "resource-claim-controller";
    const EVENT_SOURCE: &'static str = "resource_claim";
    const QUEUE: &'static str = "resource_claim";
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let pods = sources.mapped(|delta: &Delta<Pod>| {
            let pod = delta.object();
            let is_gone = matches!(delta, Delta::Deleted(_)) || pod.is_being_deleted();
            let wants = !is_gone && !pod::facts(pod).device_claims.is_empty();
            if wants { vec![pod.key.clone()] } else { Vec::new() }
        });
        let users = by_claim(&pods);
        let claims = sources.mapped(move |delta: &Delta<ResourceClaim>| {
            let claim = delta.object();
            let mut keys = users.keys(&claim.key.to_string());
            let owner = claim.controller().filter(|owner| &*owner.kind == "Pod");
            keys.extend(owner.map(|owner| Key::new(claim.namespace(), &owner.name)));
            keys
        });
        let waiting = by_template(&pods);
        let templates = sources.mapped(move |delta: &Delta<ResourceClaimTemplate>| {
            if delta.old().is_some() { Vec::new() } else { waiting.keys(&delta.object().key.to_string()) }
        });
        Self { owned: claims.by_controller(), pods, claims, templates }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let held = self.pods.find(round.key).filter(|pod| !pod.is_being_deleted());
        let Some(held) = held.filter(|pod| !pod::facts(pod).device_claims.is_empty()) else {
            return Ok(None);
        };
        let Some(pod) = held.typed().cloned() else { return Ok(None) };
        let (facts, namespace) = (pod::facts(&held), &round.key.namespace);
        let named = facts.device_claims.iter().filter_map(PodClaim::claim);
        let claims = named.filter_map(|name| Some((name.to_owned(), self.claims.get(namespace, name)?)));
        let wanted = facts.device_claims.iter().filter_map(|entry| match &entry.source {
            Source::Made { template, .. } => Some(template),
            _ => None,
        });
        let templates =
            wanted.filter_map(|name| Some((name.to_string(), self.templates.get(namespace, name)?)));
        let owned = self.owned.get(&held.uid).iter().filter_map(|claim| claim.typed().cloned()).collect();
        Ok(Some(Observed { claims: claims.collect(), templates: templates.collect(), owned, pod }))
    }

    fn reconcile(observed: &Observed, _: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let mut statuses = Vec::new();
        for entry in devices::claims_of(&observed.pod) {
            match need(observed, &entry) {
                Need::Nothing => {}
                Need::Status(claim) => {
                    statuses.push(json!({"name": entry.name, "resourceClaimName": claim}));
                }
                Need::Claim(template) => {
                    let object = dynamic(&made(&observed.pod, &entry, template));
                    let namespace = observed.pod.metadata.namespace.as_deref().unwrap_or_default();
                    plan.then(Action::Create { target: target::<ResourceClaim>(namespace, ""), object });
                }
                Need::Template(name) => plan.then(Action::Event {
                    about: client::reference(&*observed.pod),
                    event_type: EventType::Warning,
                    reason: FAILED,
                    message: format!(
                        "PodResourceClaim {}: resource claim template {name:?}: resourceclaimtemplate.resource.k8s.io {name:?} \
                         not found",
                        entry.name
                    ),
                }),
            }
        }
        if !statuses.is_empty() {
            let patch = json!({"metadata": {"uid": observed.pod.metadata.uid},
                "status": {"resourceClaimStatuses": Value::from(statuses)}});
            plan.then(Action::StrategicPatch {
                target: target_of(&*observed.pod).subresource("status"),
                patch,
            });
        }
        plan.actions.extend(reservations(observed));
        plan.on_failure = Some(informer::EventWords {
            about: client::reference(&*observed.pod),
            create: (FAILED, "create ResourceClaim : "),
            delete: (FAILED, ""),
        });
        plan
    }
}

/// What an entry of the pod lacks.
enum Need<'o> {
    Nothing,
    /// The name of the claim that is there.
    Status(String),
    Claim(&'o ResourceClaimTemplate),
    Template(String),
}

fn need<'o>(observed: &'o Observed, entry: &PodClaim) -> Need<'o> {
    let Source::Made { template, claim } = &entry.source else { return Need::Nothing };
    let uid = observed.pod.metadata.uid.as_deref().unwrap_or_default();
    let held = claim.as_ref().and_then(|name| observed.claims.get(&**name));
    if held.is_some_and(|held| devices::is_of_pod(held, uid)) {
        return Need::Nothing;
    }
    // One whose name did not get into the pod's status.
    let is_made_for = |claim: &&Arc<ResourceClaim>| {
        let annotations = claim.metadata.annotations.as_ref();
        annotations.and_then(|all| all.get(devices::MADE_FOR)).is_some_and(|name| **name == *entry.name)
    };
    if let Some(made) = observed.owned.iter().find(is_made_for) {
        return Need::Status(made.metadata.name.clone().unwrap_or_default());
    }
    observed.templates.get(&**template).map_or(Need::Template(template.to_string()), |it| Need::Claim(it))
}

fn made(pod: &Pod, entry: &PodClaim, template: &ResourceClaimTemplate) -> ResourceClaim {
    let meta = template.spec.metadata.as_ref();
    let mut annotations = meta.and_then(|meta| meta.annotations.clone()).unwrap_or_default();
    annotations.insert(devices::MADE_FOR.to_owned(), entry.name.to_string());
    ResourceClaim {
        metadata: ObjectMeta {
            generate_name: Some(prefix(pod.metadata.name.as_deref().unwrap_or_default(), &entry.name)),
            namespace: pod.metadata.namespace.clone(),
            labels: meta.and_then(|meta| meta.labels.clone()),
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(pod)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.spec.clone(),
        status: None,
    }
}

/// What the name of a claim begins with: pod and entry, each shortened in proportion where both together are too long.
fn prefix(pod: &str, entry: &str) -> String {
    let whole = format!("{pod}-{entry}-");
    if whole.len() <= MAX_PREFIX {
        return whole;
    }
    // Names are ASCII: the API takes no others.
    let part = |name: &str| name.chars().take(name.len() * MAX_PREFIX / whole.len()).collect::<String>();
    format!("{}-{}", part(pod), part(entry))
}

/// Writes that reserve allocated claims for a pod that has its node.
fn reservations(observed: &Observed) -> Vec<Action> {
    let pod = &*observed.pod;
    let (name, uid) = (pod.metadata.name.as_deref(), pod.metadata.uid.as_deref().unwrap_or_default());
    if !pods::holds_resources(pod) {
        return Vec::new();
    }
    let entries = devices::claims_of(pod);
    let usable = entries.iter().filter_map(|entry| {
        let claim = observed.claims.get(entry.claim()?)?;
        (!entry.is_made() || devices::is_of_pod(claim, uid)).then_some(claim)
    });
    let lacking = usable.filter(|claim| {
        devices::allocation(claim).is_some()
            && !devices::is_reserved_for(claim, uid)
            && devices::can_be_reserved(claim)
    });
    let reserved = lacking.map(|claim| {
        let mut claim = ResourceClaim::clone(claim);
        let status = claim.status.get_or_insert_default();
        status.reserved_for.get_or_insert_default().push(devices::consumer(name.unwrap_or_default(), uid));
        update_status(&claim)
    });
    reserved.collect()
}
