//! Feeds a [`Cache`] from the API: list once, then watch from there; list again only when the history
//! needed is gone.

use std::time::Duration;

use base::Shutdown;
use base::backoff::Policy;
use futures::StreamExt;
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};

use crate::{Cache, Key, Kind};

/// Objects per page of the first list.
const PAGE: u32 = 500;
/// How long one watch request lasts; it goes on from where it was.
const WATCH_TIMEOUT_S: u32 = 290;
const RETRY: Policy = Policy::new(Duration::from_millis(50), Duration::from_secs(30));

/// Runs until `shutdown`.
pub(crate) async fn reflect<K: Kind>(
    api: Api<K>,
    label_selector: Option<String>,
    field_selector: Option<String>,
    cache: Cache<K>,
    shutdown: Shutdown,
) {
    let mut reflector = Reflector { api, label_selector, field_selector, cache, version: None, failures: 0 };
    tokio::select! {
        () = reflector.run() => {}
        () = shutdown.started() => {}
    }
}

struct Reflector<K> {
    api: Api<K>,
    label_selector: Option<String>,
    field_selector: Option<String>,
    cache: Cache<K>,
    /// Where the watch goes on; `None` when a list is needed.
    version: Option<String>,
    failures: u32,
}

/// How a watch request ended.
enum End {
    /// By its timeout: go on at once.
    Timeout,
    Expired,
    Failed(String),
}

impl<K: Kind> Reflector<K> {
    async fn run(&mut self) {
        loop {
            let failure = match self.version.clone() {
                None => self.list().await.err().map(|e| e.to_string()),
                Some(version) => match self.watch(&version).await {
                    End::Timeout => None,
                    End::Expired => {
                        self.version = None;
                        None
                    }
                    End::Failed(why) => Some(why),
                },
            };
            let Some(why) = failure else { continue };
            self.failures += 1;
            tracing::debug!(kind = %K::kind(&()), %why, failures = self.failures, "watch interrupted");
            tokio::time::sleep(RETRY.delay(self.failures)).await;
        }
    }

    async fn list(&mut self) -> Result<(), kube::Error> {
        let mut objects = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let mut params = ListParams::default().limit(PAGE);
            params.label_selector.clone_from(&self.label_selector);
            params.field_selector.clone_from(&self.field_selector);
            params.continue_token = token.take();
            let page = self.api.list(&params).await?;
            objects.extend(page.items.into_iter().map(trimmed));
            self.version = page.metadata.resource_version.clone();
            match page.metadata.continue_.filter(|t| !t.is_empty()) {
                Some(next) => token = Some(next),
                None => break,
            }
        }
        self.cache.replace(objects);
        self.failures = 0;
        Ok(())
    }

    async fn watch(&mut self, version: &str) -> End {
        let params = WatchParams {
            label_selector: self.label_selector.clone(),
            field_selector: self.field_selector.clone(),
            timeout: Some(WATCH_TIMEOUT_S),
            bookmarks: true,
            ..WatchParams::default()
        };
        let stream = match self.api.watch(&params, version).await {
            Ok(stream) => stream,
            Err(error) if client::is_expired(&error) => return End::Expired,
            Err(error) => return End::Failed(error.to_string()),
        };
        let mut stream = std::pin::pin!(stream);
        while let Some(event) = stream.next().await {
            match event {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    self.seen(object.meta().resource_version.clone());
                    self.cache.apply(trimmed(object));
                }
                Ok(WatchEvent::Deleted(object)) => {
                    self.seen(object.meta().resource_version.clone());
                    self.cache.remove(&Key::of(&object));
                }
                Ok(WatchEvent::Bookmark(mark)) => self.seen(Some(mark.metadata.resource_version)),
                Ok(WatchEvent::Error(status)) if status.code == 410 => return End::Expired,
                Ok(WatchEvent::Error(status)) => return End::Failed(status.message),
                Err(error) => return End::Failed(error.to_string()),
            }
        }
        End::Timeout
    }

    fn seen(&mut self, version: Option<String>) {
        self.failures = 0;
        if version.is_some() {
            self.version = version;
        }
    }
}

/// What no controller reads is not kept: field managers are often half of an object.
fn trimmed<K: Kind>(mut object: K) -> K {
    object.meta_mut().managed_fields = None;
    object
}
