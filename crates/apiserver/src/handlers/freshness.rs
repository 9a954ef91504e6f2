//! Which requests must see every write that any server acknowledged before the request, and so wait for the watch
//! cache if the store is shared ([`crate::cache::Cache::fresh`], which costs nothing otherwise).
//!
//! As upstream (`k8s.io/apiserver/pkg/storage/cacher/delegator.go`), except that changes also start from a fresh
//! state: upstream starts from a possibly old state and reads the store after a conflict.

use api::Error;
use resources::Resource;
use store::Revision;

use super::storage::{cache_error, read_error};
use crate::context::Context;
use crate::request::call::Call;
use crate::request::query::Query;

/// Waits for what the request must see. Lists see to it themselves: they can do without the cache.
pub(crate) async fn wait(context: &Context, row: &Resource, call: &Call) -> Result<(), Error> {
    if !row.is_stored() || !demanded(call.info.verb, &call.info.subresource, &call.query) {
        return Ok(());
    }
    let fresh = context.deps.cache.fresh().await;
    fresh.map_err(|error| read_error(&error, &row.group_resource(), call.info.verb))?;
    match oldest(call.info.verb, &call.query) {
        Some(asked) => context.deps.cache.not_older(asked).await.map_err(|error| cache_error(&error)),
        None => Ok(()),
    }
}

/// The revision that an object must be read from, or a later one.
fn oldest(verb: &str, query: &Query) -> Option<Revision> {
    query.non_empty("resourceVersion").filter(|_| verb == "get")?.parse().ok()
}

fn demanded(verb: &str, subresource: &str, query: &Query) -> bool {
    match verb {
        "list" | "deletecollection" => false,
        // Whether the object is there already is for the store to say.
        "create" => !subresource.is_empty(),
        // What is there at "0" is whatever the cache has; at any other version, something at least as new.
        "get" => query.non_empty("resourceVersion") != Some("0"),
        // Events after a version come when they come; what is there before them must be as new as a list.
        // One that names a version waits for that version alone, wherever the store is.
        "watch" => query.get("sendInitialEvents").is_some() && query.non_empty("resourceVersion").is_none(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_waited_for_where_upstream_asks_the_store() {
        let on = |verb, subresource, query| demanded(verb, subresource, &Query::parse(query));
        assert!(on("get", "", "") && on("get", "status", "resourceVersion=7"));
        assert!(!on("get", "", "resourceVersion=0"));
        assert!(on("update", "", "") && on("patch", "status", "") && on("delete", "", ""));
        assert!(on("create", "binding", "") && !on("create", "", ""));
        assert!(!on("watch", "", "") && !on("watch", "", "resourceVersion=7"));
        assert!(on("watch", "", "sendInitialEvents=true&resourceVersionMatch=NotOlderThan"));
        assert!(!on("watch", "", "sendInitialEvents=true&resourceVersion=0"));
        assert!(!on("watch", "", "sendInitialEvents=true&resourceVersion=7"));
    }
}
