//! [`Encrypted`]: a store in front of another one, which gets values encrypted and gives them back as they were.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use store::{
    Change, Deletion, Error, Expect, KeyValue, ListPage, ListRange, Moment, Previous, Revision, Store,
    Versions, Watch, WatchItem,
};

use crate::configuration::Configuration;
use crate::provider;

/// See the module's documentation. Keys, revisions and everything but values are the inner store's.
pub struct Encrypted {
    inner: Arc<dyn Store>,
    how: Arc<How>,
}

/// What is made of a value that was encrypted, when it is not in the form that users of the store take.
pub type Reading = fn(Bytes) -> Result<Bytes, String>;

struct How {
    configuration: Configuration,
    reading: Reading,
}

impl Encrypted {
    pub fn new(inner: Arc<dyn Store>, configuration: Configuration) -> Self {
        Self { inner, how: Arc::new(How { configuration, reading: Ok }) }
    }

    /// The same, with values read so once they are decrypted.
    #[must_use]
    pub fn reading(mut self, reading: Reading) -> Self {
        self.how = Arc::new(How { configuration: self.how.configuration.clone(), reading });
        self
    }
}

fn unreadable(key: &str, why: String) -> Error {
    Error::Unreadable { key: key.into(), reason: why.into() }
}

impl How {
    async fn seal(&self, key: &str, value: Bytes) -> Result<Bytes, Error> {
        match self.configuration.providers(key) {
            Some(providers) => {
                provider::ready_to_seal(providers).await.map_err(|why| unreadable(key, why))?;
                provider::seal(providers, key, &value).map(Bytes::from).map_err(|why| unreadable(key, why))
            }
            None => Ok(value),
        }
    }

    async fn open(&self, key: &str, stored: &Bytes) -> Result<Bytes, Error> {
        match self.configuration.providers(key) {
            Some(providers) => {
                provider::ready_to_open(providers, stored).await.map_err(|why| unreadable(key, why))?;
                let read = provider::open(providers, key, stored);
                let value = read.and_then(|read| (self.reading)(read.value.into()));
                value.map_err(|why| unreadable(key, why))
            }
            None if provider::is_encrypted(stored) => Err(unreadable(
                key,
                "identity transformer tried to read encrypted data (the file of --encryption-provider-config does not \
                 speak of it, or is not given)"
                    .to_owned(),
            )),
            None => Ok(stored.clone()),
        }
    }

    async fn open_all(&self, mut found: KeyValue) -> Result<KeyValue, Error> {
        found.value = self.open(&found.key, &found.value).await?;
        Ok(found)
    }

    async fn open_some(&self, found: Option<KeyValue>) -> Result<Option<KeyValue>, Error> {
        match found {
            Some(found) => self.open_all(found).await.map(Some),
            None => Ok(None),
        }
    }

    async fn open_change(&self, change: &Arc<Change>) -> Result<Arc<Change>, Error> {
        let values = change.value.iter().chain(change.previous.iter().map(|previous| &previous.value));
        if self.configuration.providers(&change.key).is_none()
            && !values.into_iter().any(|value| provider::is_encrypted(value))
        {
            return Ok(Arc::clone(change));
        }
        let value = match &change.value {
            Some(value) => Some(self.open(&change.key, value).await?),
            None => None,
        };
        let previous = self.open_some(change.previous.clone()).await?;
        Ok(Arc::new(Change { value, previous, ..Change::clone(change) }))
    }

    /// A conflict shows a value, too.
    async fn open_conflict(&self, error: Error) -> Error {
        let Error::Conflict { current: Some(current) } = error else { return error };
        match self.open_all(current).await {
            Ok(current) => Error::Conflict { current: Some(current) },
            Err(error) => error,
        }
    }
}

