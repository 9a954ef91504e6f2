//! `knarr store migrate`: moves a stopped cluster's objects from the file to an etcd, or back.
//!
//! The target is empty before; every object is read back and compared after; and only then the cluster is noted to be
//! there. The source stays as it was. Revisions are the target's own: they begin anew.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use base::{Clock, SystemClock};
use etcd::Etcd;
use futures::{StreamExt, TryStreamExt};
use resources::{Builtin, ResourceSource};
use serde_json::Value;
use store::{Change, Embedded, Error, Expect, KeyValue, ListRange, Revision, Store, WatchItem};

use crate::arguments::{Backend, Choice, EtcdSettings, Migrate};
use crate::cluster::Cluster;
use crate::commands::say;
use crate::layout::Layout;
use crate::process::ProcessRecord;
use crate::roles::shared_store::{self, Common};
use crate::which::layout_of;

/// Objects read at a time.
const PAGE: usize = 500;
/// Writes under way at a time: a store commits many at once.
const WRITES: usize = 32;
/// What all objects' keys begin with.
const OBJECTS: &str = "/registry/";
/// Keys of servers that run. They end by themselves, in etcd's own time.
const RUNNING: &str = "/registry/masterleases/";
/// What the servers of an etcd share, and who of them runs, is none of the objects.
const OF_SERVERS: [&str; 2] = ["/registry/knarr.io/", RUNNING];
/// By which servers show that their controllers and scheduler act.
const LEASES: [&str; 2] =
    ["/registry/leases/kube-system/kube-controller-manager", "/registry/leases/kube-system/kube-scheduler"];

/// What was moved.
#[derive(Debug, PartialEq, Eq)]
struct Moved {
    objects: usize,
    bytes: usize,
    from: Revision,
    to: Revision,
}

/// Moves the objects.
///
/// # Errors
/// When a server runs, the target is not empty, or a store fails; the cluster is where it was then.
pub async fn run(asked: &Migrate) -> Result<()> {
    let layout = layout_of(&asked.which)?;
    if ProcessRecord::running(&layout.pid_file()).is_some() {
        bail!("cluster {:?} is running: stop it first, with `knarr down {}`", layout.name, layout.flags());
    }
    let cluster = Cluster::load(&layout)?;
    if !cluster.has_store {
        bail!("cluster {:?} has no objects yet: start it with the store it is to have", layout.name);
    }
    let present = if cluster.etcd.is_some() { Backend::Etcd } else { Backend::Embedded };
    if asked.from.is_some_and(|from| from != present) || asked.to == present {
        let place = cluster
            .etcd
            .as_ref()
            .map_or_else(|| layout.store_file().display().to_string(), EtcdSettings::place);
        bail!("cluster {:?} keeps its objects in {place}", layout.name);
    }
    let (moved, place) = match (&cluster.etcd, asked.wanted()?) {
        (None, Choice::Etcd(etcd)) => (into_etcd(&layout, &cluster, &etcd).await?, etcd.place()),
        (Some(etcd), Choice::Embedded) => {
            (into_file(&layout, &cluster, etcd).await?, layout.store_file().display().to_string())
        }
        (None, Choice::Embedded) | (Some(_), Choice::Etcd(_)) => bail!("the objects are there already"),
    };
    say(&format!(
        "{objects} objects ({bytes} bytes) of cluster {name:?} are in {place} now, each compared: revision {from} there was, \
         {to} here is\n",
        objects = moved.objects,
        bytes = moved.bytes,
        name = layout.name,
        from = moved.from,
        to = moved.to,
    ))
}

async fn into_etcd(layout: &Layout, cluster: &Cluster, place: &EtcdSettings) -> Result<Moved> {
    let source = open(layout.store_file()).await?;
    let target = shared_store::connect(place).await?;
    ensure_empty(&target, &place.place(), &format!("etcdctl del --prefix {}/", place.prefix)).await?;
    let moved = copy(&source, &target).await?;
    source.close().await?;
    let common = Common::of_files(cluster.network(), &layout.pki_dir())?;
    shared_store::agree(&target, &common, &layout.pki_dir(), place).await?;
    cluster.note_store(layout, Some(place.clone()))?;
    // Not to be taken for the cluster's objects later.
    let aside = layout.store_file().with_extension("redb.migrated");
    fs::rename(layout.store_file(), &aside).with_context(|| format!("renaming it to {}", aside.display()))?;
    say(&format!("the file is kept as {}\n", aside.display()))?;
    Ok(moved)
}

