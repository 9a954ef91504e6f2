//! Gives every active namespace its `default` ServiceAccount, which pods run as when they name no other.

use std::sync::Arc;

use informer::{Action, Cache, Controller, Delta, Key, Plan, Round, Scope, Sources};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::core::ObjectMeta;

use crate::namespace::is_active;
use crate::target::{dynamic, target};

/// The account's name.
const DEFAULT: &str = "default";

/// See the module's documentation. Keys are namespaces.
pub struct ServiceAccountController {
    namespaces: Cache<Namespace>,
    accounts: Cache<ServiceAccount>,
}

/// A namespace and whether its account exists.
pub struct Observed {
    namespace: Arc<Namespace>,
    present: bool,
}

impl Controller for ServiceAccountController {
    const NAME: &'static str = "serviceaccount-controller";
    const QUEUE: &'static str = "serviceaccount";
    const ACCOUNT: &'static str = "service-account-controller";
    const WORKERS: usize = 1;
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        Self {
            namespaces: sources.primary(),
            accounts: sources.mapped_in(
                Scope::fields("metadata.name=default"),
                |delta: &Delta<ServiceAccount>| match delta {
                    Delta::Applied { .. } => Vec::new(),
                    Delta::Deleted(gone) => {
                        vec![Key::new("", gone.namespace())]
                    }
                },
            ),
        }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let name = &round.key.name;
        let present = self.accounts.has(&Key::new(name, DEFAULT));
        Ok(self.namespaces.get("", name).map(|namespace| Observed { namespace, present }))
    }

    fn reconcile(observed: &Observed, _: jiff::Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        if observed.present || !is_active(&observed.namespace) {
            return plan;
        }
        let namespace = observed.namespace.metadata.name.clone().unwrap_or_default();
        let account = ServiceAccount {
            metadata: ObjectMeta {
                name: Some(DEFAULT.to_owned()),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            ..ServiceAccount::default()
        };
        plan.then(Action::Create {
            target: target::<ServiceAccount>(&namespace, ""),
            object: dynamic(&account),
        });
        plan.because("the namespace has no default account")
    }
}
