//! Says in the status of a registration whether its group and version is served: at once when its Service or the Service's
//! endpoints change, and, because a server may stop to answer without a change of any object, every 30 seconds where it is
//! another server. Upstream: `kube-aggregator/pkg/controllers/status/{remote,local}`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use informer::{Cache, Cached, Controller, Delta, Index, Key, Plan, Round, Sources, Tally};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{
    APIService, APIServiceCondition, ServiceReference,
};

use super::metrics::Metrics;
use crate::orphans::labelled;
use crate::service_endpoints::slices::SERVICE_NAME;
use crate::target::update_status;

const TYPE: &str = "Available";
/// How often another server is asked whether it serves.
const RECHECK: Duration = Duration::from_secs(30);
/// The first wait after a server did not answer; the waits grow with the time that it has been so.
const RETRY: Duration = Duration::from_millis(200);
/// Where a Service's port is not said.
const DEFAULT_PORT: i32 = 443;

/// Asks the server behind a Service whether it serves a group and version; the answer is why not, in upstream's words.
pub type CheckDiscovery = Arc<dyn Fn(Asked) -> Checking + Send + Sync>;

/// A question on its way.
pub type Checking = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// What a server is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The Service.
    pub namespace: String,
    pub name: String,
    pub port: u16,
    pub group: String,
    pub version: String,
}

/// What the controller needs.
#[derive(Clone)]
pub struct Config {
    pub check: CheckDiscovery,
    pub metrics: Metrics,
}

/// See the module's documentation. Keys are registrations.
pub struct ApiServiceAvailabilityController {
    config: Config,
    api_services: Cache<APIService>,
    services: Cache<Service>,
    slices: Index<EndpointSlice>,
}

/// A registration, and what is seen of its server.
pub struct Observed {
    api_service: Arc<APIService>,
    seen: Seen,
}

/// What decides whether a group and version is served.
#[derive(Debug, Clone, PartialEq)]
enum Seen {
    /// It is this server's own.
    Local,
    /// It cannot be: something of the way to it is missing.
    Missing(Words),
    /// It was asked.
    Asked(Result<(), String>),
}

/// A condition's reason and message.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Words {
    reason: &'static str,
    message: String,
}

impl Controller for ApiServiceAvailabilityController {
    const NAME: &'static str = "apiservice-availability-controller";
    const QUEUE: &'static str = "RemoteAvailabilityController";
    type Config = Config;
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, config: Config) -> Self {
        let api_services: Cache<APIService> = sources.primary();
        let behind = api_services.index("service", |api_service, found| {
            if let Some(service) = api_service.typed().and_then(|typed| reference(typed)) {
                found(&service.to_string());
            }
        });
        let woken = behind.clone();
        let services =
            sources.mapped(move |delta: &Delta<Service>| woken.keys(&delta.object().key.to_string()));
        let slices = sources.mapped(move |delta: &Delta<EndpointSlice>| {
            let states = std::iter::once(delta.object()).chain(delta.old());
            states.filter_map(service_of).flat_map(|service| behind.keys(&service.to_string())).collect()
        });
        let slices = slices.index("service", |slice, found| {
            if let Some(name) = slice.label(SERVICE_NAME) {
                found(&labelled(slice.namespace(), SERVICE_NAME, name));
            }
        });
        Self { config, api_services, services, slices }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(api_service) = self.api_services.get_key(round.key) else { return Ok(None) };
        let Some((key, port)) = reference(&api_service).zip(port(&api_service)) else {
            return Ok(Some(Observed { api_service, seen: Seen::Local }));
        };
        let slices = self.slices.get(&labelled(&key.namespace, SERVICE_NAME, &key.name));
        let slices: Vec<Arc<EndpointSlice>> =
            slices.iter().filter_map(|slice| slice.typed().cloned()).collect();
        let seen = match missing(&key, port, self.services.get_key(&key).as_deref(), &slices) {
            Some(words) => Seen::Missing(words),
            None => Seen::Asked((self.config.check)(asked(&api_service, key, port)).await),
        };
        Ok(Some(Observed { api_service, seen }))
    }

    fn reconcile(observed: &Observed, now: jiff::Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let condition = condition(observed, now);
        match &observed.seen {
            Seen::Asked(Ok(())) => plan.look_again(RECHECK),
            Seen::Asked(Err(_)) => plan.look_again(patience(&condition, now)),
            Seen::Local | Seen::Missing(_) => {}
        }
        let status = observed.api_service.status.clone().unwrap_or_default();
        let mut conditions = status.conditions.clone().unwrap_or_default();
        match conditions.iter_mut().find(|known| known.type_ == TYPE) {
            Some(known) if *known == condition => return plan,
            Some(known) => *known = condition.clone(),
            None => conditions.push(condition.clone()),
        }
        let mut told = APIService::clone(&observed.api_service);
        told.status.get_or_insert_default().conditions = Some(conditions);
        plan.then(update_status(&told));
        plan.because(condition.reason.unwrap_or_default())
    }

    fn tally(&self, key: &Key, round: Option<(&Observed, &Plan)>) -> Option<Tally> {
        match round {
            Some((Observed { seen, .. }, _)) => {
                self.config.metrics.saw(&key.name, seen.words().map(|words| words.reason));
            }
            None => self.config.metrics.forget(&key.name),
        }
        None
    }
}