async fn into_file(layout: &Layout, cluster: &Cluster, place: &EtcdSettings) -> Result<Moved> {
    let (file, new) = (layout.store_file(), layout.store_file().with_extension("redb.new"));
    if file.exists() {
        bail!("{} is there already: move it away first", file.display());
    }
    let source = shared_store::connect(place).await?;
    ensure_idle(&source, &SystemClock).await?;
    match fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", new.display()));
        }
        _ => {}
    }
    let target = open(new.clone()).await?;
    let moved = copy(&source, &target).await?;
    ensure_no_server(&source).await?;
    ensure_unchanged(&source, moved.from).await?;
    target.close().await?;
    fs::rename(&new, &file).with_context(|| format!("renaming {}", new.display()))?;
    let shared_network = Some(cluster.network());
    Cluster { shared_network, ..cluster.clone() }.note_store(layout, None)?;
    say(&format!("the objects in {} are as they were\n", place.place()))?;
    Ok(moved)
}

async fn open(file: PathBuf) -> Result<Embedded> {
    let config = store::Config { clock: Arc::new(SystemClock), ..store::Config::new(&file) };
    let opened = tokio::task::spawn_blocking(move || Embedded::open(config)).await?;
    opened.with_context(|| format!("opening {}", file.display()))
}

async fn ensure_empty(target: &Etcd, place: &str, remedy: &str) -> Result<()> {
    if let Some(first) = first(target, OBJECTS).await? {
        bail!(
            "{place} is not empty (there is {}): choose another --etcd-prefix, or empty it with `{remedy}`",
            first.key
        );
    }
    Ok(())
}

async fn first(store: &dyn Store, prefix: &str) -> Result<Option<KeyValue>> {
    let range = ListRange { prefix: prefix.to_owned(), limit: 1, ..ListRange::default() };
    Ok(store.list(range).await?.items.pop())
}

/// Refuses while the etcd holds the key of a server that runs.
async fn ensure_no_server(source: &dyn Store) -> Result<()> {
    let Some(found) = first(source, RUNNING).await? else { return Ok(()) };
    let address = found.key.strip_prefix(RUNNING).unwrap_or_default();
    bail!(
        "the server at {address} works on the etcd ({key} is there): stop all servers first; if that server was killed, the \
         key goes by itself within a minute, so try again then",
        key = found.key
    );
}

/// Refuses when an object was written or deleted after revision `at`. Objects that expired are no change: they were
/// copied before.
async fn ensure_unchanged(source: &dyn Store, at: Revision) -> Result<()> {
    let expiring = expiring();
    let expired = |change: &Change| change.value.is_none() && ttl_of(&change.key, &expiring).is_some();
    let upto = source.revision().await?;
    let mut changes = source.watch(OBJECTS, at).await?;
    source.request_progress().await?;
    while let Some(item) = changes.next().await {
        match item? {
            WatchItem::Progress(seen) if seen >= upto => return Ok(()),
            WatchItem::Progress(_) => {}
            WatchItem::Changes(changes) => {
                if let Some(change) = changes.iter().find(|change| !expired(change)) {
                    bail!(
                        "{} was changed while the objects of revision {at} were copied (by revision {}): another server or \
                         client writes to the source. Stop all of them, then move again; nothing has been moved",
                        change.key,
                        change.revision
                    );
                }
            }
        }
    }
    bail!("the source ended the watch that shows whether its objects were changed meanwhile: try again")
}

