//! Lists in pages, all of one revision: from the cache while nothing has changed, else from the store's history.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use store::{KeyValue, ListRange, Revision};

use super::{CacheError, Entry, ROOT, ResourceCache, Scope};

/// Keys read from the store in one step when the cache has moved on.
const STORE_STEP: usize = 500;

/// Which objects a list wants.
#[derive(Clone, Default)]
pub struct PageQuery {
    pub scope: Scope,
    /// At most so many objects; 0 for all.
    pub limit: usize,
    /// As of this revision exactly; `None` for the cache's present.
    pub at: Option<Revision>,
    /// Only keys greater than this one; empty for all.
    pub after: String,
    /// How many objects there are after that key, where an earlier page knew.
    pub left: Option<usize>,
}

/// Objects in key order, as they were together at `revision`.
#[derive(Debug, Clone)]
pub struct Page {
    pub revision: Revision,
    pub entries: Vec<Arc<Entry>>,
    /// Where the next page begins; `None` when this is the last.
    pub next: Option<Continue>,
    /// How many objects follow. Known only where everything of the namespace is listed.
    pub remaining: Option<usize>,
}

/// What a continue token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continue {
    /// `None` to go on with the present state, whatever changed since the first page.
    pub revision: Option<Revision>,
    /// The last key that was shown.
    pub after: String,
    /// How many objects follow, where that is known: later pages are read from the store's history, which would
    /// have to be read as a whole to tell.
    pub left: Option<usize>,
    /// When the first page was asked for, in seconds since 1970; `None` where that is not known.
    pub since_s: Option<i64>,
}

/// Upstream's form of the token (`k8s.io/apiserver/pkg/storage/continue.go`), so that its clients' tests for it hold.
#[derive(Serialize, Deserialize)]
struct Token {
    v: String,
    rv: i64,
    start: String,
    /// Ours alone, as is the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<i64>,
}

const TOKEN_VERSION: &str = "meta.k8s.io/v1";
/// In the place of a revision: the present state.
const PRESENT: i64 = -1;

impl Continue {
    pub fn encode(&self) -> String {
        let start = format!("{}\0", self.after.strip_prefix(ROOT).unwrap_or(&self.after));
        let rv = self.revision.map_or(PRESENT, |revision| i64::try_from(revision).unwrap_or(i64::MAX));
        let token = Token { v: TOKEN_VERSION.to_owned(), rv, start, left: self.left, since: self.since_s };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).expect("a token is JSON"))
    }

    /// # Errors
    /// [`CacheError::BadContinue`] for anything but what [`Continue::encode`] gives.
    pub fn decode(token: &str) -> Result<Self, CacheError> {
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| CacheError::BadContinue("not base64"))?;
        let token: Token =
            serde_json::from_slice(&bytes).map_err(|_| CacheError::BadContinue("not a continue token"))?;
        if token.v != TOKEN_VERSION {
            return Err(CacheError::BadContinue("unknown version"));
        }
        if token.rv == 0 {
            return Err(CacheError::BadContinue("incorrect encoded start resourceVersion"));
        }
        // Any negative number is the present, as upstream.
        let revision = u64::try_from(token.rv).ok();
        let after = token.start.strip_suffix('\0').ok_or(CacheError::BadContinue("incorrect start key"))?;
        Ok(Self { revision, after: format!("{ROOT}{after}"), left: token.left, since_s: token.since })
    }
}

impl ResourceCache {
    /// One page of a list.
    ///
    /// # Errors
    /// [`CacheError::Expired`] when the revision asked for has left the store's history.
    pub async fn page(&self, query: PageQuery) -> Result<Page, CacheError> {
        let prefix = self.spec.key(query.scope.namespace.as_deref().unwrap_or_default(), "");
        if !query.after.is_empty() && !query.after.starts_with(&prefix) {
            return Err(CacheError::BadContinue("it belongs to another list"));
        }
        let Some((revision, objects)) = self.objects_at(query.at, &query.scope) else {
            return self.page_from_store(&query, prefix).await;
        };
        let mut entries = objects.range(&prefix, &query.after);
        let mut selected = entries.by_ref().filter(|entry| query.scope.selects(entry));
        if query.limit == 0 {
            return Ok(page(revision, selected.cloned().collect(), false, None));
        }
        let taken: Vec<_> = selected.by_ref().take(query.limit).cloned().collect();
        let more = selected.next().is_some();
        // One was taken from the iterator to see that there is more.
        let remaining = (more && query.scope.selects_all()).then(|| entries.count() + 1);
        Ok(page(revision, taken, more, remaining))
    }

