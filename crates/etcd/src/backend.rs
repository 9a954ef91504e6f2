//! [`Etcd`]: the store's calls as etcd's.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use store::{Deletion, Error, Expect, KeyValue, ListPage, ListRange, Previous, Revision, Store, Watch};
use tokio::sync::watch as signal;

use crate::config::{Config, ConfigError, Progress};
use crate::connection::{Members, Repeat};
use crate::failure::Failure;
use crate::keys::{self, Keys};
use crate::leases::Leases;
use crate::link::{Link, kv, revision_of, signed};
use crate::v3::maintenance_client::MaintenanceClient;
use crate::v3::{CompactionRequest, RangeRequest, StatusRequest, StatusResponse};
use crate::{history, watch, write};

/// Keys that are asked for at once where the caller names no limit.
const PAGE: usize = 1000;

/// A handle of etcd. Clones are the same handle: closing one closes all.
#[derive(Clone)]
pub struct Etcd {
    pub(crate) link: Arc<Link>,
}

impl Etcd {
    /// Connects to the first member that answers.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Timeout`], with what each address said; [`Error::Io`] when no address is given.
    pub async fn connect(config: Config) -> Result<Self, Error> {
        let members =
            Members::new(&config).map_err(|error: ConfigError| Error::Io(error.to_string().into()))?;
        let status = status(&members).await.map_err(Failure::into_error)?;
        let progress = config.progress.unwrap_or_else(|| Progress::of_version(&status.version));
        let link = Link {
            members,
            keys: Keys::new(&config.prefix),
            translate: config.translate,
            progress,
            leases: Leases::default(),
            closed: signal::Sender::new(false),
            asked: signal::Sender::new(0),
            version: status.version,
        };
        // That etcd answers is not yet that it has a leader and lets this client in.
        link.revision().await?;
        Ok(Self { link: Arc::new(link) })
    }

    /// The version of the member that answered first, as `3.4.23`.
    pub fn version(&self) -> &str {
        &self.link.version
    }
}

/// What one member says of itself.
async fn status(members: &Members) -> Result<StatusResponse, Failure> {
    members
        .call(Repeat::Safe, |channel| async move {
            let answer = MaintenanceClient::new(channel).status(StatusRequest {}).await;
            answer.map(tonic::Response::into_inner)
        })
        .await
}

/// One page as etcd has it; `more` is whether to go on after the last key, which may be one that is not shown.
async fn page(
    link: &Link,
    from: Bytes,
    end: Bytes,
    limit: usize,
    at: Option<Revision>,
) -> Result<Page, Error> {
    let request = RangeRequest {
        key: from,
        range_end: end,
        limit: i64::try_from(limit).unwrap_or(i64::MAX),
        // Before the first revision there was what there is at the first: nothing.
        revision: at.map_or(0, |at| signed(at.max(1))),
        ..RangeRequest::default()
    };
    let answer = match link.range(request).await {
        Ok(answer) => answer,
        Err(failure) => return Err(history::explain(link, failure, at.unwrap_or(0)).await),
    };
    let next = answer.kvs.last().map(|kv| keys::after(&kv.key)).filter(|_| answer.more);
    let mut items = Vec::with_capacity(answer.kvs.len());
    for kv in answer.kvs {
        items.extend(link.key_value(kv)?);
    }
    Ok(Page { items, revision: at.unwrap_or(revision_of(answer.header.as_ref())), next })
}

struct Page {
    items: Vec<KeyValue>,
    revision: Revision,
    /// Where the next page begins.
    next: Option<Bytes>,
}

#[async_trait]
impl Store for Etcd {
    async fn revision(&self) -> Result<Revision, Error> {
        self.link.check_open()?;
        self.link.revision().await
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn get(&self, key: &str) -> Result<(Option<KeyValue>, Revision), Error> {
        self.link.check_open()?;
        let request = RangeRequest { key: self.link.keys.outside(key), ..RangeRequest::default() };
        let mut answer = self.link.range(request).await.map_err(Failure::into_error)?;
        let revision = revision_of(answer.header.as_ref());
        let found = answer.kvs.pop().map(|kv| self.link.key_value(kv)).transpose()?;
        Ok((found.flatten(), revision))
    }

    async fn list(&self, range: ListRange) -> Result<ListPage, Error> {
        self.link.check_open()?;
        let (first, end) = self.link.keys.range(&range.prefix);
        let after = self.link.keys.outside(&range.after);
        let mut from = if after >= first { keys::after(&after) } else { first };
        let mut listed = ListPage { items: Vec::new(), revision: 0, more: false };
        let mut at = range.at;
        loop {
            let left = if range.limit == 0 { PAGE } else { range.limit - listed.items.len() };
            let page = page(&self.link, from, end.clone(), left, at).await?;
            listed.items.extend(page.items);
            listed.revision = page.revision;
            at = Some(page.revision);
            let Some(next) = page.next else { break };
            if range.limit != 0 && listed.items.len() >= range.limit {
                listed.more = true;
                break;
            }
            from = next;
        }
        Ok(listed)
    }

    async fn put(
        &self,
        key: &str,
        value: Bytes,
        expect: Expect,
        ttl_s: Option<u64>,
    ) -> Result<KeyValue, Error> {
        self.link.check_open()?;
        write::check_size(key.len() + value.len())?;
        write::put(&self.link, key, value, expect, ttl_s).await
    }

    async fn delete(&self, key: &str, expect: Expect, previous: Previous) -> Result<Deletion, Error> {
        self.link.check_open()?;
        write::check_size(key.len())?;
        write::delete(&self.link, key, expect, previous).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        self.link.check_open()?;
        watch::start(self.link.clone(), prefix, after).await
    }

    async fn request_progress(&self) -> Result<(), Error> {
        self.link.check_open()?;
        self.link.asked.send_modify(|asked| *asked += 1);
        Ok(())
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.link.check_open()?;
        let request = CompactionRequest { revision: signed(revision), physical: false };
        let done = self.link.repeatable(|channel| async move { kv(channel).compact(request).await });
        match done.await {
            Ok(_) | Err(Failure::Compacted) => Ok(()),
            Err(failure) => Err(history::explain(&self.link, failure, revision).await),
        }
    }

    async fn size_bytes(&self) -> Result<u64, Error> {
        self.link.check_open()?;
        let status = status(&self.link.members).await.map_err(Failure::into_error)?;
        Ok(u64::try_from(status.db_size).unwrap_or(0))
    }

    async fn close(&self) -> Result<(), Error> {
        self.link.closed.send_replace(true);
        Ok(())
    }
}