/// Refuses while a server works on the etcd.
async fn ensure_idle(source: &Etcd, clock: &dyn Clock) -> Result<()> {
    ensure_no_server(source).await?;
    for key in LEASES {
        let Some(lease) = source.get(key).await?.0 else { continue };
        // Without the key that an encrypted lease is read with, nobody here can tell whether servers run.
        let lease: Value = serde_json::from_slice(&lease.value)
            .with_context(|| format!("{key} is no object that can be read, to tell whether servers run"))?;
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        let renewed =
            lease["spec"]["renewTime"].as_str().and_then(|time| time.parse::<jiff::Timestamp>().ok());
        let lasts = lease["spec"]["leaseDurationSeconds"].as_i64().unwrap_or(0);
        let age = renewed.map(|renewed| clock.now().duration_since(renewed).as_secs());
        if !holder.is_empty() && age.is_some_and(|age| age < lasts) {
            bail!(
                "a server, {holder}, works on the etcd (its lease was renewed {} s ago): stop all servers first",
                age.unwrap_or(0)
            );
        }
    }
    Ok(())
}

/// Copies all objects of one revision, and compares them.
async fn copy(source: &dyn Store, target: &dyn Store) -> Result<Moved> {
    let at = source.revision().await?;
    let expiring = expiring();
    let mut after = String::new();
    loop {
        let page = page(source, &after, at).await?;
        let writes = page.iter().map(|item| write(target, item, &expiring));
        futures::stream::iter(writes).buffer_unordered(WRITES).try_collect::<Vec<()>>().await?;
        match page.last() {
            Some(last) if page.len() == PAGE => after = last.key.to_string(),
            _ => break,
        }
    }
    compare(source, target, at).await
}

async fn compare(source: &dyn Store, target: &dyn Store, at: Revision) -> Result<Moved> {
    let to = target.revision().await?;
    let mut moved = Moved { objects: 0, bytes: 0, from: at, to };
    let mut after = String::new();
    loop {
        let (was, is) = (page(source, &after, at).await?, page(target, &after, to).await?);
        let mut pairs = was.iter().zip(&is);
        if was.len() != is.len() || pairs.any(|(a, b)| (&a.key, &a.value) != (&b.key, &b.value)) {
            bail!(
                "what was written is not what is read back, after {after:?}: the target has other writers, or a fault"
            );
        }
        moved.objects += was.len();
        moved.bytes += was.iter().map(|item| item.value.len()).sum::<usize>();
        match was.last() {
            Some(last) if was.len() == PAGE => after = last.key.to_string(),
            _ => break,
        }
    }
    Ok(moved)
}

/// The [`PAGE`] objects that follow `after`; fewer only where no more follow, whatever keys of servers lie between them.
async fn page(store: &dyn Store, after: &str, at: Revision) -> Result<Vec<KeyValue>> {
    let mut objects = Vec::with_capacity(PAGE);
    let mut after = after.to_owned();
    while objects.len() < PAGE {
        let limit = PAGE - objects.len();
        let read = store.list(ListRange { prefix: OBJECTS.to_owned(), after, limit, at: Some(at) }).await?;
        let last = read.items.last().map(|item| item.key.to_string()).filter(|_| read.more);
        objects.extend(read.items.into_iter().filter(|item| !is_of_servers(&item.key)));
        match last {
            Some(last) => after = last,
            None => break,
        }
    }
    Ok(objects)
}

fn is_of_servers(key: &str) -> bool {
    OF_SERVERS.iter().any(|prefix| key.starts_with(prefix))
}

/// Kinds whose objects expire: what their keys begin with, and after how long. How much of that is left, a store does not
/// say: they stay for as long as new ones.
fn expiring() -> Vec<(String, u64)> {
    let table = Builtin.table();
    let rows = table.rows();
    rows.filter_map(|row| Some((format!("/registry/{}/", row.storage_prefix), row.ttl_s?))).collect()
}

fn ttl_of(key: &str, expiring: &[(String, u64)]) -> Option<u64> {
    expiring.iter().find(|(prefix, _)| key.starts_with(prefix)).map(|(_, ttl_s)| *ttl_s)
}

async fn write(target: &dyn Store, item: &KeyValue, expiring: &[(String, u64)]) -> Result<()> {
    let ttl_s = ttl_of(&item.key, expiring);
    match target.put(&item.key, item.value.clone(), Expect::Absent, ttl_s).await {
        Ok(_) => Ok(()),
        Err(Error::Conflict { .. }) => bail!("{} is there already: the target has other writers", item.key),
        Err(error) => Err(error).with_context(|| format!("writing {}", item.key)),
    }
}

#[cfg(test)]
mod tests;
