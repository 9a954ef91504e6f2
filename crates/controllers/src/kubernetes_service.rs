//! Keeps the Service `kubernetes` and its endpoints: who removes or changes them would take the API away from pods.
//! Upstream: `pkg/controlplane/controller/kubernetesservice` and `pkg/controlplane/reconcilers`, which look every ten
//! seconds.
//!
//! The API server makes them anew when it starts, and this controller keeps them so, also when the server's address
//! changes. Other addresses beside the server's own are left: another server may have added itself. Where the servers know of
//! one another ([`ApiServiceFeed::set_alive`]), the addresses of those that are gone are taken out.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use informer::{Action, Cache, Cached, Controller, DeletePolicy, Delta, Key, Plan, Queue, Round, Sources};
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::Resource;

use crate::orphans::labelled;
use crate::service_endpoints::slices::SERVICE_NAME;
use crate::target::{dynamic, target, target_of, update};

/// The objects as this API server wants them: the endpoints have the server's own address alone.
#[derive(Debug, Clone)]
pub struct ApiService {
    pub service: Service,
    pub endpoints: Endpoints,
    pub slice: EndpointSlice,
}

impl ApiService {
    /// The server's own addresses.
    fn addresses(&self) -> impl Iterator<Item = &String> {
        let subsets = self.endpoints.subsets.iter().flatten();
        subsets.flat_map(|subset| subset.addresses.iter().flatten()).map(|address| &address.ip)
    }
}

/// The wanted objects, which may change while the server runs. Clones share them.
#[derive(Clone)]
pub struct ApiServiceFeed(Arc<Mutex<State>>);

struct State {
    wanted: Arc<ApiService>,
    /// Addresses that the server had before.
    former: BTreeSet<String>,
    /// The addresses of all servers that run; `None` where nobody says.
    alive: Option<BTreeSet<String>>,
    /// Of the controller, once it runs.
    queue: Option<Queue<Key>>,
}

/// Which addresses go.
#[derive(Debug, Clone, Default)]
struct Gone {
    former: BTreeSet<String>,
    alive: Option<BTreeSet<String>>,
}

impl Gone {
    fn holds(&self, address: &String) -> bool {
        self.former.contains(address) || self.alive.as_ref().is_some_and(|alive| !alive.contains(address))
    }
}

