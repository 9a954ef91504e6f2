//! The files that describe devices, and what they say.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// How much is read of one file, how many files of a folder, and how many devices a file may have.
const MAX_FILE_BYTES: u64 = 4 << 20;
const MAX_FILES: usize = 1_000;
const MAX_DEVICES: usize = 10_000;
/// How deep a file's values may be nested.
const MAX_DEPTH: usize = 32;
/// The versions of the interface that are read.
const VERSIONS: [&str; 10] =
    ["0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0"];

/// A file.
#[derive(Debug)]
pub struct Described {
    pub path: PathBuf,
    /// What all its devices need.
    pub common: Edits,
    kind: String,
    devices: Vec<Device>,
    /// That of its folder: files of a higher one hide those of a lower one.
    priority: usize,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    cdi_version: String,
    kind: String,
    #[serde(default)]
    #[expect(dead_code, reason = "read so that it is no unknown field")]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    devices: Vec<Device>,
    #[serde(default)]
    container_edits: Edits,
}

/// A device of a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    name: String,
    #[serde(default)]
    #[expect(dead_code, reason = "read so that it is no unknown field")]
    annotations: BTreeMap<String, String>,
    #[serde(default, rename = "containerEdits")]
    pub edits: Edits,
}

/// What changes in a container's specification.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Edits {
    pub env: Vec<String>,
    pub device_nodes: Vec<DeviceNode>,
    pub net_devices: Vec<serde_json::Value>,
    pub hooks: Vec<Hook>,
    pub mounts: Vec<Mount>,
    pub intel_rdt: Option<serde_json::Value>,
    pub additional_gids: Vec<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DeviceNode {
    pub path: String,
    pub host_path: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub major: i64,
    pub minor: i64,
    pub file_mode: Option<u32>,
    pub permissions: String,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Hook {
    pub hook_name: String,
    pub path: String,
    pub args: Vec<String>,
    pub env: Vec<String>,
    pub timeout: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Mount {
    pub host_path: String,
    pub container_path: String,
    pub options: Vec<String>,
    #[serde(rename = "type")]
    pub kind: String,
}

/// All files of the host.
#[derive(Debug, Default)]
pub struct Registry {
    files: Vec<Described>,
    faults: Vec<(PathBuf, String)>,
}

impl Registry {
    /// Reads the files of `folders`. Those that are not there are left out; what cannot be read is a fault.
    pub fn read(folders: &[PathBuf]) -> Self {
        let mut registry = Self::default();
        for (priority, folder) in folders.iter().enumerate() {
            for path in registry.names(folder) {
                match read(&path, priority) {
                    Ok(file) => registry.files.push(file),
                    Err(why) => registry.faults.push((path, why)),
                }
            }
        }
        registry
    }

    /// The files of a folder, in the order of their names.
    fn names(&mut self, folder: &Path) -> Vec<PathBuf> {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                self.faults.push((folder.to_owned(), error.to_string()));
                return Vec::new();
            }
        };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let is_one = |path: &PathBuf| path.extension().is_some_and(|end| end == "json" || end == "yaml");
        let mut paths: Vec<PathBuf> = paths.filter(is_one).take(MAX_FILES + 1).collect();
        paths.sort();
        if paths.len() > MAX_FILES {
            self.faults.push((folder.to_owned(), format!("it has more than {MAX_FILES} files")));
            paths.truncate(MAX_FILES);
        }
        paths
    }

    /// What could not be read, and why.
    pub fn faults(&self) -> &[(PathBuf, String)] {
        &self.faults
    }

    /// The device of a name, `vendor/class=device`. A name that two files of one folder claim stands for nothing.
    pub fn find(&self, name: &str) -> Option<(&Described, &Device)> {
        let (kind, device) = name.split_once('=')?;
        let mut found: Vec<(&Described, &Device)> = Vec::new();
        for file in self.files.iter().filter(|file| file.kind == kind) {
            let Some(own) = file.devices.iter().find(|own| own.name == device) else { continue };
            if found.first().is_some_and(|(other, _)| other.priority < file.priority) {
                found.clear();
            }
            found.push((file, own));
        }
        (found.len() == 1).then(|| found[0])
    }
}

fn read(path: &Path, priority: usize) -> Result<Described, String> {
    let meta = path.metadata().map_err(|error| error.to_string())?;
    if !meta.is_file() {
        return Err("it is not a file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    // One byte more than is taken tells a larger file.
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let written = parse(&bytes)?;
    Ok(Described {
        path: path.to_owned(),
        common: written.container_edits,
        kind: written.kind,
        devices: written.devices,
        priority,
    })
}

fn parse(bytes: &[u8]) -> Result<Written, String> {
    let limit = usize::try_from(MAX_FILE_BYTES).unwrap_or(usize::MAX);
    if bytes.len() > limit {
        return Err(format!("it has more than {MAX_FILE_BYTES} bytes"));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: Some(limit),
            max_depth: MAX_DEPTH,
            max_documents: 1,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_total_scalar_bytes: limit,
            max_merge_keys: 1_000,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 50_000,
            max_replay_stack_depth: 16,
        },
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    // JSON is YAML.
    let written: Written =
        serde_saphyr::from_slice_with_options(bytes, options).map_err(|error| error.to_string())?;
    if !VERSIONS.contains(&written.cdi_version.trim_start_matches('v')) {
        return Err(format!("invalid version {:?}", written.cdi_version));
    }
    let parts = written.kind.split_once('/');
    if parts.is_none_or(|(vendor, class)| vendor.is_empty() || class.is_empty()) {
        return Err(format!("invalid kind {:?}", written.kind));
    }
    if written.devices.is_empty() {
        return Err("invalid spec, no devices".to_owned());
    }
    if written.devices.len() > MAX_DEVICES {
        return Err(format!("it has more than {MAX_DEVICES} devices"));
    }
    let mut names: Vec<&str> = written.devices.iter().map(|device| device.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("invalid spec, multiple device {:?}", twice[0]));
    }
    Ok(written)
}
