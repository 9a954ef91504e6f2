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
use store::{Embedded, Error, Expect, KeyValue, ListRange, Revision, Store};

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
/// What the servers of an etcd share, and who of them runs, is none of the objects.
const OF_SERVERS: [&str; 2] = ["/registry/knarr.io/", "/registry/masterleases/"];
/// By which servers show that they run.
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
    let range = ListRange { prefix: "/registry/".to_owned(), limit: 1, ..ListRange::default() };
    if let Some(first) = target.list(range).await?.items.first() {
        bail!(
            "{place} is not empty (there is {}): choose another --etcd-prefix, or empty it with `{remedy}`",
            first.key
        );
    }
    Ok(())
}

/// Refuses while a server works on the etcd.
async fn ensure_idle(source: &Etcd, clock: &dyn Clock) -> Result<()> {
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
    while let Some(page) = next(source, &after, at).await? {
        let writes = page.items.iter().map(|item| write(target, item, &expiring));
        futures::stream::iter(writes).buffer_unordered(WRITES).try_collect::<Vec<()>>().await?;
        match page.last {
            Some(last) => after = last,
            None => break,
        }
    }
    compare(source, target, at).await
}

async fn compare(source: &dyn Store, target: &dyn Store, at: Revision) -> Result<Moved> {
    let to = target.revision().await?;
    let mut moved = Moved { objects: 0, bytes: 0, from: at, to };
    let mut after = String::new();
    loop {
        let (Some(was), Some(is)) = (next(source, &after, at).await?, next(target, &after, to).await?) else {
            break;
        };
        let mut pairs = was.items.iter().zip(&is.items);
        if was.items.len() != is.items.len() || pairs.any(|(a, b)| (&a.key, &a.value) != (&b.key, &b.value)) {
            bail!(
                "what was written is not what is read back, after {after:?}: the target has other writers, or a fault"
            );
        }
        moved.objects += was.items.len();
        moved.bytes += was.items.iter().map(|item| item.value.len()).sum::<usize>();
        match was.last {
            Some(last) => after = last,
            None => break,
        }
    }
    Ok(moved)
}

struct Page {
    items: Vec<KeyValue>,
    /// After which the next page begins; `None`: this was the last.
    last: Option<String>,
}

async fn next(store: &dyn Store, after: &str, at: Revision) -> Result<Option<Page>> {
    let range = ListRange { after: after.to_owned(), limit: PAGE, at: Some(at), ..ListRange::default() };
    let range = ListRange { prefix: "/registry/".to_owned(), ..range };
    let page = store.list(range).await?;
    let last = page.items.last().map(|item| item.key.to_string()).filter(|_| page.more);
    let items: Vec<_> = page.items.into_iter().filter(|item| !is_of_servers(&item.key)).collect();
    Ok((!items.is_empty() || last.is_some()).then_some(Page { items, last }))
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

async fn write(target: &dyn Store, item: &KeyValue, expiring: &[(String, u64)]) -> Result<()> {
    let ttl_s = expiring.iter().find(|(prefix, _)| item.key.starts_with(prefix)).map(|(_, ttl_s)| *ttl_s);
    match target.put(&item.key, item.value.clone(), Expect::Absent, ttl_s).await {
        Ok(_) => Ok(()),
        Err(Error::Conflict { .. }) => bail!("{} is there already: the target has other writers", item.key),
        Err(error) => Err(error).with_context(|| format!("writing {}", item.key)),
    }
}

#[cfg(test)]
mod tests {
    use base::ManualClock;
    use etcd::testing::Cluster as Members;
    use store::Memory;

    use super::*;

    async fn fill(store: &dyn Store, count: usize) {
        for n in 0..count {
            let key = format!("/registry/configmaps/default/m{n:04}");
            store.put(&key, format!("{{\"n\":{n}}}").into(), Expect::Absent, None).await.expect("written");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_moved_there_and_back_is_the_same() {
        let members = Members::start(1, None).expect("etcd starts");
        let etcd = Etcd::connect(members.config()).await.expect("etcd answers");
        let (first, last) =
            (Memory::new(store::memory::Config::default()), Memory::new(store::memory::Config::default()));
        fill(&first, 1203).await;
        first.put("/registry/events/default/e", "{}".into(), Expect::Absent, None).await.expect("written");
        first.put("/registry/knarr.io/cluster", "{}".into(), Expect::Absent, None).await.expect("written");
        ensure_empty(&etcd, "etcd", "remedy").await.expect("a new etcd is empty");
        let there = copy(&first, &etcd).await.expect("copied");
        assert_eq!((there.objects, there.from, there.to), (1204, 1206, 1205));
        let error = ensure_empty(&etcd, "etcd", "remedy").await.expect_err("not empty").to_string();
        assert!(error.contains("configmaps/default/m0000") && error.contains("`remedy`"), "{error}");
        assert!(copy(&first, &etcd).await.expect_err("not twice").to_string().contains("is there already"));
        let back = copy(&etcd, &last).await.expect("copied");
        assert_eq!((back.objects, back.bytes), (there.objects, there.bytes));
        // What differs afterwards is found.
        last.put("/registry/configmaps/default/m0600", "{}".into(), Expect::Anything, None)
            .await
            .expect("written");
        let at = etcd.revision().await.expect("etcd answers");
        assert!(
            compare(&etcd, &last, at)
                .await
                .expect_err("they differ")
                .to_string()
                .contains("not what is read back")
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_etcd_with_a_server_on_it_is_left_alone() {
        let members = Members::start(1, None).expect("etcd starts");
        let etcd = Etcd::connect(members.config()).await.expect("etcd answers");
        let clock = ManualClock::new("2026-01-01T00:00:10Z".parse().expect("a time"));
        let lease = |holder: &str| {
            serde_json::json!({"spec": {
                "holderIdentity": holder, "renewTime": "2026-01-01T00:00:00.000000Z", "leaseDurationSeconds": 15,
            }})
        };
        let put = async |holder: &str| {
            let value = lease(holder).to_string().into();
            etcd.put(LEASES[0], value, Expect::Anything, None).await.expect("written");
        };
        ensure_idle(&etcd, &clock).await.expect("nobody is there");
        put("a_1").await;
        let error = ensure_idle(&etcd, &clock).await.expect_err("refused").to_string();
        assert!(error.contains("a server, a_1, works on the etcd") && error.contains("10 s ago"), "{error}");
        clock.advance(jiff::SignedDuration::from_secs(5));
        ensure_idle(&etcd, &clock).await.expect("the lease has run out");
        clock.advance(jiff::SignedDuration::from_secs(-5));
        put("").await;
        ensure_idle(&etcd, &clock).await.expect("the lease was released");
    }
}
