//! Feeds a [`Cache`], or whatever else follows a kind, from the API: list once, then watch from there; list
//! again only when the history needed is gone.

use std::future::Future;
use std::time::Duration;

use base::Shutdown;
use base::backoff::Policy;
use futures::StreamExt;
use futures::stream::BoxStream;
use kube::api::{DynamicObject, ListParams, ObjectList, WatchEvent, WatchParams};
use kube::core::{ApiResource, PartialObjectMeta};
use kube::{Api, Client, Resource};

use crate::{Cache, Kind};

/// Objects per page of the first list.
const PAGE: u32 = 500;
/// How long one watch request lasts; it goes on from where it was.
const WATCH_TIMEOUT_S: u32 = 290;
const RETRY: Policy = Policy::new(Duration::from_millis(50), Duration::from_secs(30));

/// What a reflector tells. Implementations do not wait.
pub trait Feed<O>: Send {
    /// A complete list: what is not in it is gone.
    fn replace(&mut self, objects: Vec<O>);
    /// An object is new or changed.
    fn apply(&mut self, object: O);
    /// An object is gone; this was its last state.
    fn remove(&mut self, object: O);
}

impl<K: Kind> Feed<K> for Cache<K> {
    fn replace(&mut self, objects: Vec<K>) {
        Cache::replace(self, objects);
    }

    fn apply(&mut self, object: K) {
        Cache::apply(self, object);
    }

    fn remove(&mut self, object: K) {
        Cache::deleted(self, &object);
    }
}

/// The metadata of an object of a kind known only at run time.
pub type Metadata = PartialObjectMeta<DynamicObject>;

/// Follows the metadata of all objects of a kind until `shutdown`.
pub async fn follow_metadata(
    client: Client,
    kind: &ApiResource,
    feed: impl Feed<Metadata>,
    shutdown: Shutdown,
) {
    let source = MetadataOnly(Api::all_with(client, kind));
    run(source, None, None, feed, shutdown).await;
}

/// Follows whole objects until `shutdown`.
pub(crate) async fn reflect<K: Kind>(
    api: Api<K>,
    label_selector: Option<String>,
    field_selector: Option<String>,
    cache: Cache<K>,
    shutdown: Shutdown,
) {
    run(Whole(api), label_selector, field_selector, cache, shutdown).await;
}

async fn run<S: Source>(
    source: S,
    label_selector: Option<String>,
    field_selector: Option<String>,
    feed: impl Feed<S::Object>,
    shutdown: Shutdown,
) {
    let mut reflector =
        Reflector { source, label_selector, field_selector, feed, version: None, failures: 0 };
    tokio::select! {
        () = reflector.run() => {}
        () = shutdown.started() => {}
    }
}

type Watched<O> = BoxStream<'static, Result<WatchEvent<O>, kube::Error>>;

/// Where objects come from.
trait Source {
    type Object: Resource + Clone;

    fn name(&self) -> String;

    fn list(
        &self,
        params: &ListParams,
    ) -> impl Future<Output = Result<ObjectList<Self::Object>, kube::Error>> + Send;

    fn watch(
        &self,
        params: &WatchParams,
        version: &str,
    ) -> impl Future<Output = Result<Watched<Self::Object>, kube::Error>> + Send;
}

struct Whole<K>(Api<K>);

impl<K: Kind> Source for Whole<K> {
    type Object = K;

    fn name(&self) -> String {
        self.0.resource_url().to_owned()
    }

    async fn list(&self, params: &ListParams) -> Result<ObjectList<K>, kube::Error> {
        self.0.list(params).await
    }

    async fn watch(&self, params: &WatchParams, version: &str) -> Result<Watched<K>, kube::Error> {
        Ok(self.0.watch(params, version).await?.boxed())
    }
}

struct MetadataOnly(Api<DynamicObject>);

impl Source for MetadataOnly {
    type Object = Metadata;

    fn name(&self) -> String {
        self.0.resource_url().to_owned()
    }

    async fn list(&self, params: &ListParams) -> Result<ObjectList<Metadata>, kube::Error> {
        self.0.list_metadata(params).await
    }

