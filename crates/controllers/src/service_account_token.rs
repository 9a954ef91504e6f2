//! Puts a token into each Secret of type `kubernetes.io/service-account-token`, with the cluster's CA certificates and the
//! namespace; a Secret whose account is gone goes too.
//!
//! Upstream: `pkg/controller/serviceaccount/tokens_controller.go`.

use std::collections::BTreeMap;
use std::sync::Arc;

use informer::plan::DeletePolicy;
use informer::{Action, Cache, Controller, Delta, Plan, Round, Scope, Sources};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::Api;

use crate::target::{target_of, update};

const SECRET_TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
const TOKEN: &str = "token";
const CA: &str = "ca.crt";
const NAMESPACE: &str = "namespace";

/// Signs the token of an account for the Secret of a name; fails with why it cannot.
pub type SignToken = Arc<dyn Fn(&ServiceAccount, &str) -> Result<String, String> + Send + Sync>;

/// What is put into Secrets.
#[derive(Clone)]
pub struct Config {
    pub sign: SignToken,
    /// The cluster's CA certificates in PEM.
    pub root_ca_pem: Arc<str>,
}

/// See the module's documentation. Keys are Secrets.
pub struct ServiceAccountTokenController {
    config: Config,
    secrets: Cache<Secret>,
    accounts: Cache<ServiceAccount>,
}

/// A Secret and what belongs into it.
#[derive(Debug)]
pub struct Observed {
    pub(crate) secret: Arc<Secret>,
    /// None where there is no such account (any more).
    pub(crate) account: Option<Arc<ServiceAccount>>,
    /// A new one, if the Secret has none.
    pub(crate) token: Option<String>,
    pub(crate) root_ca_pem: Arc<str>,
}

fn annotation<'a>(secret: &'a Secret, key: &str) -> &'a str {
    secret.metadata.annotations.as_ref().and_then(|all| all.get(key)).map_or("", String::as_str)
}

fn holds(secret: &Secret, key: &str) -> bool {
    secret.data.as_ref().and_then(|data| data.get(key)).is_some_and(|value| !value.0.is_empty())
}

fn uid(account: &ServiceAccount) -> &str {
    account.metadata.uid.as_deref().unwrap_or_default()
}

/// Whether the account is the one that the Secret is for.
fn is_meant(secret: &Secret, account: &ServiceAccount) -> bool {
    let named = annotation(secret, ACCOUNT_UID);
    named.is_empty() || named == uid(account)
}

