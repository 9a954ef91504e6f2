//! [`Setup`]: the rules in force, with the servers that they pass questions on to; and how they follow a ConfigMap.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use hickory_server::proto::op::ResponseCode;
use hickory_server::proto::rr::{Name, Record, RecordType};
use informer::Cache;
use k8s_openapi::api::core::v1::ConfigMap;
use tokio::sync::Notify;

use super::rules::hosts::Said;
use super::rules::{Block, Rules};
use super::upstream::{Shared, Upstream};

/// Where the rules are: under CoreDNS' names, in the namespace of the system.
pub const CONFIG_MAP: &str = "coredns";
pub const NAMESPACE: &str = "kube-system";
pub const KEY: &str = "Corefile";

/// Is told of rules that are not understood.
pub type Complain = Box<dyn Fn(&ConfigMap, &str) + Send + Sync>;

/// The rules in force. Clones share them.
#[derive(Clone)]
pub(super) struct InForce {
    current: Arc<RwLock<Arc<Setup>>>,
    /// How often they were replaced.
    changes: Arc<AtomicU64>,
    shared: Shared,
    domain: Name,
}

pub(super) struct Setup {
    rules: Rules,
    /// Of each server block.
    upstreams: Vec<Vec<Upstream>>,
}

/// The server block that a name belongs to.
pub(super) struct Served<'a> {
    pub zone: &'a Name,
    pub block: &'a Block,
    upstreams: &'a [Upstream],
}

impl Setup {
    fn new(rules: Rules, shared: &Shared) -> Self {
        let upstream = |forward: &_| Upstream::new(Clone::clone(forward), shared.clone());
        let upstreams =
            rules.blocks.iter().map(|block| block.forwards.iter().map(upstream).collect()).collect();
        shared
            .metrics
            .has_hosts(rules.blocks.iter().flat_map(|block| &block.hosts).map(|hosts| hosts.len()).sum());
        Self { rules, upstreams }
    }

    pub fn served(&self, name: &Name) -> Option<Served<'_>> {
        let (zone, at) = self.rules.block_for(name)?;
        Some(Served { zone, block: &self.rules.blocks[at], upstreams: &self.upstreams[at] })
    }

    /// What is known about a name outside the cluster: the hosts' answer, or that of the servers.
    pub async fn elsewhere(&self, name: &Name, kind: RecordType) -> Result<Vec<Record>, ResponseCode> {
        let served = self.served(name).ok_or(ResponseCode::Refused)?;
        match served.block.hosts.as_ref().map(|hosts| hosts.answer(name, kind)) {
            Some(Said::Records(records)) => Ok(records),
            Some(Said::NoData) => Ok(Vec::new()),
            Some(Said::NoName) => Err(ResponseCode::NXDomain),
            Some(Said::Nothing) | None => served.pass_on(name, kind).await,
        }
    }
}

impl Served<'_> {
    /// The servers' answer; the error is the code to answer with.
    pub async fn pass_on(&self, name: &Name, kind: RecordType) -> Result<Vec<Record>, ResponseCode> {
        match self.upstreams.iter().find(|upstream| upstream.is_for(name)) {
            Some(upstream) => upstream.ask(name, kind).await,
            // As CoreDNS says where no plugin is left to answer.
            None => Err(ResponseCode::ServFail),
        }
    }
}

impl InForce {
    /// What a new cluster has.
    pub fn new(domain: Name, rules: Rules, shared: Shared) -> Self {
        let current = Arc::new(RwLock::new(Arc::new(Setup::new(rules, &shared))));
        Self { current, changes: Arc::default(), shared, domain }
    }

    pub fn get(&self) -> Arc<Setup> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often the rules were replaced.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Has the rules of the ConfigMap be in force from now on, those of a new cluster without one. What is not
    /// understood changes nothing and is told.
    pub async fn follow(&self, maps: Cache<ConfigMap>, complain: Complain) {
        let changed = Arc::new(Notify::new());
        let wake = changed.clone();
        maps.subscribe(move |_| wake.notify_one());
        maps.wait_synced().await;
        let mut before = None;
        loop {
            let map = maps.get(NAMESPACE, CONFIG_MAP);
            let data = map.as_ref().and_then(|map| map.data.as_ref());
            let text = data.and_then(|data| data.get(KEY)).cloned();
            if before.as_ref() != Some(&text) {
                self.take(map.as_deref(), text.as_deref(), &complain);
                before = Some(text);
            }
            changed.notified().await;
        }
    }

    fn take(&self, map: Option<&ConfigMap>, text: Option<&str>, complain: &Complain) {
        let read = match text {
            Some(text) => Rules::read(text, &self.domain),
            None => Rules::default_of(&self.domain),
        };
        match (read, map) {
            (Ok(rules), _) => {
                let setup = Arc::new(Setup::new(rules, &self.shared));
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = setup;
                self.changes.fetch_add(1, Ordering::Release);
                tracing::info!("cluster DNS answers by the rules of the ConfigMap {NAMESPACE}/{CONFIG_MAP}");
            }
            (Err(wrong), map) => {
                self.shared.metrics.reload_failed();
                tracing::error!(%wrong, "the rules of the ConfigMap {NAMESPACE}/{CONFIG_MAP} are not understood; the former ones stay");
                if let Some(map) = map {
                    complain(map, &format!("{KEY}, {wrong}; the former rules stay in force"));
                }
            }
        }
    }
}
