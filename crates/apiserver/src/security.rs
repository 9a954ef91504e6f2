//! [`Security`]: authentication, authorization and admission, with the components they share.
//!
//! `Config` → [`Security::start`]; the parts go into [`Deps`](crate::Deps). Requires a running watch cache.

use std::sync::Arc;

use base::{Clock, Supervisor};
use resources::ResourceSource;

use crate::admission::{self, Admission, Asking, Reserver, Sources};
use crate::bootstrap;
use crate::cache::lookup::Lookup;
use crate::cache::{Cache, CacheError};
use crate::conversion::Converter;
use crate::identity::authn::service_account::{
    DEFAULT_ISSUER, Issuer, SecretTokens, ServiceAccounts, SigningKey, TokenSettings,
};
use crate::identity::authn::{
    self, Anonymous, Authenticator, BootstrapTokens, ClientCertificate, StaticTokens,
};
use crate::identity::authz::node::NodeAuthorizer;
use crate::identity::authz::rbac::Rbac;
use crate::identity::authz::{self, Authorizer, PrivilegedGroup};
use crate::identity::{RuleResolver, TokenIssuer};
use crate::webhook::Caller;

/// What can be set about security.
pub struct SecurityConfig {
    /// `iss` and default audience of service account tokens.
    pub issuer: String,
    /// The first signs tokens, all check them.
    pub token_keys: Vec<SigningKey>,
    pub static_tokens: StaticTokens,
    /// Whether requests without credentials are `system:anonymous` (upstream's default) or refused.
    pub anonymous: bool,
}

impl SecurityConfig {
    /// Upstream's defaults and one key.
    pub fn new(token_key: SigningKey) -> Self {
        Self {
            issuer: DEFAULT_ISSUER.to_owned(),
            token_keys: vec![token_key],
            static_tokens: StaticTokens::default(),
            anonymous: true,
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
    /// When the watch cache does not hold the resources that security stands on.
    pub fn start(
        config: SecurityConfig,
        cache: &Cache,
        kinds: Arc<dyn ResourceSource>,
        converter: Arc<dyn Converter>,
        caller: Caller,
        clock: Arc<dyn Clock>,
        supervisor: &Supervisor,
    ) -> Result<Self, CacheError> {
        let lookup = Lookup::new(cache.clone());
        let rbac = Rbac::start(&lookup, supervisor)?;
        let node = NodeAuthorizer::start(&lookup, bootstrap::node_rules().into(), supervisor)?;
        let authorizer: Arc<dyn Authorizer> = Arc::new(authz::Union(vec![
            Arc::new(PrivilegedGroup),
            Arc::new(node.clone()),
            Arc::new(rbac.clone()),
        ]));
        let settings = TokenSettings {
            issuer: config.issuer,
            keys: config.token_keys.into(),
            clock,
            lookup: lookup.clone(),
        };
        let mut authenticators: Vec<Arc<dyn Authenticator>> = vec![
            Arc::new(ClientCertificate),
            Arc::new(config.static_tokens),
            Arc::new(ServiceAccounts::new(settings.clone())),
            Arc::new(SecretTokens::new(settings.clone())),
            Arc::new(BootstrapTokens::new(lookup.clone(), settings.clock.clone())),
        ];
        if config.anonymous {
            authenticators.push(Arc::new(Anonymous::default()));
        }
        let asking = Asking::new(lookup.clone(), kinds, converter, Arc::clone(&authorizer), caller);
        let sources = Sources {
            lookup: &lookup,
            rbac: &rbac,
            authorizer: &authorizer,
            clock: &settings.clock,
            asking: &asking,
        };
        Ok(Self {
            authenticator: Arc::new(authn::Union(authenticators)),
            reservers: admission::reservers(cache, &settings.clock, supervisor),
            admission: admission::plugins(&sources),
            authorizer,
            tokens: Arc::new(Issuer::new(settings)),
            rules: Arc::new(rbac.clone()),
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

#[cfg(test)]
mod tests;
