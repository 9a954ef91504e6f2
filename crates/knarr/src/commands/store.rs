//! `knarr store`: what can be done about what a cluster's objects are kept in.

mod migrate;

use std::path::Path;

use anyhow::{Result, bail};
use store::embedded::{self, Damage, Repaired, Report};

use super::say;
use crate::arguments::{Store, Which};
use crate::cluster::Cluster;
use crate::layout::Layout;
use crate::which::layout_of;

/// Runs the command. The answer is whether the file is sound (after the repair, for that).
///
/// # Errors
/// When the file is in use, missing, or cannot be opened.
pub fn run(what: &Store) -> Result<bool> {
    match what {
        Store::Check(which) => check(&in_file(which)?),
        Store::Repair(which) => repair(&in_file(which)?),
        Store::Migrate(asked) => {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
            runtime.block_on(migrate::run(asked)).map(|()| true)
        }
    }
}

/// The cluster, whose objects are in a file.
fn in_file(which: &Which) -> Result<Layout> {
    let layout = layout_of(which)?;
    match Cluster::load(&layout).ok().and_then(|cluster| cluster.etcd) {
        Some(etcd) => bail!("cluster {:?} keeps its objects in {}, not in a file", layout.name, etcd.place()),
        None => Ok(layout),
    }
}

fn check(layout: &Layout) -> Result<bool> {
    let file = layout.store_file();
    let report = embedded::check(&file).map_err(|error| explained(layout, error))?;
    say(&listing(&file, &report))?;
    Ok(report.damages.is_empty())
}

fn repair(layout: &Layout) -> Result<bool> {
    let file = layout.store_file();
    match embedded::repair(&file).map_err(|error| explained(layout, error))? {
        None => say(&format!("{} is sound: nothing to repair\n", file.display()))?,
        Some(repaired) => say(&outcome(&file, &repaired))?,
    }
    Ok(true)
}

fn explained(layout: &Layout, error: store::Error) -> anyhow::Error {
    match error {
        store::Error::Locked { .. } => {
            anyhow::anyhow!(
                "the file is in use: stop the cluster first, with `knarr down {}`",
                layout.flags()
            )
        }
        store::Error::Corrupted { .. } => {
            let advice = format!("`knarr store repair {}` saves what is intact", layout.flags());
            anyhow::Error::new(error).context(advice)
        }
        other => anyhow::Error::new(other),
    }
}

fn listing(file: &Path, report: &Report) -> String {
    let Report { revision, keys, changes, damages } = report;
    let mut out = format!("{}: revision {revision}, {keys} objects, {changes} changes\n", file.display());
    if damages.is_empty() {
        out.push_str("no damage\n");
    }
    for Damage { key, revision, what } in damages {
        // What names no key names the revision itself.
        let line = match (key, revision) {
            (Some(key), Some(revision)) => format!("{key}: {what} (revision {revision})"),
            (Some(key), None) => format!("{key}: {what}"),
            (None, _) => what.clone(),
        };
        out.push_str(&format!("damaged: {line}\n"));
    }
    out
}

fn outcome(file: &Path, repaired: &Repaired) -> String {
    let Repaired { kept, set_back, lost, searched, damaged_file } = repaired;
    let mut out = format!("{}: {kept} objects are as they were\n", file.display());
    for (key, revision) in set_back {
        out.push_str(&format!("set back: {key} is as revision {revision} left it\n"));
    }
    for key in lost {
        out.push_str(&format!("lost: {key}\n"));
    }
    if *searched {
        out.push_str(
            "the file could not be read as a whole and was searched for objects: some that had been deleted may be there again\n",
        );
    }
    out.push_str(&format!("the damaged file is kept as {}\n", damaged_file.display()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_listed_by_key_and_revision() {
        let damages = vec![
            Damage { key: Some("/registry/a".into()), revision: Some(7), what: "gone".into() },
            Damage { key: None, revision: None, what: "the keys cannot be read".into() },
        ];
        let report = Report { revision: 9, keys: 2, changes: 3, damages };
        assert_eq!(
            listing(Path::new("/s"), &report),
            "/s: revision 9, 2 objects, 3 changes\ndamaged: /registry/a: gone (revision 7)\ndamaged: the keys cannot be read\n"
        );
        assert!(listing(Path::new("/s"), &Report::default()).ends_with("no damage\n"));
    }
}