    async fn watch(&self, params: &WatchParams, version: &str) -> Result<Watched<Metadata>, kube::Error> {
        Ok(self.0.watch_metadata(params, version).await?.boxed())
    }
}

struct Reflector<S, F> {
    source: S,
    label_selector: Option<String>,
    field_selector: Option<String>,
    feed: F,
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

impl<S: Source, F: Feed<S::Object>> Reflector<S, F> {
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
            tracing::debug!(source = self.source.name(), %why, failures = self.failures, "watch interrupted");
            tokio::time::sleep(RETRY.delay(self.failures)).await;
        }
    }

    async fn list(&mut self) -> Result<(), kube::Error> {
        let mut objects = Vec::new();
        let mut token: Option<String> = None;
        let version = loop {
            let mut params = ListParams::default().limit(PAGE);
            params.label_selector.clone_from(&self.label_selector);
            params.field_selector.clone_from(&self.field_selector);
            params.continue_token = token.take();
            let page = self.source.list(&params).await?;
            objects.extend(page.items.into_iter().map(trimmed));
            match page.metadata.continue_.filter(|t| !t.is_empty()) {
                Some(next) => token = Some(next),
                None => break page.metadata.resource_version,
            }
        };
        self.feed.replace(objects);
        // Only now: a list that failed half-way is made anew, not watched on from.
        self.version = version;
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
        let mut stream = match self.source.watch(&params, version).await {
            Ok(stream) => stream,
            Err(error) if client::is_expired(&error) => return End::Expired,
            Err(error) => return End::Failed(error.to_string()),
        };
        while let Some(event) = stream.next().await {
            match event {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    self.seen(object.meta().resource_version.clone());
                    self.feed.apply(trimmed(object));
                }
                Ok(WatchEvent::Deleted(object)) => {
                    self.seen(object.meta().resource_version.clone());
                    self.feed.remove(object);
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
fn trimmed<O: Resource>(mut object: O) -> O {
    object.meta_mut().managed_fields = None;
    object
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    /// Two pages; the second fails once. Tells what it was asked for.
    #[derive(Clone, Default)]
    struct Paged(Arc<Mutex<Vec<String>>>);

    impl Paged {
        /// How many times this was asked for by now.
        fn asked(&self, what: &str) -> usize {
            let mut asked = self.0.lock().expect("asked");
            asked.push(what.to_owned());
            asked.iter().filter(|other| *other == what).count()
        }
    }

    fn page(name: &str, next: &str) -> ObjectList<ConfigMap> {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "ConfigMapList",
            "metadata": {"resourceVersion": "7", "continue": next},
            "items": [{"metadata": {"name": name, "namespace": "ns"}}],
        }))
        .expect("a page")
    }

    impl Source for Paged {
        type Object = ConfigMap;

        fn name(&self) -> String {
            "pages".into()
        }

        async fn list(&self, params: &ListParams) -> Result<ObjectList<ConfigMap>, kube::Error> {
            match params.continue_token.as_deref() {
                None => {
                    self.asked("first");
                    Ok(page("a", "more"))
                }
                Some(_) if self.asked("second") == 1 => Err(kube::Error::LinesCodecMaxLineLengthExceeded),
                Some(_) => Ok(page("b", "")),
            }
        }

        async fn watch(&self, _: &WatchParams, version: &str) -> Result<Watched<ConfigMap>, kube::Error> {
            self.asked(&format!("watch from {version}"));
            Ok(futures::stream::pending().boxed())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_fails_half_way_is_made_anew() {
        let (source, cache) = (Paged::default(), Cache::<ConfigMap>::new());
        let shutdown = Shutdown::new();
        let running = run(source.clone(), None, None, cache.clone(), shutdown);
        let synced = tokio::time::timeout(Duration::from_secs(60), cache.wait_synced());
        tokio::select! {
            () = running => panic!("it ends only with its shutdown"),
            synced = synced => synced.expect("the cache is complete"),
        }
        assert_eq!(cache.list(None).len(), 2);
        let asked = source.0.lock().expect("asked").clone();
        assert_eq!(asked[..4], ["first", "second", "first", "second"]);
    }
}