#[async_trait]
impl Store for Encrypted {
    async fn revision(&self) -> Result<Revision, Error> {
        self.inner.revision().await
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    async fn get(&self, key: &str) -> Result<(Option<KeyValue>, Revision), Error> {
        let (found, revision) = self.inner.get(key).await?;
        Ok((self.how.open_some(found).await?, revision))
    }

    async fn list(&self, range: ListRange) -> Result<ListPage, Error> {
        let mut page = self.inner.list(range).await?;
        for found in &mut page.items {
            found.value = self.how.open(&found.key, &found.value).await?;
        }
        Ok(page)
    }

    async fn put(
        &self,
        key: &str,
        value: Bytes,
        expect: Expect,
        ttl_s: Option<u64>,
    ) -> Result<KeyValue, Error> {
        let sealed = self.how.seal(key, value.clone()).await?;
        match self.inner.put(key, sealed, expect, ttl_s).await {
            Ok(written) => Ok(KeyValue { value, ..written }),
            Err(error) => Err(self.how.open_conflict(error).await),
        }
    }

    async fn delete(&self, key: &str, expect: Expect, previous: Previous) -> Result<Deletion, Error> {
        let mut deleted = match self.inner.delete(key, expect, previous).await {
            Ok(deleted) => deleted,
            Err(error) => return Err(self.how.open_conflict(error).await),
        };
        // It is deleted, whatever its value was.
        deleted.previous = self.how.open_some(deleted.previous).await?;
        Ok(deleted)
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        let how = Arc::clone(&self.how);
        let opened = self.inner.watch(prefix, after).await?.then(move |item| {
            let how = Arc::clone(&how);
            async move {
                match item? {
                    WatchItem::Changes(changes) => {
                        let mut opened = Vec::with_capacity(changes.len());
                        for change in &*changes {
                            opened.push(how.open_change(change).await?);
                        }
                        Ok(WatchItem::Changes(opened))
                    }
                    WatchItem::Progress(revision) => Ok(WatchItem::Progress(revision)),
                }
            }
        });
        Ok(opened.boxed())
    }

    async fn request_progress(&self) -> Result<(), Error> {
        self.inner.request_progress().await
    }

    async fn is_outdated(&self, key: &str) -> Result<bool, Error> {
        let Some(providers) = self.how.configuration.providers(key) else { return Ok(false) };
        let (Some(found), _) = self.inner.get(key).await? else { return Ok(false) };
        provider::ready_to_open(providers, &found.value).await.map_err(|why| unreadable(key, why))?;
        let read = provider::open(providers, key, &found.value).map_err(|why| unreadable(key, why))?;
        Ok(read.outdated)
    }

    async fn moment(&self, time_ms: u64) -> Result<Moment, Error> {
        self.inner.moment(time_ms).await
    }

    async fn oldest(&self) -> Result<Moment, Error> {
        self.inner.oldest().await
    }

    async fn versions(&self, key: &str, limit: usize) -> Result<Versions, Error> {
        let mut past = self.inner.versions(key, limit).await?;
        for version in &mut past.versions {
            if let Some(value) = &version.value {
                version.value = Some(self.how.open(key, value).await?);
            }
        }
        Ok(past)
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.inner.compact(revision).await
    }

    async fn size_bytes(&self) -> Result<u64, Error> {
        self.inner.size_bytes().await
    }

    async fn close(&self) -> Result<(), Error> {
        self.inner.close().await
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use store::Memory;

    use super::*;

    const SECRET: &str = "/registry/secrets/default/s";
    const OTHER: &str = "/registry/configmaps/default/c";

    fn configuration(providers: &str) -> Configuration {
        let text = format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources: [{{resources: [secrets], providers: [{providers}]}}]"
        );
        Configuration::parse(&text, |_| vec!["/registry/secrets/".to_owned()])
            .unwrap_or_else(|why| panic!("{why}"))
    }

    fn aes(name: &str) -> String {
        format!("{{aesgcm: {{keys: [{{name: {name}, secret: {}}}]}}}}", BASE64_STANDARD.encode([7; 32]))
    }

    async fn put(store: &dyn Store, key: &str, value: &'static str) -> KeyValue {
        store.put(key, Bytes::from_static(value.as_bytes()), Expect::Anything, None).await.expect("written")
    }

    #[tokio::test]
    async fn values_lie_encrypted_and_are_seen_as_they_were() {
        let inner = Arc::new(Memory::new(store::memory::Config::default()));
        let store =
            Encrypted::new(inner.clone(), configuration(&format!("{}, {{identity: {{}}}}", aes("a"))));
        let mut watch = store.watch("/registry/", 1).await.expect("a watch");
        let written = put(&store, SECRET, "password").await;
        put(&store, OTHER, "plain").await;
        assert_eq!(written.value, "password");
        let lies = async |key| inner.get(key).await.expect("read").0.expect("there").value;
        assert!(lies(SECRET).await.starts_with(b"k8s:enc:aesgcm:v1:a:"));
        assert_eq!(lies(OTHER).await, "plain");
        assert_eq!(store.get(SECRET).await.expect("read").0.expect("there").value, "password");
        let range = ListRange { prefix: "/registry/secrets/".to_owned(), ..ListRange::default() };
        assert_eq!(store.list(range).await.expect("a list").items[0].value, "password");
        let Some(Ok(WatchItem::Changes(changes))) = watch.next().await else { panic!("a change") };
        assert_eq!(changes[0].value.as_deref(), Some(&b"password"[..]));
        let taken = store.put(SECRET, Bytes::from_static(b"x"), Expect::Absent, None).await;
        let Err(Error::Conflict { current: Some(current) }) = taken else { panic!("{taken:?}") };
        assert_eq!(current.value, "password");
        let deleted = store.delete(SECRET, Expect::Anything, Previous::Wanted).await.expect("deleted");
        assert_eq!(deleted.previous.expect("it was there").value, "password");
    }

    #[tokio::test]
    async fn a_new_key_is_told_by_what_is_outdated() {
        let inner: Arc<dyn Store> = Arc::new(Memory::new(store::memory::Config::default()));
        put(&*inner, SECRET, "{}").await;
        let first =
            Encrypted::new(Arc::clone(&inner), configuration(&format!("{}, {{identity: {{}}}}", aes("a"))));
        assert!(first.is_outdated(SECRET).await.expect("read"), "written before encryption began");
        put(&first, SECRET, "{}").await;
        assert!(!first.is_outdated(SECRET).await.expect("read"));
        assert!(!first.is_outdated(OTHER).await.expect("read"));
        let second =
            Encrypted::new(Arc::clone(&inner), configuration(&format!("{}, {}", aes("b"), aes("a"))));
        assert_eq!(second.get(SECRET).await.expect("read").0.expect("there").value, "{}");
        assert!(second.is_outdated(SECRET).await.expect("read"));
        let stranger = Encrypted::new(inner, configuration(&aes("c")));
        let bare = Encrypted::new(Arc::clone(&stranger.inner), Configuration::default());
        let Err(Error::Unreadable { reason: why, .. }) = bare.get(SECRET).await else {
            panic!("it has no keys at all")
        };
        assert!(why.contains("identity transformer tried to read encrypted data"), "{why}");
        let Err(Error::Unreadable { reason: why, .. }) = stranger.get(SECRET).await else {
            panic!("it has not the key")
        };
        assert_eq!(&*why, "no matching prefix found");
        // What others wrote in another form is read once it is decrypted.
        let translated =
            first.reading(|value| if value == "{}" { Ok("read".into()) } else { Err("odd".to_owned()) });
        assert_eq!(translated.get(SECRET).await.expect("read").0.expect("there").value, "read");
    }
}
