//! [`View`]: the objects that Ingress is made of, and which Ingresses are served here.

use std::collections::BTreeSet;
use std::sync::Arc;

use informer::{Cache, Cached, Delta, Index, Informers, Key};
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use rustls::sign::CertifiedKey;
use serde::Deserialize;

use crate::tls::{self, CertificateError};
use crate::translate::backend::{Backend, ServiceBackend};
use crate::translate::endpoints::{self, Lack, Offer};
use crate::translate::{CONTROLLER, Claim, IngressView, Source, by_age};

const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// What is read of a class.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ClassView {
    spec: ClassSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ClassSpec {
    controller: Option<String>,
}

/// Whether a class is served here.
pub(crate) fn is_own_class(class: &Cached<IngressClass>) -> bool {
    class.view::<ClassView>().spec.controller.as_deref() == Some(CONTROLLER)
}

/// The caches with their indexes. Clones share them.
#[derive(Clone)]
pub(crate) struct View {
    pub ingresses: Cache<Ingress>,
    pub classes: Cache<IngressClass>,
    pub services: Cache<Service>,
    pub slices: Cache<EndpointSlice>,
    pub secrets: Cache<Secret>,
    /// By the names of their classes.
    pub by_class: Index<Ingress>,
    /// By the hosts of their rules, as [`crate::router::Pattern`] writes them.
    pub by_host: Index<Ingress>,
    /// Those with a default backend, by the names of their classes.
    pub with_default: Index<Ingress>,
    /// By the paths of their hosts, as [`crate::translate::Claim`] writes them.
    pub by_claim: Index<Ingress>,
    by_service: Index<Ingress>,
    by_secret: Index<Ingress>,
    slices_by_service: Index<EndpointSlice>,
}

impl View {
    pub fn new(informers: &Informers) -> Self {
        Self::of(
            informers.cache(),
            informers.cache(),
            informers.cache(),
            informers.cache(),
            informers.cache(),
        )
    }

    pub fn of(
        ingresses: Cache<Ingress>,
        classes: Cache<IngressClass>,
        services: Cache<Service>,
        slices: Cache<EndpointSlice>,
        secrets: Cache<Secret>,
    ) -> Self {
        let by_class = ingresses.index("ingress-class", |ingress, found| {
            if let Some(class) = view(ingress).class() {
                found(class);
            }
        });
        let with_default = ingresses.index("ingress-default", |ingress, found| {
            let view = view(ingress);
            if let Some(class) = view.class().filter(|_| view.spec.default_backend.is_some()) {
                found(class);
            }
        });
        let by_host = ingresses.index("ingress-host", |ingress, found| {
            view(ingress).hosts().iter().for_each(|host| found(&host.to_string()));
        });
        let by_claim = ingresses.index("ingress-claim", |ingress, found| {
            view(ingress).claims().iter().for_each(|claim| found(&claim.to_string()));
        });
        let by_service = ingresses.index("ingress-service", |ingress, found| {
            services_of(ingress).iter().for_each(|service| found(&service.to_string()));
        });
        let by_secret = ingresses.index("ingress-secret", |ingress, found| {
            secrets_of(ingress).iter().for_each(|secret| found(&secret.to_string()));
        });
        let slices_by_service = slices.index("ingress-service", |slice, found| {
            if let Some(service) = service_of(slice) {
                found(&service.to_string());
            }
        });
        Self {
            ingresses,
            classes,
            services,
            slices,
            secrets,
            by_class,
            by_host,
            with_default,
            by_claim,
            by_service,
            by_secret,
            slices_by_service,
        }
    }

    pub async fn wait_synced(&self) {
        self.ingresses.wait_synced().await;
        self.classes.wait_synced().await;
        self.services.wait_synced().await;
        self.slices.wait_synced().await;
        self.secrets.wait_synced().await;
    }

    /// Whether an Ingress is served here.
    pub fn is_ours(&self, ingress: &Cached<Ingress>) -> bool {
        let view = view(ingress);
        let class = view.class().and_then(|class| self.classes.find(&Key::new("", class)));
        class.is_some_and(|class| is_own_class(&class))
    }

    /// The names of the classes that are served here.
    pub fn own_classes(&self) -> Vec<String> {
        let classes = self.classes.scan("a cluster has a handful of classes");
        let own = classes.iter().filter(|class| is_own_class(class));
        own.map(|class| class.name().to_owned()).collect()
    }

