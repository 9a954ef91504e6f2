//! What pods use now: memory and processes as the runtime tells them, disk as it is found.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cri::v1;
use k8s_openapi::api::core::v1::Pod;

use super::EvictorDeps;
use crate::container_config::log_directory;
use crate::cri_view::{LABEL_CONTAINER_NAME, LABEL_POD_UID};
use crate::pressure::Signal;
use crate::pressure::ranking::{ContainerUsage, Usage};

/// How long files are counted at most, those of all pods together.
const COUNTING: Duration = Duration::from_secs(10);

/// By the pods' uids.
pub type Usages = BTreeMap<String, Usage>;

/// What these pods use. Disks are looked at only where that matters.
///
/// # Errors
/// When the runtime does not tell.
pub async fn read(deps: &EvictorDeps, pods: &[Arc<Pod>], signal: Signal) -> Result<Usages, tonic::Status> {
    let request = v1::ListPodSandboxStatsRequest::default();
    let stats = deps.runtime.clone().list_pod_sandbox_stats(request).await?.into_inner().stats;
    let mut usages = Usages::new();
    for stats in stats {
        let metadata = stats.attributes.and_then(|attributes| attributes.metadata).unwrap_or_default();
        let Some(linux) = stats.linux else { continue };
        // A pod that lost its sandbox has several; the one that runs uses more.
        let usage = of_stats(linux);
        let known = usages.entry(metadata.uid).or_default();
        if usage.memory_bytes >= known.memory_bytes {
            *known = usage;
        }
    }
    if matches!(signal, Signal::NodefsAvailable | Signal::NodefsInodesFree) {
        usages = with_files(deps, pods, usages).await?;
    }
    Ok(usages)
}

/// What one pod uses, its files on disk included.
///
/// # Errors
/// When the runtime does not tell.
pub async fn of_pod(deps: &EvictorDeps, pod: &Arc<Pod>) -> Result<Usage, tonic::Status> {
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let label_selector = [(LABEL_POD_UID.to_owned(), uid.clone())].into();
    let filter = Some(v1::ContainerStatsFilter { label_selector, ..v1::ContainerStatsFilter::default() });
    let request = v1::ListContainerStatsRequest { filter };
    let containers = deps.runtime.clone().list_container_stats(request).await?.into_inner().stats;
    let usage = of_stats(v1::LinuxPodSandboxStats { containers, ..v1::LinuxPodSandboxStats::default() });
    let usages = Usages::from([(uid.clone(), usage)]);
    let mut usages = with_files(deps, std::slice::from_ref(pod), usages).await?;
    Ok(usages.remove(&uid).unwrap_or_default())
}

async fn with_files(
    deps: &EvictorDeps,
    pods: &[Arc<Pod>],
    mut usages: Usages,
) -> Result<Usages, tonic::Status> {
    let places: Vec<(String, PathBuf, PathBuf)> = pods
        .iter()
        .filter_map(|pod| {
            let uid = pod.metadata.uid.clone()?;
            let volumes = deps.dirs.volumes(&uid).join("kubernetes.io~empty-dir");
            Some((uid, volumes, log_directory(&deps.log_root, pod)))
        })
        .collect();
    let counted = tokio::task::spawn_blocking(move || {
        add_files(&mut usages, &places, COUNTING);
        usages
    });
    counted.await.map_err(|error| tonic::Status::internal(error.to_string()))
}

fn of_stats(linux: v1::LinuxPodSandboxStats) -> Usage {
    let value = |value: Option<&v1::UInt64Value>| value.map_or(0, |value| value.value);
    let memory = |memory: Option<&v1::MemoryUsage>| value(memory.and_then(|m| m.working_set_bytes.as_ref()));
    let mut usage = Usage {
        memory_bytes: memory(linux.memory.as_ref()),
        processes: value(linux.process.as_ref().and_then(|process| process.process_count.as_ref())),
        ..Usage::default()
    };
    for container in linux.containers {
        let attributes = container.attributes.unwrap_or_default();
        let named = attributes.metadata.map(|metadata| metadata.name).filter(|name| !name.is_empty());
        let name = named.or_else(|| attributes.labels.get(LABEL_CONTAINER_NAME).cloned()).unwrap_or_default();
        let layer = container.writable_layer.as_ref();
        let disk_bytes = value(layer.and_then(|layer| layer.used_bytes.as_ref()));
        usage.disk_bytes += disk_bytes;
        usage.inodes += value(layer.and_then(|layer| layer.inodes_used.as_ref()));
        let memory_bytes = memory(container.memory.as_ref());
        usage.containers.push(ContainerUsage { name, memory_bytes, disk_bytes });
    }
    usage
}

