//! Signs the ConfigMap `kube-public/cluster-info`, which anybody may read, with every token that is meant for it: who
//! has one of the tokens can tell whether the cluster's address and CA in the ConfigMap are the cluster's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use informer::{Cache, Controller, Delta, Key, Plan, Round, Scope, Sources};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use resources::bootstrap_token::{self, Expiration, Stored, signature};

use super::{is_about_token, secrets};
use crate::target::update;

const NAMESPACE: &str = "kube-public";
const NAME: &str = "cluster-info";
/// What is signed.
const KUBECONFIG: &str = "kubeconfig";
/// What the keys of signatures begin with; the token's id follows.
const SIGNATURE_PREFIX: &str = "jws-kubeconfig-";

/// See the module's documentation. The one key is the ConfigMap.
pub struct BootstrapSignerController {
    maps: Cache<ConfigMap>,
    secrets: Cache<Secret>,
}

/// The ConfigMap and the Secrets of the type of tokens.
pub struct Observed {
    pub(super) map: Arc<ConfigMap>,
    pub(super) secrets: Vec<Arc<Secret>>,
}

impl Controller for BootstrapSignerController {
    const NAME: &'static str = "bootstrap-signer-controller";
    const QUEUE: &'static str = "bootstrap_signer_queue";
    const ACCOUNT: &'static str = "bootstrap-signer";
    const WORKERS: usize = 1;
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let key = |concerns: bool| if concerns { vec![Key::new(NAMESPACE, NAME)] } else { Vec::new() };
        Self {
            maps: sources.mapped_in(
                Scope::fields(format!("metadata.name={NAME}")),
                move |delta: &Delta<ConfigMap>| key(delta.object().namespace() == NAMESPACE),
            ),
            secrets: sources.mapped_in(secrets(), move |delta| key(is_about_token(delta))),
        }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(map) = self.maps.get_key(round.key) else { return Ok(None) };
        let secrets = self.secrets.named_like(bootstrap_token::NAMESPACE, bootstrap_token::SECRET_PREFIX);
        let secrets = secrets.iter().filter_map(|secret| secret.typed().cloned()).collect();
        Ok(Some(Observed { map, secrets }))
    }

    fn reconcile(observed: &Observed, now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let data = observed.map.data.clone().unwrap_or_default();
        let Some(content) = data.get(KUBECONFIG) else { return plan };
        let mut signed: BTreeMap<String, String> =
            data.iter().filter(|(key, _)| !key.starts_with(SIGNATURE_PREFIX)).map(owned).collect();
        for secret in observed.secrets.iter().map(|secret| Stored(secret)) {
            let Some(token) = secret.for_signing(now) else { continue };
            let signature = signature::detached(content, &token);
            signed.insert(format!("{SIGNATURE_PREFIX}{}", token.id), signature);
            if let Expiration::In(left) = secret.expiration(now) {
                plan.look_again(left.unsigned_abs() + Duration::from_millis(1));
            }
        }
        if signed != data {
            plan.then(update(&ConfigMap { data: Some(signed), ..ConfigMap::clone(&observed.map) }));
            return plan.because("the signatures are not those of the tokens");
        }
        plan
    }
}

fn owned((key, value): (&String, &String)) -> (String, String) {
    (key.clone(), value.clone())
}
