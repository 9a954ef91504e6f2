//! [`Security`]: authentication, authorization and admission, with the components they share.
//!
//! `Config` → [`Security::start`]; the parts go into [`Deps`](crate::Deps). Requires a running watch cache.

use std::sync::Arc;

use base::{Clock, Supervisor};
use resources::ResourceSource;

use crate::admission::{self, Admission, Asking, Choice, Configuration, Reserver, Sources};
use crate::bootstrap;
use crate::cache::lookup::Lookup;
use crate::cache::{Cache, CacheError};
use crate::conversion::Converter;
use crate::identity::authn::jwt::{AuthenticationConfiguration, Jwt};
use crate::identity::authn::service_account::{
    DEFAULT_ISSUER, Issuer, SecretTokens, ServiceAccounts, SigningKey, TokenSettings,
};
use crate::identity::authn::{
    self, Anonymous, Authenticator, BootstrapTokens, ClientCertificate, ForTheApi, StaticTokens,
    TokenWebhook, WebhookTokens,
};
use crate::identity::authz::node::NodeAuthorizer;
use crate::identity::authz::rbac::Rbac;
use crate::identity::authz::{
    self, AlwaysAllow, AlwaysDeny, AuthorizationConfiguration, Authorizer, Mode, PrivilegedGroup, Webhook,
};
use crate::identity::{RuleResolver, Rules, TokenIssuer};
use crate::request::User;
use crate::webhook::Caller;

/// What can be set about security.
pub struct SecurityConfig {
    /// `iss` and default audience of service account tokens.
    pub issuer: String,
    /// The first signs tokens, all check them.
    pub token_keys: Vec<SigningKey>,
    pub static_tokens: StaticTokens,
    /// Who else may come in, and whether those may who do not say who they are.
    pub authentication: AuthenticationConfiguration,
    /// Who is asked about tokens that nobody else knows.
    pub token_webhook: Option<TokenWebhook>,
    /// Who is asked whether a request is allowed.
    pub authorization: AuthorizationConfiguration,
    /// What admission plugins are told.
    pub admission: Configuration,
    /// Which of them are on.
    pub plugins: Choice,
}

/// Why security cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error("{0}")]
    Setting(String),
}

impl SecurityConfig {
    /// Upstream's defaults and one key.
    pub fn new(token_key: SigningKey) -> Self {
        Self {
            issuer: DEFAULT_ISSUER.to_owned(),
            token_keys: vec![token_key],
            static_tokens: StaticTokens::default(),
            authentication: AuthenticationConfiguration::default(),
            token_webhook: None,
            authorization: AuthorizationConfiguration::default(),
            admission: Configuration::default(),
            plugins: Choice::default(),
        }
    }
}

/// The parts, ready for [`Deps`](crate::Deps).
pub struct Security {
    pub authenticator: Arc<dyn Authenticator>,
    pub authorizer: Arc<dyn Authorizer>,
    pub admission: Vec<Arc<dyn Admission>>,
    pub reservers: Vec<Arc<dyn Reserver>>,
    pub tokens: Arc<dyn TokenIssuer>,
    pub rules: Arc<dyn RuleResolver>,
    rbac: Rbac,
    node: NodeAuthorizer,
}

