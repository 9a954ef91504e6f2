//! Publishes the cluster's CA certificates to every active namespace as ConfigMap `kube-root-ca.crt`, which
//! the token volume of pods projects.

use std::collections::BTreeMap;
use std::sync::Arc;

use informer::{Action, Cache, Controller, Delta, Key, Plan, Round, Scope, Sources};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::core::ObjectMeta;

use crate::namespace::is_active;
use crate::target::{dynamic, target, update};

const NAME: &str = "kube-root-ca.crt";
const FILE: &str = "ca.crt";
/// Upstream's words (`pkg/controller/certificates/rootcacertpublisher`).
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
distributions of Kubernetes clusters.";

/// See the module's documentation. Keys are namespaces.
pub struct RootCaController {
    bundle_pem: Arc<str>,
    namespaces: Cache<Namespace>,
    maps: Cache<ConfigMap>,
}

/// A namespace, its ConfigMap if it exists, and the content the ConfigMap should have.
pub struct Observed {
    namespace: Arc<Namespace>,
    map: Option<Arc<ConfigMap>>,
    bundle_pem: Arc<str>,
}

impl Controller for RootCaController {
    const NAME: &'static str = "root-ca-certificate-publisher-controller";
    const QUEUE: &'static str = "root_ca_cert_publisher";
    const ACCOUNT: &'static str = "root-ca-cert-publisher";
    const WORKERS: usize = 1;
    /// The CA certificates, in PEM.
    type Config = Arc<str>;
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, bundle_pem: Arc<str>) -> Self {
        Self {
            bundle_pem,
            namespaces: sources.primary(),
            maps: sources
                .mapped_in(Scope::fields("metadata.name=kube-root-ca.crt"), |delta: &Delta<ConfigMap>| {
                    vec![Key::new("", delta.object().namespace())]
                }),
        }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let name = &round.key.name;
        let map = self.maps.get(name, NAME);
        let bundle_pem = self.bundle_pem.clone();
        Ok(self.namespaces.get("", name).map(|namespace| Observed { namespace, map, bundle_pem }))
    }

    fn reconcile(observed: &Observed, _: jiff::Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        if !is_active(&observed.namespace) {
            return plan;
        }
        let namespace = observed.namespace.metadata.name.clone().unwrap_or_default();
        let data = BTreeMap::from([(FILE.to_owned(), observed.bundle_pem.to_string())]);
        let Some(map) = &observed.map else {
            let map = ConfigMap {
                metadata: ObjectMeta {
                    name: Some(NAME.to_owned()),
                    namespace: Some(namespace.clone()),
                    annotations: Some(BTreeMap::from([(
                        "kubernetes.io/description".to_owned(),
                        DESCRIPTION.to_owned(),
                    )])),
                    ..ObjectMeta::default()
                },
                data: Some(data),
                ..ConfigMap::default()
            };
            plan.then(Action::Create { target: target::<ConfigMap>(&namespace, ""), object: dynamic(&map) });
            return plan.because("the namespace has no CA bundle");
        };
        if map.data.as_ref() != Some(&data) {
            plan.then(update(&ConfigMap { data: Some(data), ..ConfigMap::clone(map) }));
            return plan.because("the CA bundle differs");
        }
        plan
    }
}
