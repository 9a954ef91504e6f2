//! Lists in pages, all of one revision: from the cache while nothing has changed, else from the store's history.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use store::{ListRange, Revision};

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
}

/// Objects in key order, as they were together at `revision`.
#[derive(Debug, Clone)]
pub struct Page {
    pub revision: Revision,
    pub entries: Vec<Arc<Entry>>,
    /// Where the next page begins; `None` when this is the last.
    pub next: Option<Continue>,
    /// How many objects follow. Known only where everything of the namespace is listed and when the cache could answer.
    pub remaining: Option<usize>,
}

/// What a continue token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continue {
    pub revision: Revision,
    /// The last key that was shown.
    pub after: String,
}

/// Upstream's form of the token (`k8s.io/apiserver/pkg/storage/continue.go`), so that its clients' tests for it hold.
#[derive(Serialize, Deserialize)]
struct Token {
    v: String,
    rv: i64,
    start: String,
}

const TOKEN_VERSION: &str = "meta.k8s.io/v1";

impl Continue {
    pub fn encode(&self) -> String {
        let start = format!("{}\0", self.after.strip_prefix(ROOT).unwrap_or(&self.after));
        let rv = i64::try_from(self.revision).unwrap_or(i64::MAX);
        let token = serde_json::json!({"v": TOKEN_VERSION, "rv": rv, "start": start});
        URL_SAFE_NO_PAD.encode(token.to_string())
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
        let revision = u64::try_from(token.rv).ok().filter(|revision| *revision > 0);
        let revision = revision.ok_or(CacheError::BadContinue("incorrect encoded start resourceVersion"))?;
        let after = token.start.strip_suffix('\0').ok_or(CacheError::BadContinue("incorrect start key"))?;
        Ok(Self { revision, after: format!("{ROOT}{after}") })
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

    async fn page_from_store(&self, query: &PageQuery, prefix: String) -> Result<Page, CacheError> {
        let mut entries = Vec::new();
        let mut range = ListRange { prefix, after: query.after.clone(), limit: STORE_STEP, at: query.at };
        loop {
            let step = self.store.list(range.clone()).await?;
            let last = step.items.last().map(|item| item.key.to_string());
            for entry in step.items.into_iter().filter_map(|item| self.entry(item)) {
                if !query.scope.selects(&entry) {
                    continue;
                }
                if query.limit > 0 && entries.len() == query.limit {
                    return Ok(page(step.revision, entries, true, None));
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

fn page(revision: Revision, entries: Vec<Arc<Entry>>, more: bool, remaining: Option<usize>) -> Page {
    let last = entries.last().filter(|_| more);
    let next = last.map(|entry| Continue { revision, after: entry.key.to_string() });
    Page { revision, entries, next, remaining }
}