impl Security {
    /// Reads what is stored and follows it until the supervisor's shutdown. `kinds` and `converter` are those that the
    /// server is built with.
    ///
    /// # Errors
    /// When the watch cache does not hold the resources that security stands on, or a file that is named cannot be used.
    pub async fn start(
        config: SecurityConfig,
        cache: &Cache,
        kinds: Arc<dyn ResourceSource>,
        converter: Arc<dyn Converter>,
        caller: Caller,
        clock: Arc<dyn Clock>,
        supervisor: &Supervisor,
    ) -> Result<Self, SecurityError> {
        let lookup = Lookup::new(cache.clone());
        let rbac = Rbac::start(&lookup, supervisor)?;
        let node = NodeAuthorizer::start(&lookup, bootstrap::node_rules().into(), supervisor)?;
        let asks_others = config.authorization.modes.iter().any(|mode| matches!(mode, Mode::Webhook(_)));
        let authorizer: Arc<dyn Authorizer> =
            Arc::new(authz::Union(authorizers(config.authorization, &node, &rbac).await?));
        let settings = TokenSettings {
            issuer: config.issuer,
            keys: config.token_keys.into(),
            clock,
            lookup: lookup.clone(),
        };
        let mut authenticators: Vec<Arc<dyn Authenticator>> = vec![
            Arc::new(ClientCertificate),
            Arc::new(for_the_api(&settings, config.static_tokens)),
            Arc::new(ServiceAccounts::new(settings.clone())),
            Arc::new(SecretTokens::new(settings.clone())),
            Arc::new(for_the_api(&settings, BootstrapTokens::new(lookup.clone(), settings.clock.clone()))),
        ];
        for issuer in config.authentication.issuers {
            let jwt = Jwt::start(issuer, settings.clock.clone(), supervisor);
            authenticators.push(Arc::new(for_the_api(&settings, jwt.map_err(SecurityError::Setting)?)));
        }
        if let Some(webhook) = config.token_webhook {
            let webhook = WebhookTokens::open(webhook, vec![settings.issuer.clone()]).await;
            authenticators.push(Arc::new(webhook.map_err(SecurityError::Setting)?));
        }
        let anonymous = config.authentication.anonymous;
        if anonymous.enabled {
            authenticators.push(Arc::new(Anonymous::on(anonymous.paths)));
        }
        let asking = Asking::new(lookup.clone(), kinds, converter, Arc::clone(&authorizer), caller);
        let sources = Sources {
            lookup: &lookup,
            rbac: &rbac,
            authorizer: &authorizer,
            clock: &settings.clock,
            asking: &asking,
            configuration: &config.admission,
        };
        Ok(Self {
            authenticator: Arc::new(authn::Union(authenticators)),
            reservers: admission::reservers(cache, &settings.clock, supervisor, &config.plugins),
            admission: admission::plugins(&sources, &config.plugins),
            authorizer,
            tokens: Arc::new(Issuer::new(settings)),
            rules: Arc::new(KnownRules { rbac: rbac.clone(), asks_others }),
            rbac,
            node,
        })
    }

    /// A wait until all roles, bindings and pods that the watch cache holds by then count: what follows
    /// [`bootstrap::run`](crate::bootstrap::run).
    pub async fn settled(&self) {
        self.rbac.settled().await;
        self.node.settled().await;
    }
}

/// The rules that are known here, when others are asked, too.
struct KnownRules {
    rbac: Rbac,
    asks_others: bool,
}

impl RuleResolver for KnownRules {
    fn rules(&self, user: &Arc<User>, namespace: &str) -> Rules {
        let mut rules = self.rbac.rules(user, namespace);
        if self.asks_others {
            rules.incomplete = true;
            if !rules.evaluation_error.is_empty() {
                rules.evaluation_error.push_str(", ");
            }
            rules.evaluation_error.push_str("webhook authorizer does not support user rule resolution");
        }
        rules
    }
}

fn for_the_api<A: Authenticator>(settings: &TokenSettings, inner: A) -> ForTheApi<A> {
    ForTheApi { inner, audiences: vec![settings.issuer.clone()] }
}

/// Those who are asked in turn whether a request is allowed.
async fn authorizers(
    configuration: AuthorizationConfiguration,
    node: &NodeAuthorizer,
    rbac: &Rbac,
) -> Result<Vec<Arc<dyn Authorizer>>, SecurityError> {
    let mut all: Vec<Arc<dyn Authorizer>> = vec![Arc::new(PrivilegedGroup)];
    for mode in configuration.modes {
        all.push(match mode {
            Mode::Node => Arc::new(node.clone()),
            Mode::Rbac => Arc::new(rbac.clone()),
            Mode::AlwaysAllow => Arc::new(AlwaysAllow),
            Mode::AlwaysDeny => Arc::new(AlwaysDeny),
            Mode::Webhook(webhook) => {
                Arc::new(Webhook::open(*webhook).await.map_err(SecurityError::Setting)?)
            }
        });
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
