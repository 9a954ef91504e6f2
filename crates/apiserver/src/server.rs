//! [`Server`]: the API server as a whole. `Config` and [`Deps`] → [`Server::build`] → [`Server::run`],
//! and [`Server::in_process`] for components of the same process.
//!
//! Both transports (`connection`, `in_process`) enter the `pipeline`; its last step, the `router`, finds the handler.

mod connection;
mod in_process;
mod paths;
pub(crate) mod pipeline;
mod router;

use std::sync::Arc;

use base::Shutdown;
use resources::ResourceSource;
use serving::{Pem, Policy, ServerTls, TlsError, Unverified};
use tokio::net::TcpListener;

pub use in_process::InProcess;

use crate::build::Version;
use crate::context::{Context, Deps, Limits};
use crate::health::Steps;
use crate::request::User;

/// What can be set about the server.
#[derive(Clone, Default)]
pub struct Config {
    pub limits: Limits,
    /// Where requests are written down; nowhere without it.
    pub audit: Option<crate::audit::Audit>,
    /// The commit that `/version` names.
    pub commit: &'static str,
}

/// TLS as the API server speaks it. A client certificate that does not verify does not end the handshake: the
/// connection is marked, and its requests are answered 401, as upstream does.
///
/// # Errors
/// When a part cannot be parsed or the key does not fit the certificate.
pub fn tls(pem: Pem<'_>) -> Result<ServerTls, TlsError> {
    ServerTls::new(Policy { unverified: Unverified::Served, protocols: &["h2", "http/1.1"] }, pem)
}

/// The API server. Cheap to clone; all clones are one server.
#[derive(Clone)]
pub struct Server {
    context: Arc<Context>,
}

impl Server {
    /// Puts the parts together. Nothing runs yet, but [`Server::in_process`] works from here on.
    pub fn build(config: Config, deps: Deps) -> Self {
        let context =
            Context { audit: config.audit, commit: config.commit, ..Context::new(config.limits, deps) };
        for plugin in &context.deps.admission {
            context.metrics.process.register(|registry| plugin.register(registry));
        }
        if let Some(audit) = &context.audit {
            context.metrics.process.register(|registry| audit.register(registry));
        }
        context.metrics.tell_build(&Version::built_from(config.commit).info());
        Self { context: Arc::new(context) }
    }

    /// A transport for components of this process. Requests go through the whole pipeline as `user`.
    pub fn in_process(&self, user: impl Into<Arc<User>>) -> InProcess {
        InProcess::new(Arc::clone(&self.context), user.into())
    }

    /// Serves HTTPS on `listener` until `shutdown`, then lets open requests end (5 s at most).
    pub async fn run(&self, listener: TcpListener, tls: Arc<ServerTls>, shutdown: Shutdown) {
        connection::serve(Arc::clone(&self.context), listener, tls, shutdown).await;
    }

    /// The kinds that are served, as they come and go.
    pub fn kinds(&self) -> Arc<dyn ResourceSource> {
        Arc::clone(&self.context.deps.resources)
    }

    /// What `/metrics` shows; other parts of the process add theirs.
    pub fn metrics(&self) -> &base::Metrics {
        &self.context.metrics.process
    }

    /// The server's answer to `/readyz` may depend on checks of other parts: `check` answers an
    /// error text while its part is not ready.
    pub fn add_ready_check(
        &self,
        name: &'static str,
        check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.context.health.add_ready_check(name, Box::new(check));
    }

    /// The same of a check that `/livez` and `/healthz` ask too.
    pub fn add_check(
        &self,
        name: &'static str,
        check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.context.health.add_check(name, Box::new(check));
    }

    /// Steps of the start under upstream's names: `/livez`, `/readyz` and `/healthz` fail until they are done.
    pub fn begin(&self, steps: &[&'static str]) -> Steps {
        self.context.health.begin(steps)
    }
}