    /// An object as it was at a revision.
    ///
    /// # Errors
    /// [`CacheError::Expired`] when the revision has left the store's history.
    pub async fn get_at(
        &self,
        namespace: &str,
        name: &str,
        at: Revision,
    ) -> Result<Option<Arc<Entry>>, CacheError> {
        let key = self.spec.key(namespace, name);
        // The key itself is the first of those that begin with it.
        let range = ListRange { prefix: key.clone(), limit: 1, at: Some(at), ..ListRange::default() };
        let listed = self.store.list(range);
        let found = self.shared.calls.timed("get", &self.spec.resource, listed).await?.items;
        Ok(found.into_iter().next().filter(|item| *item.key == *key).and_then(|item| self.entry(item)))
    }

    /// An object as one of its versions in the store; `None` for a value that is no object.
    pub fn entry_of(&self, item: KeyValue) -> Option<Arc<Entry>> {
        self.entry(item)
    }

    async fn page_from_store(&self, query: &PageQuery, prefix: String) -> Result<Page, CacheError> {
        let mut entries = Vec::new();
        let mut range = ListRange { prefix, after: query.after.clone(), limit: STORE_STEP, at: query.at };
        loop {
            let listed = self.store.list(range.clone());
            let step = self.shared.calls.timed("list", &self.spec.resource, listed).await?;
            let last = step.items.last().map(|item| item.key.to_string());
            for entry in step.items.into_iter().filter_map(|item| self.entry(item)) {
                if !query.scope.selects(&entry) {
                    continue;
                }
                if query.limit > 0 && entries.len() == query.limit {
                    let counted = query.scope.selects_all();
                    let remaining = match query.left {
                        Some(left) if counted => Some(left.saturating_sub(entries.len())),
                        None if counted => Some(self.count_after(query, &entries, step.revision).await?),
                        _ => None,
                    };
                    return Ok(page(step.revision, entries, true, remaining));
                }
                entries.push(entry);
            }
            match last {
                Some(last) if step.more => {
                    range.after = last;
                    range.at = Some(step.revision);
                }
                _ => return Ok(page(step.revision, entries, false, None)),
            }
        }
    }
}

impl ResourceCache {
    /// How many objects of the store's history follow those of a page.
    async fn count_after(
        &self,
        query: &PageQuery,
        shown: &[Arc<Entry>],
        revision: Revision,
    ) -> Result<usize, CacheError> {
        let prefix = self.spec.key(query.scope.namespace.as_deref().unwrap_or_default(), "");
        let after = shown.last().map(|entry| entry.key.to_string()).unwrap_or_default();
        let mut range = ListRange { prefix, after, limit: STORE_STEP, at: Some(revision) };
        let mut count = 0;
        loop {
            let listed = self.store.list(range.clone());
            let step = self.shared.calls.timed("list", &self.spec.resource, listed).await?;
            count += step.items.len();
            match step.items.last() {
                Some(last) if step.more => range.after = last.key.to_string(),
                _ => return Ok(count),
            }
        }
    }
}

fn page(revision: Revision, entries: Vec<Arc<Entry>>, more: bool, remaining: Option<usize>) -> Page {
    let last = entries.last().filter(|_| more);
    let next = last.map(|entry| Continue {
        revision: Some(revision),
        after: entry.key.to_string(),
        left: remaining,
        since_s: None,
    });
    Page { revision, entries, next, remaining }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_token_is_read_or_refused(text in "[A-Za-z0-9_-]{0,60}|\\PC{0,30}", json in "[{}\":,a-z0-9/.\\\\-]{0,60}") {
            for token in [text, URL_SAFE_NO_PAD.encode(json)] {
                if let Ok(read) = Continue::decode(&token) {
                    prop_assert_eq!(Continue::decode(&read.encode()).ok(), Some(read));
                }
            }
        }

        #[test]
        fn a_token_says_what_it_was_made_of(
            revision in proptest::option::of(1..=i64::MAX as u64),
            after in "\\PC{0,30}",
            left: Option<usize>,
            since_s: Option<i64>,
        ) {
            let token = Continue { revision, after: format!("{ROOT}{after}"), left, since_s };
            prop_assert_eq!(Continue::decode(&token.encode()).ok(), Some(token));
        }
    }
}