    /// The Ingresses that are served here.
    pub fn ours(&self) -> BTreeSet<Key> {
        self.own_classes().iter().flat_map(|class| self.by_class.keys(class)).collect()
    }

    pub fn has_any(&self) -> bool {
        self.own_classes().iter().any(|class| self.by_class.count(class) > 0)
    }

    /// The Ingresses with a rule for a Service.
    pub fn of_service(&self, service: &Key) -> Vec<Key> {
        self.by_service.keys(&service.to_string())
    }

    /// The Ingresses that show the certificate of a Secret.
    pub fn of_secret(&self, secret: &Key) -> Vec<Key> {
        self.by_secret.keys(&secret.to_string())
    }

    /// The paths of an Ingress that an older one has, with the one that has them.
    pub fn lost(&self, ingress: &Cached<Ingress>) -> Vec<(Claim, Key)> {
        let own = Source::of(ingress);
        let lost = own.view.claims().into_iter().filter_map(|claim| {
            let rivals = self.by_claim.get(&claim.to_string());
            let rivals =
                rivals.iter().filter(|rival| rival.key != own.key && self.is_ours(rival)).map(Source::of);
            let mut older: Vec<Source> = rivals.filter(|rival| rival.seniority() < own.seniority()).collect();
            by_age(&mut older);
            older.into_iter().next().map(|older| (claim, older.key))
        });
        lost.collect()
    }

    /// Younger Ingresses that have a path which an Ingress has come to have.
    pub fn losers(&self, delta: &Delta<Ingress>) -> Vec<Key> {
        let Delta::Applied { new, old } = delta else { return Vec::new() };
        let before = old.as_ref().map(|old| view(old).claims()).unwrap_or_default();
        let own = Source::of(new);
        let come = own.view.claims().into_iter().filter(|claim| !before.contains(claim));
        let rivals = come.flat_map(|claim| self.by_claim.get(&claim.to_string()));
        let younger =
            rivals.map(|rival| Source::of(&rival)).filter(|rival| rival.seniority() > own.seniority());
        younger.map(|rival| rival.key).collect()
    }

    /// The endpoints of a backend as they are now.
    pub fn offer(&self, backend: &Backend) -> Offer {
        match backend {
            Backend::Resource(_) => Offer { lack: Some(Lack::Resource), ..Offer::default() },
            Backend::Service(backend) => self.offer_of_service(backend),
        }
    }

    fn offer_of_service(&self, backend: &ServiceBackend) -> Offer {
        let service = self.services.get_key(&backend.service);
        let slices = self.slices_by_service.get(&backend.service.to_string());
        let slices: Vec<Arc<EndpointSlice>> =
            slices.iter().filter_map(|slice| slice.typed().cloned()).collect();
        endpoints::offer(backend, service.as_deref(), slices.iter().map(|slice| &**slice))
    }

    /// The certificate of a Secret.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn certificate(&self, secret: &Key) -> Result<Arc<CertifiedKey>, CertificateError> {
        let secret = self.secrets.get_key(secret).ok_or(CertificateError::NoSecret)?;
        let part = |name| {
            let part = secret.data.as_ref().and_then(|data| data.get(name));
            part.map(|part| &part.0[..]).ok_or(CertificateError::NoKey(name))
        };
        tls::read(part("tls.crt")?, part("tls.key")?)
    }
}

pub(crate) fn view(ingress: &Cached<Ingress>) -> Arc<IngressView> {
    ingress.view()
}

/// The Service that a slice belongs to.
pub(crate) fn service_of(slice: &Cached<EndpointSlice>) -> Option<Key> {
    slice.label(SERVICE_NAME_LABEL).map(|name| Key::new(slice.namespace(), name))
}

fn services_of(ingress: &Cached<Ingress>) -> BTreeSet<Key> {
    let view = view(ingress);
    let services = view.backends(ingress.namespace()).filter_map(|backend| match backend {
        Backend::Service(backend) => Some(backend.service),
        Backend::Resource(_) => None,
    });
    services.collect()
}

fn secrets_of(ingress: &Cached<Ingress>) -> BTreeSet<Key> {
    let view = view(ingress);
    let named = view.spec.tls.iter().flatten().filter_map(|tls| tls.secret_name.as_deref());
    named.filter(|name| !name.is_empty()).map(|name| Key::new(ingress.namespace(), name)).collect()
}