impl Controller for ServiceAccountTokenController {
    const NAME: &'static str = "serviceaccount-token-controller";
    const QUEUE: &'static str = "serviceaccount_tokens_secret";
    const ACCOUNT: &'static str = "service-account-token-controller";
    const WORKERS: usize = 1;
    type Config = Config;
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, config: Config) -> Self {
        let scope = Scope::fields(format!("type={SECRET_TYPE}"));
        let secrets = sources.mapped_in(scope, |delta: &Delta<Secret>| vec![delta.object().key.clone()]);
        let by_account = secrets.index("service-account", |secret, found| {
            if let Some(typed) = secret.typed() {
                found(&format!("{}/{}", secret.namespace(), annotation(typed, ACCOUNT_NAME)));
            }
        });
        let accounts = sources.mapped(move |delta: &Delta<ServiceAccount>| {
            let account = delta.object();
            // What an account says changes no token; which account it is does.
            match delta.old().is_some_and(|old| old.uid == account.uid)
                && matches!(delta, Delta::Applied { .. })
            {
                true => Vec::new(),
                false => by_account.keys(&format!("{}/{}", account.namespace(), account.name())),
            }
        });
        Self { config, secrets, accounts }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(secret) = self.secrets.get_key(round.key) else { return Ok(None) };
        let (namespace, name) = (&round.key.namespace, annotation(&secret, ACCOUNT_NAME));
        let mut account = self.accounts.get(namespace, name).filter(|account| is_meant(&secret, account));
        if account.is_none() && !name.is_empty() {
            // The cache may lag behind a Secret that was made right after its account.
            let accounts: Api<ServiceAccount> = Api::namespaced(round.client.clone(), namespace);
            account =
                accounts.get_opt(name).await?.filter(|account| is_meant(&secret, account)).map(Arc::new);
        }
        let mut token = None;
        if let Some(account) = account.as_ref().filter(|_| !holds(&secret, TOKEN)) {
            let signed = (self.config.sign)(account, &round.key.name);
            token = Some(signed.map_err(|why| kube::Error::Service(why.into()))?);
        }
        Ok(Some(Observed { secret, account, token, root_ca_pem: self.config.root_ca_pem.clone() }))
    }

    fn reconcile(observed: &Observed, _: Timestamp) -> Plan {
        let Observed { secret, account, token, root_ca_pem } = observed;
        let mut plan = Plan::nothing();
        if secret.metadata.deletion_timestamp.is_some() {
            return plan;
        }
        let Some(account) = account else {
            let policy = DeletePolicy { uid: secret.metadata.uid.clone(), ..DeletePolicy::default() };
            plan.then(Action::Delete { target: target_of(&**secret), policy });
            return plan.because("its service account is gone");
        };
        let mut new = Secret::clone(secret);
        let data: &mut BTreeMap<String, ByteString> = new.data.get_or_insert_default();
        data.insert(CA.to_owned(), ByteString(root_ca_pem.as_bytes().to_vec()));
        if !holds(secret, NAMESPACE) {
            let namespace = secret.metadata.namespace.clone().unwrap_or_default();
            data.insert(NAMESPACE.to_owned(), ByteString(namespace.into_bytes()));
        }
        if let Some(token) = token {
            data.insert(TOKEN.to_owned(), ByteString(token.clone().into_bytes()));
        }
        let annotations = new.metadata.annotations.get_or_insert_default();
        annotations.insert(ACCOUNT_NAME.to_owned(), account.metadata.name.clone().unwrap_or_default());
        annotations.insert(ACCOUNT_UID.to_owned(), uid(account).to_owned());
        if new != **secret {
            plan.then(update(&new));
            return plan.because("the secret lacks what belongs to a token");
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn secret(more: Value) -> Arc<Secret> {
        let mut secret = json!({
            "metadata": {
                "name": "s", "namespace": "ns", "uid": "su",
                "annotations": {"kubernetes.io/service-account.name": "bot"},
            },
            "type": SECRET_TYPE,
        });
        let Value::Object(more) = more else { unreachable!("an object") };
        secret.as_object_mut().expect("an object").extend(more);
        Arc::new(serde_json::from_value(secret).expect("a secret"))
    }

    fn account() -> Arc<ServiceAccount> {
        let account = json!({"metadata": {"name": "bot", "namespace": "ns", "uid": "au"}});
        Arc::new(serde_json::from_value(account).expect("an account"))
    }

    fn plan(secret: Arc<Secret>, account: Option<Arc<ServiceAccount>>, token: Option<&str>) -> Plan {
        let token = token.map(str::to_owned);
        let observed = Observed { secret, account, token, root_ca_pem: "ca".into() };
        ServiceAccountTokenController::reconcile(&observed, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_secret_gets_what_belongs_to_a_token_and_then_rests() {
        let plan_for = plan(secret(json!({"data": {"own": "eA=="}})), Some(account()), Some("t"));
        let [Action::Update { object, .. }] = &plan_for.actions[..] else { panic!("{plan_for:?}") };
        let filled: Secret = object.typed().expect("a secret");
        let data = serde_json::to_value(&filled.data).expect("data");
        assert_eq!(data, json!({"ca.crt": "Y2E=", "namespace": "bnM=", "own": "eA==", "token": "dA=="}));
        assert_eq!(annotation(&filled, ACCOUNT_UID), "au");
        assert_eq!(plan(Arc::new(filled.clone()), Some(account()), None), Plan::nothing());
        // A namespace that somebody wrote stays; certificates are kept current.
        let mut own = filled;
        own.data.get_or_insert_default().insert(NAMESPACE.to_owned(), ByteString(b"mine".to_vec()));
        own.data.get_or_insert_default().insert(CA.to_owned(), ByteString(b"old".to_vec()));
        let plan_for = plan(Arc::new(own), Some(account()), None);
        let [Action::Update { object, .. }] = &plan_for.actions[..] else { panic!("{plan_for:?}") };
        let data = serde_json::to_value(object.typed::<Secret>().expect("a secret").data).expect("data");
        assert_eq!((&data["namespace"], &data["ca.crt"]), (&json!("bWluZQ=="), &json!("Y2E=")));
    }

    #[test]
    fn a_secret_goes_with_its_account() {
        let plan_for = plan(secret(json!({})), None, None);
        let [Action::Delete { policy, .. }] = &plan_for.actions[..] else { panic!("{plan_for:?}") };
        assert_eq!(policy.uid.as_deref(), Some("su"));
        // An account of the same name is another one.
        let mut of_another = Secret::clone(&secret(json!({})));
        let annotations = of_another.metadata.annotations.get_or_insert_default();
        annotations.insert(ACCOUNT_UID.to_owned(), "before".to_owned());
        assert!(!is_meant(&of_another, &account()));
        of_another.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).ok();
        assert_eq!(plan(Arc::new(of_another), None, None), Plan::nothing());
    }
}
