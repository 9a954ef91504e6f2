//! Keeps the ConfigMap by which servers that extend the API know its users: who removed or changed it would lock them all
//! out. Upstream: `pkg/controlplane/controller/clusterauthenticationtrust`, which also looks every minute.

use std::sync::Arc;

use informer::{Action, Cache, Controller, Delta, Key, Plan, Round, Scope, Sources};
use k8s_openapi::api::core::v1::ConfigMap;

use crate::target::{dynamic, target, update};

/// See the module's documentation. The one key is the ConfigMap.
pub struct ExtensionAuthenticationController {
    wanted: Arc<ConfigMap>,
    maps: Cache<ConfigMap>,
}

/// The ConfigMap as it should be and as it is.
pub struct Observed {
    wanted: Arc<ConfigMap>,
    found: Option<Arc<ConfigMap>>,
}

impl Controller for ExtensionAuthenticationController {
    const NAME: &'static str = "extension-authentication-controller";
    const QUEUE: &'static str = "cluster_authentication_trust_controller";
    const ACCOUNT: &'static str = "extension-authentication";
    const WORKERS: usize = 1;
    /// The ConfigMap as it should be.
    type Config = Arc<ConfigMap>;
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, wanted: Arc<ConfigMap>) -> Self {
        let key = Key::of(&*wanted);
        // What was removed while nobody looked is no change.
        sources.queue().add(key.clone());
        let scope = Scope::fields(format!("metadata.name={}", key.name));
        let maps = sources.mapped_in(scope, move |delta: &Delta<ConfigMap>| {
            let concerns = delta.object().key == key;
            concerns.then(|| key.clone()).into_iter().collect()
        });
        Self { wanted, maps }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        Ok(Some(Observed { wanted: self.wanted.clone(), found: self.maps.get_key(round.key) }))
    }

    fn reconcile(observed: &Observed, _: jiff::Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let wanted = &observed.wanted;
        let Some(found) = &observed.found else {
            let namespace = wanted.metadata.namespace.as_deref().unwrap_or("");
            plan.then(Action::Create {
                target: target::<ConfigMap>(namespace, ""),
                object: dynamic(&**wanted),
            });
            return plan.because("it is gone");
        };
        let mut mended = ConfigMap::clone(found);
        mended.data.get_or_insert_default().extend(wanted.data.clone().unwrap_or_default());
        if mended.data != found.data {
            plan.then(update(&mended));
            return plan.because("it says something else");
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(data: serde_json::Value) -> Arc<ConfigMap> {
        let map = json!({"metadata": {"name": "m", "namespace": "n"}, "data": data});
        Arc::new(serde_json::from_value(map).expect("a ConfigMap"))
    }

    fn plan(found: Option<Arc<ConfigMap>>) -> Vec<Action> {
        let observed = Observed { wanted: map(json!({"a": "1"})), found };
        ExtensionAuthenticationController::reconcile(&observed, jiff::Timestamp::UNIX_EPOCH).actions
    }

    #[test]
    fn it_is_made_mended_and_otherwise_left() {
        assert!(matches!(&plan(None)[..], [Action::Create { target, .. }] if target.namespace == "n"));
        assert_eq!(plan(Some(map(json!({"a": "1", "b": "2"})))), []);
        let mended = plan(Some(map(json!({"a": "x", "b": "2"}))));
        let [Action::Update { object, .. }] = &mended[..] else { panic!("{mended:?}") };
        assert_eq!(object.at(&["data"]), Some(&json!({"a": "1", "b": "2"})));
    }
}