impl Seen {
    /// Why the group and version is not served.
    fn words(&self) -> Option<Words> {
        match self {
            Self::Local | Self::Asked(Ok(())) => None,
            Self::Missing(words) => Some(words.clone()),
            Self::Asked(Err(message)) => Some(Words::new("FailedDiscoveryCheck", message.clone())),
        }
    }
}

impl Words {
    fn new(reason: &'static str, message: String) -> Self {
        Self { reason, message }
    }
}

/// The Service of a registration.
fn reference(api_service: &APIService) -> Option<Key> {
    let service = service(api_service)?;
    Some(Key::new(service.namespace.as_deref().unwrap_or(""), service.name.as_deref().unwrap_or("")))
}

fn port(api_service: &APIService) -> Option<i32> {
    Some(service(api_service)?.port.unwrap_or(DEFAULT_PORT))
}

fn service(api_service: &APIService) -> Option<&ServiceReference> {
    api_service.spec.as_ref()?.service.as_ref()
}

/// The Service that a slice claims to belong to.
fn service_of(slice: &Cached<EndpointSlice>) -> Option<Key> {
    let name = slice.label(SERVICE_NAME)?;
    Some(Key { namespace: slice.key.namespace.clone(), name: name.into() })
}

fn asked(api_service: &APIService, key: Key, port: i32) -> Asked {
    let spec = api_service.spec.as_ref();
    let text = |text: Option<&String>| text.cloned().unwrap_or_default();
    Asked {
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        // The API takes no others.
        port: u16::try_from(port).unwrap_or_default(),
        group: text(spec.and_then(|spec| spec.group.as_ref())),
        version: text(spec.and_then(|spec| spec.version.as_ref())),
    }
}

/// What is missing of the way to a server.
fn missing(key: &Key, port: i32, service: Option<&Service>, slices: &[Arc<EndpointSlice>]) -> Option<Words> {
    let Key { namespace, name } = key;
    let Some(service) = service else {
        let message = format!("service/{name} in {namespace:?} is not present");
        return Some(Words::new("ServiceNotFound", message));
    };
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref().is_some_and(|type_| type_ != "ClusterIP") {
        return None;
    }
    let Some(found) = spec.ports.iter().flatten().find(|found| found.port == port) else {
        let message = format!("service/{name} in {namespace:?} is not listening on port {port}");
        return Some(Words::new("ServicePortError", message));
    };
    if slices.is_empty() {
        let message = format!("cannot find endpointslices for service/{name} in {namespace:?}");
        return Some(Words::new("EndpointsNotFound", message));
    }
    let port_name = found.name.as_deref().unwrap_or("");
    if !slices.iter().any(|slice| leads_somewhere(slice, port_name)) {
        let message = format!(
            "endpointslices for service/{name} in {namespace:?} have no addresses with port name {port_name:?}"
        );
        return Some(Words::new("MissingEndpoints", message));
    }
    None
}

fn leads_somewhere(slice: &EndpointSlice, port_name: &str) -> bool {
    let mut endpoints = slice.endpoints.iter().flatten();
    let ready = endpoints
        .any(|endpoint| endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true));
    let mut ports = slice.ports.iter().flatten();
    ready && ports.any(|port| port.name.as_deref().unwrap_or("") == port_name && port.port.is_some())
}

fn condition(observed: &Observed, now: jiff::Timestamp) -> APIServiceCondition {
    let (status, words) = match (observed.seen.words(), &observed.seen) {
        (Some(words), _) => ("False", words),
        (None, Seen::Local) => {
            ("True", Words::new("Local", "Local APIServices are always available".to_owned()))
        }
        (None, _) => ("True", Words::new("Passed", "all checks passed".to_owned())),
    };
    let known = observed.api_service.status.as_ref().and_then(|status| status.conditions.as_ref());
    let known = known.into_iter().flatten().find(|known| known.type_ == TYPE);
    let since =
        known.filter(|known| known.status == status).and_then(|known| known.last_transition_time.clone());
    APIServiceCondition {
        type_: TYPE.to_owned(),
        status: status.to_owned(),
        reason: Some(words.reason.to_owned()),
        message: Some(words.message),
        last_transition_time: Some(since.unwrap_or(Time(now))),
    }
}

/// How long to wait before a server that did not answer is asked again: about as long as it has been so.
fn patience(condition: &APIServiceCondition, now: jiff::Timestamp) -> Duration {
    let since = condition.last_transition_time.as_ref().map_or(now, |since| since.0);
    let waited = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    waited.clamp(RETRY, RECHECK)
}

#[cfg(test)]
mod tests;