impl ApiServiceFeed {
    pub fn new(wanted: ApiService) -> Self {
        let state = State { wanted: Arc::new(wanted), former: BTreeSet::new(), alive: None, queue: None };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Has the controller write other objects from now on.
    pub fn replace(&self, wanted: ApiService) {
        let mut state = self.state();
        let State { wanted: before, former, queue, .. } = &mut *state;
        former.extend(before.addresses().cloned());
        for own in wanted.addresses() {
            former.remove(own);
        }
        if let Some(queue) = queue {
            queue.add(Key::of(&wanted.service));
        }
        state.wanted = Arc::new(wanted);
    }

    /// The server's own addresses, as they are now.
    pub fn own_addresses(&self) -> BTreeSet<String> {
        self.state().wanted.addresses().cloned().collect()
    }

    /// Has the controller take out the addresses of servers that are not among these. The server's own always stay.
    pub fn set_alive(&self, alive: BTreeSet<String>) {
        let mut state = self.state();
        if state.alive.as_ref() == Some(&alive) {
            return;
        }
        if let Some(queue) = &state.queue {
            queue.add(Key::of(&state.wanted.service));
        }
        state.alive = Some(alive);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn gone(&self) -> Gone {
        let mut alive = self.alive.clone();
        if let Some(alive) = &mut alive {
            alive.extend(self.wanted.addresses().cloned());
        }
        Gone { former: self.former.clone(), alive }
    }
}

/// See the module's documentation. The one key is the Service.
pub struct KubernetesServiceController {
    feed: ApiServiceFeed,
    services: Cache<Service>,
    endpoints: Cache<Endpoints>,
    by_service: informer::Index<EndpointSlice>,
}

/// What a decision depends on.
pub struct Observed {
    wanted: Arc<ApiService>,
    /// Addresses that the server no longer has, and those of servers that are gone.
    gone: Gone,
    service: Option<Arc<Service>>,
    endpoints: Option<Arc<Endpoints>>,
    /// All slices that claim to be the Service's.
    slices: Vec<Arc<EndpointSlice>>,
}

/// The Service that a slice claims to belong to.
fn service_of(slice: &Cached<EndpointSlice>) -> Option<Key> {
    let name = slice.label(SERVICE_NAME)?;
    Some(Key { namespace: slice.key.namespace.clone(), name: name.into() })
}

impl Controller for KubernetesServiceController {
    const NAME: &'static str = "kubernetes-service-controller";
    const WORKERS: usize = 1;
    type Config = ApiServiceFeed;
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, feed: ApiServiceFeed) -> Self {
        let key = Key::of(&feed.state().wanted.service);
        let services = of_name(sources, &key);
        let endpoints = of_name(sources, &key);
        let slices = sources.mapped(move |delta: &Delta<EndpointSlice>| {
            let states = std::iter::once(delta.object()).chain(delta.old());
            let concerns = states.flat_map(|slice| [service_of(slice), Some(slice.key.clone())]);
            let mut concerned = concerns.flatten().filter(|concerned| *concerned == key);
            concerned.next().into_iter().collect()
        });
        let by_service = slices.index("service", |slice, found| {
            if let Some(name) = slice.label(SERVICE_NAME) {
                found(&labelled(slice.namespace(), SERVICE_NAME, name));
            }
        });
        // What was removed while nobody looked is no change.
        sources.queue().add(Key::of(&feed.state().wanted.service));
        feed.state().queue = Some(sources.queue());
        Self { feed, services, endpoints, by_service }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let slices = self.by_service.get(&labelled(&round.key.namespace, SERVICE_NAME, &round.key.name));
        let (wanted, gone) = {
            let state = self.feed.state();
            (state.wanted.clone(), state.gone())
        };
        Ok(Some(Observed {
            wanted,
            gone,
            service: self.services.get_key(round.key),
            endpoints: self.endpoints.get_key(round.key),
            slices: slices.iter().filter_map(|slice| slice.typed().cloned()).collect(),
        }))
    }

    fn reconcile(observed: &Observed, _: jiff::Timestamp) -> Plan {
        let wanted = &*observed.wanted;
        let mut plan = Plan::nothing();
        plan.actions.extend(service(&wanted.service, observed.service.as_deref()));
        plan.actions.extend(endpoints(&wanted.endpoints, observed.endpoints.as_deref(), &observed.gone));
        let (own, others): (Vec<_>, Vec<_>) = observed.slices.iter().partition(|found| {
            let is_named = found.metadata.name == wanted.slice.metadata.name;
            is_named && found.address_type == wanted.slice.address_type
        });
        for other in others {
            let policy = DeletePolicy { uid: other.metadata.uid.clone(), ..DeletePolicy::default() };
            plan.then(Action::Delete { target: target_of(&**other), policy });
        }
        plan.actions.extend(slice(&wanted.slice, own.first().map(|own| &***own), &observed.gone));
        plan
    }
}

/// The cache of a kind of which only one object concerns the controller.
fn of_name<K: informer::Kind>(sources: &mut Sources<'_>, key: &Key) -> Cache<K> {
    let key = key.clone();
    sources.mapped(move |delta: &Delta<K>| {
        let concerns = delta.object().key == key;
        concerns.then(|| key.clone()).into_iter().collect()
    })
}

fn creation<K: Resource<DynamicType = ()> + serde::Serialize>(wanted: &K) -> Action {
    let namespace = wanted.meta().namespace.as_deref().unwrap_or("");
    Action::Create { target: target::<K>(namespace, ""), object: dynamic(wanted) }
}

fn service(wanted: &Service, found: Option<&Service>) -> Option<Action> {
    let Some(found) = found else { return Some(creation(wanted)) };
    let (Some(wanted), Some(spec)) = (&wanted.spec, &found.spec) else { return None };
    let ports = |ports: &Option<Vec<ServicePort>>| {
        let ports = ports.iter().flatten();
        let told = |p: &ServicePort| (p.name.clone(), p.port, p.protocol.clone(), p.target_port.clone());
        ports.map(told).collect::<Vec<_>>()
    };
    if spec.type_ == wanted.type_ && ports(&spec.ports) == ports(&wanted.ports) {
        return None;
    }
    let mut mended = found.clone();
    let spec = mended.spec.get_or_insert_default();
    spec.type_.clone_from(&wanted.type_);
    spec.ports.clone_from(&wanted.ports);
    Some(update(&mended))
}

fn endpoints(wanted: &Endpoints, found: Option<&Endpoints>, gone: &Gone) -> Option<Action> {
    let Some(found) = found else { return Some(creation(wanted)) };
    let subset = wanted.subsets.iter().flatten().next()?;
    let listed = found.subsets.iter().flatten().flat_map(|subset| subset.addresses.iter().flatten());
    let ips = listed.chain(subset.addresses.iter().flatten()).map(|address| address.ip.clone());
    let ips: BTreeSet<String> = ips.filter(|ip| !gone.holds(ip)).collect();
    let addresses = ips.into_iter().map(|ip| EndpointAddress { ip, ..EndpointAddress::default() }).collect();
    let subsets = Some(vec![EndpointSubset {
        addresses: Some(addresses),
        ports: subset.ports.clone(),
        not_ready_addresses: None,
    }]);
    if found.subsets == subsets && found.metadata.labels == wanted.metadata.labels {
        return None;
    }
    let mut mended = Endpoints { subsets, ..found.clone() };
    mended.metadata.labels.clone_from(&wanted.metadata.labels);
    Some(update(&mended))
}

fn slice(wanted: &EndpointSlice, found: Option<&EndpointSlice>, gone: &Gone) -> Option<Action> {
    let Some(found) = found else { return Some(creation(wanted)) };
    let all = |slice: &EndpointSlice| slice.endpoints.clone().unwrap_or_default();
    let own = all(wanted).first()?.clone();
    let addresses = all(found).into_iter().chain(all(wanted)).flat_map(|endpoint| endpoint.addresses);
    let addresses: BTreeSet<String> = addresses.filter(|ip| !gone.holds(ip)).collect();
    let endpoint = |address| Endpoint { addresses: vec![address], ..own.clone() };
    let endpoints = Some(addresses.into_iter().map(endpoint).collect());
    let mut mended = EndpointSlice { endpoints, ports: wanted.ports.clone(), ..found.clone() };
    mended.metadata.labels.clone_from(&wanted.metadata.labels);
    (mended != *found).then(|| update(&mended))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn wanted() -> ApiService {
        let meta = |labels: Value| json!({"name": "kubernetes", "namespace": "default", "labels": labels});
        let port = |key: &str, number: u16| json!({"name": "https", key: number, "protocol": "TCP"});
        let mut service_port = port("port", 443);
        service_port["targetPort"] = json!(6443);
        let service = json!({"metadata": meta(json!({"component": "apiserver"})),
            "spec": {"type": "ClusterIP", "clusterIP": "10.96.0.1", "ports": [service_port]}});
        let endpoints = json!({"metadata": meta(json!({"skip": "true"})),
            "subsets": [{"addresses": [{"ip": "192.0.2.2"}], "ports": [port("port", 6443)]}]});
        let slice = json!({"metadata": meta(json!({SERVICE_NAME: "kubernetes"})), "addressType": "IPv4",
            "endpoints": [{"addresses": ["192.0.2.2"], "conditions": {"ready": true}}], "ports": [port("port", 6443)]});
        ApiService {
            service: serde_json::from_value(service).expect("a Service"),
            endpoints: serde_json::from_value(endpoints).expect("Endpoints"),
            slice: serde_json::from_value(slice).expect("a slice"),
        }
    }

    fn whole() -> Observed {
        let wanted = wanted();
        Observed {
            service: Some(Arc::new(wanted.service.clone())),
            endpoints: Some(Arc::new(wanted.endpoints.clone())),
            slices: vec![Arc::new(wanted.slice.clone())],
            wanted: Arc::new(wanted),
            gone: Gone::default(),
        }
    }

    fn plan(observed: &Observed) -> Vec<(&'static str, String, Value)> {
        let told = |action: Action| match action {
            Action::Create { target, object } => ("create", target.path(), Value::Object(object.0)),
            Action::Update { target, object } => ("update", target.path(), Value::Object(object.0)),
            Action::Delete { target, .. } => ("delete", target.path(), Value::Null),
            other => panic!("unexpected {other:?}"),
        };
        let plan = KubernetesServiceController::reconcile(observed, jiff::Timestamp::UNIX_EPOCH);
        plan.actions.into_iter().map(told).collect()
    }

    #[test]
    fn what_is_missing_is_made() {
        assert_eq!(plan(&whole()), []);
        let nothing = Observed { service: None, endpoints: None, slices: Vec::new(), ..whole() };
        let made: Vec<_> =
            plan(&nothing).into_iter().map(|(verb, path, _)| format!("{verb} {path}")).collect();
        assert_eq!(
            made,
            [
                "create /api/v1/namespaces/default/services",
                "create /api/v1/namespaces/default/endpoints",
                "create /apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_mended_and_other_servers_stay() {
        let mut observed = whole();
        let mut service = observed.wanted.service.clone();
        service.spec.as_mut().expect("a specification").ports.as_mut().expect("ports")[0].port = 80;
        observed.service = Some(Arc::new(service));
        let mut endpoints = observed.wanted.endpoints.clone();
        endpoints.subsets.as_mut().expect("subsets")[0].addresses.as_mut().expect("addresses")[0].ip =
            "192.0.2.1".into();
        observed.endpoints = Some(Arc::new(endpoints));
        let mut slice = observed.wanted.slice.clone();
        slice.endpoints.as_mut().expect("endpoints")[0].addresses = vec!["192.0.2.9".into()];
        let mut other = slice.clone();
        other.metadata.name = Some("stranger".into());
        observed.slices = vec![Arc::new(slice), Arc::new(other)];
        let done = plan(&observed);
        let verbs: Vec<&str> = done.iter().map(|(verb, ..)| *verb).collect();
        assert_eq!(verbs, ["update", "update", "delete", "update"]);
        assert_eq!(done[0].2["spec"]["ports"][0]["port"], 443);
        assert_eq!(done[1].2["subsets"][0]["addresses"], json!([{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}]));
        assert_eq!(done[2].1, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/stranger");
        let addresses = |n: usize| &done[3].2["endpoints"][n]["addresses"];
        assert_eq!([addresses(0), addresses(1)], [&json!(["192.0.2.2"]), &json!(["192.0.2.9"])]);
    }

    #[test]
    fn the_address_of_a_server_that_is_gone_goes() {
        let feed = ApiServiceFeed::new(wanted());
        let mut found = wanted();
        let address = |ip: &str| EndpointAddress { ip: ip.to_owned(), ..EndpointAddress::default() };
        let subset = &mut found.endpoints.subsets.as_mut().expect("subsets")[0];
        subset.addresses.get_or_insert_default().push(address("192.0.2.3"));
        let seen = || {
            let gone = feed.state().gone();
            plan(&Observed { endpoints: Some(Arc::new(found.endpoints.clone())), gone, ..whole() })
        };
        assert_eq!(seen(), [], "nobody says who runs");
        feed.set_alive(BTreeSet::from(["192.0.2.3".to_owned()]));
        assert_eq!(seen(), [], "the server's own stays, too");
        feed.set_alive(BTreeSet::new());
        let [(verb, _, object)] = &seen()[..] else { panic!("one change") };
        assert_eq!((*verb, &object["subsets"][0]["addresses"]), ("update", &json!([{"ip": "192.0.2.2"}])));
    }

    #[test]
    fn a_former_address_of_the_server_goes() {
        let feed = ApiServiceFeed::new(wanted());
        let moved = |ip: &str| {
            let mut moved = wanted();
            moved.endpoints.subsets.as_mut().expect("subsets")[0].addresses.as_mut().expect("addresses")[0]
                .ip = ip.into();
            moved.slice.endpoints.as_mut().expect("endpoints")[0].addresses = vec![ip.into()];
            feed.replace(moved);
            let state = feed.state();
            let observed = Observed { wanted: state.wanted.clone(), gone: state.gone(), ..whole() };
            plan(&observed)
        };
        let [endpoints, slice] = &moved("192.0.2.7")[..] else { panic!("not two writes") };
        assert_eq!(endpoints.2["subsets"][0]["addresses"], json!([{"ip": "192.0.2.7"}]));
        assert_eq!(
            slice.2["endpoints"],
            json!([{"addresses": ["192.0.2.7"], "conditions": {"ready": true}}])
        );
        assert_eq!(moved("192.0.2.2"), [], "the first address again");
    }
}
