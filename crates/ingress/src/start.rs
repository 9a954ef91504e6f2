//! [`start`]: puts the parts together and starts them.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use base::TaskKind;
use base::backoff::Policy;
use informer::{Controller, Manager};
use tokio::sync::watch;

use crate::class;
use crate::controller::IngressController;
use crate::feed::{Feed, FeedDeps};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::ports::Ports;
use crate::proxy::{Proxy, ProxyDeps};
use crate::tls::{CertificateError, Certificates};
use crate::told::Told;
use crate::view::View;

/// The service account of `kube-system` as which Ingresses' status and events are written.
pub const ACCOUNT: &str = IngressController::ACCOUNT;

/// Between tries to make the class.
const AGAIN: Policy = Policy::new(Duration::from_millis(500), Duration::from_secs(60));

/// The settings of Ingress.
#[derive(Debug, Clone)]
pub struct Config {
    pub http_port: NonZeroU16,
    pub https_port: NonZeroU16,
    /// The machine's addresses as they are now, best first.
    pub addresses: watch::Receiver<Vec<IpAddr>>,
}

/// Why Ingress cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the fallback certificate: {0}")]
    Certificate(#[from] CertificateError),
    #[error("TLS to endpoints: {0}")]
    Tls(#[from] serving::TlsError),
}

/// Makes the class that every cluster has, and starts the proxy and the controller. No port is open before an
/// Ingress wants it.
///
/// # Errors
/// When a part cannot be made.
pub async fn start(config: Config, manager: &mut Manager, metrics: &base::Metrics) -> Result<(), StartError> {
    let context = manager.context().clone();
    let supervisor = context.supervisor.clone();
    let client = (context.client_of)(ACCOUNT);
    if let Err(error) = class::ensure(&client).await {
        // Somebody who has a say in what is allowed may be away: the server goes on without.
        tracing::warn!(
            class = class::NAME,
            error = client::message(&error),
            "the IngressClass is not made yet"
        );
        let shutdown = supervisor.shutdown().clone();
        supervisor.spawn(TaskKind::Background, "ingress class", make_class(client, shutdown));
    }
    let certificates = Arc::new(Certificates::new(context.clock.now())?);
    let proxy = Proxy::new(ProxyDeps {
        certificates: Arc::clone(&certificates),
        limits: Limits::of_process(),
        metrics: Metrics::registered(metrics),
        https_port: config.https_port.get(),
        supervisor: supervisor.clone(),
    })?;
    let told = Told::default();
    let (http, https) = (config.http_port.get(), config.https_port.get());
    let feed = Feed::new(FeedDeps {
        view: View::new(&context.informers),
        ports: Ports::new(proxy.clone(), supervisor.clone(), http, https),
        proxy,
        certificates,
        told: told.clone(),
        addresses: config.addresses,
    });
    supervisor.spawn(TaskKind::Essential, "ingress", feed.run(supervisor.shutdown().clone()));
    manager.start::<IngressController>(told);
    Ok(())
}

/// Tries until the class is there.
async fn make_class(client: kube::Client, shutdown: base::Shutdown) {
    for failures in 1.. {
        tokio::select! {
            () = tokio::time::sleep(AGAIN.delay(failures)) => {}
            () = shutdown.started() => return,
        }
        if class::ensure(&client).await.is_ok() {
            return;
        }
    }
}
