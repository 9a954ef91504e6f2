//! What a request will take: [`work`] finds what the request is about in the watch cache.

use resources::KindTable;

use super::level::Work;
use super::width::{self, Reading};
use crate::cache::Cache;
use crate::request::path::RequestInfo;
use crate::request::query::Query;

/// The seats of a request of a class whose requests take at most `most`. What is not stored here takes one.
pub(super) fn work(
    cache: &Cache,
    table: &KindTable,
    info: &RequestInfo,
    query: &Query,
    most: Option<u32>,
) -> Work {
    let simple = Work::simple(1);
    let lists = matches!(info.verb, "list" | "watch");
    if !info.is_resource || info.verb == "get" || (info.verb == "watch" && !begins_with_all(query)) {
        return simple;
    }
    let Some(row) = table.find(&info.group, &info.version, &info.resource) else { return simple };
    let Some(resource) = cache.resource(&row.storage_prefix) else { return simple };
    if lists {
        let limit = query.integer("limit").ok().flatten().and_then(|limit| usize::try_from(limit).ok());
        let (objects, bytes) = resource.size();
        let reading = Reading {
            objects,
            bytes,
            single: !info.name.is_empty(),
            limit: limit.filter(|limit| *limit > 0),
        };
        return width::list(&reading, most);
    }
    match info.subresource == "token" {
        // What is asked for is no change of the account.
        true => simple,
        false => width::change(resource.watches(&info.namespace, &info.name), most),
    }
}

/// Whether a watch is told of all that there is before it is told of changes.
fn begins_with_all(query: &Query) -> bool {
    // As upstream: of other watches the beginning is not charged for.
    query.flag("sendInitialEvents")
}
