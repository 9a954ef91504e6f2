//! Deletes the Secrets of tokens that have expired, each when its time has come.

use std::sync::Arc;
use std::time::Duration;

use informer::plan::DeletePolicy;
use informer::{Action, Cache, Controller, Delta, Plan, Round, Sources};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use resources::bootstrap_token::{Expiration, Stored};

use super::{is_about_token, secrets};
use crate::target::target_of;

/// See the module's documentation. Keys are Secrets.
pub struct TokenCleanerController {
    secrets: Cache<Secret>,
}

impl Controller for TokenCleanerController {
    const NAME: &'static str = "token-cleaner-controller";
    const QUEUE: &'static str = "token_cleaner";
    const ACCOUNT: &'static str = "token-cleaner";
    const WORKERS: usize = 1;
    type Config = ();
    type Observed = Arc<Secret>;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let secrets = sources.mapped_in(secrets(), |delta: &Delta<Secret>| match is_about_token(delta) {
            true => vec![delta.object().key.clone()],
            false => Vec::new(),
        });
        Self { secrets }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Arc<Secret>>, kube::Error> {
        Ok(self.secrets.get_key(round.key))
    }

    fn reconcile(secret: &Arc<Secret>, now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        match Stored(secret).expiration(now) {
            Expiration::Never => plan,
            Expiration::In(left) => {
                plan.look_again(left.unsigned_abs() + Duration::from_millis(1));
                plan
            }
            Expiration::Past => {
                let policy = DeletePolicy { uid: secret.metadata.uid.clone(), ..DeletePolicy::default() };
                plan.then(Action::Delete { target: target_of(&**secret), policy });
                plan.because("the token has expired")
            }
        }
    }
}