/// Adds pods' volumes and logs, each pod's as far as they can be counted in its share of the time: what is found is never
/// more than there is. Blocks.
fn add_files(usages: &mut Usages, places: &[(String, PathBuf, PathBuf)], within: Duration) {
    let share = within / u32::try_from(places.len().max(1)).unwrap_or(u32::MAX);
    for (uid, volumes, logs) in places {
        let Some(usage) = usages.get_mut(uid) else { continue };
        let until = Instant::now() + share;
        let of_containers: Vec<PathBuf> = usage.containers.iter().map(|one| logs.join(&one.name)).collect();
        let of_pod = [(volumes, used(volumes, &[], until)), (logs, used(logs, &of_containers, until))];
        for (folder, (bytes, files)) in of_pod {
            tracing::trace!(folder = %folder.display(), bytes, files, "files were counted");
            usage.disk_bytes += bytes;
            usage.inodes += files;
        }
        for (container, logs) in usage.containers.iter_mut().zip(&of_containers) {
            let (bytes, files) = used(logs, &[], until);
            container.disk_bytes += bytes;
            usage.disk_bytes += bytes;
            usage.inodes += files;
        }
    }
}

/// What the files under `folder` take on disk, and how many they are, as far as they are found by `until`; links to one
/// file are counted once. What is mounted there from elsewhere is not looked at, and not into the folders `beside`. Blocks.
fn used(folder: &Path, beside: &[PathBuf], until: Instant) -> (u64, u64) {
    let Ok(own) = fs::symlink_metadata(folder) else { return (0, 0) };
    let (mut bytes, mut files) = (0u64, 0u64);
    let (mut seen, mut open) = (HashSet::new(), vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if Instant::now() >= until {
                return (bytes, files);
            }
            let Ok(meta) = entry.metadata() else { continue };
            let is_known = meta.nlink() > 1 && !meta.is_dir() && !seen.insert(meta.ino());
            if is_known || meta.dev() != own.dev() {
                continue;
            }
            bytes = bytes.saturating_add(meta.blocks().saturating_mul(512));
            files += 1;
            if meta.is_dir() && !beside.contains(&entry.path()) {
                open.push(entry.path());
            }
        }
    }
    (bytes, files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_and_logs_count_beside_what_containers_write() {
        let dir = tempfile::tempdir().expect("a folder");
        let (volumes, logs) = (dir.path().join("volumes"), dir.path().join("logs"));
        fs::create_dir_all(volumes.join("scratch")).expect("made");
        fs::create_dir_all(logs.join("main")).expect("made");
        fs::write(volumes.join("scratch/file"), vec![1; 1 << 20]).expect("written");
        fs::hard_link(volumes.join("scratch/file"), volumes.join("same")).expect("linked");
        fs::write(logs.join("main/0.log"), vec![1; 1 << 16]).expect("written");
        let container = ContainerUsage { name: "main".into(), disk_bytes: 10, ..ContainerUsage::default() };
        let usage = Usage { disk_bytes: 10, containers: vec![container], ..Usage::default() };
        let mut usages = Usages::from([("u".to_owned(), usage)]);
        add_files(
            &mut usages,
            &[("u".to_owned(), volumes.clone(), logs), ("gone".to_owned(), "/a".into(), "/b".into())],
            Duration::from_secs(600),
        );
        let usage = &usages["u"];
        assert!(
            usage.disk_bytes > (1 << 20) + (1 << 16) && usage.disk_bytes < (1 << 20) + (1 << 17),
            "{usage:?}"
        );
        assert_eq!(usage.inodes, 4, "two folders and two files");
        assert!(usage.containers[0].disk_bytes > 1 << 16, "{usage:?}");
        assert_eq!(
            used(&volumes, &[], Instant::now()),
            (0, 0),
            "nothing is looked at for longer than it may take"
        );
    }
}
