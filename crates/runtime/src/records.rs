//! Records of sandboxes and containers on disk: enough to find everything again after the server was
//! killed at any point.

use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cri::v1::{ContainerConfig, PodSandboxConfig};
use prost::Message;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::spec::user::Identity;
use shim::files::{read_json, write_json};

/// In the directory of a sandbox, and of a container.
const RECORD_FILE: &str = "record.json";

/// How far a sandbox has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Being made; a server that finds it removes it.
    Creating,
    Running,
    Stopped,
}

/// A sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SandboxRecord {
    pub id: String,
    /// Nanoseconds since 1970.
    pub created_at_ns: i64,
    pub runtime_handler: String,
    pub phase: Phase,
    pub ips: Vec<String>,
    #[serde(serialize_with = "encode", deserialize_with = "decode")]
    pub config: PodSandboxConfig,
}

/// A container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerRecord {
    pub id: String,
    /// Nanoseconds since 1970.
    pub created_at_ns: i64,
    pub image_id: String,
    pub image_ref: String,
    /// The number of the signal that asks it to stop.
    pub stop_signal: i32,
    pub cgroup: String,
    pub log_path: String,
    /// Whom its first process runs as; unknown of containers made before this was kept.
    #[serde(default)]
    pub identity: Option<Identity>,
    /// Why it could not be started.
    pub start_failure: Option<String>,
    #[serde(serialize_with = "encode", deserialize_with = "decode")]
    pub config: ContainerConfig,
}

/// A record that is kept in a directory of its own.
pub trait Record: Serialize + serde::de::DeserializeOwned {
    fn save(&self, dir: &Path) -> io::Result<()> {
        write_json(&dir.join(RECORD_FILE), self)
    }

    fn load(dir: &Path) -> io::Result<Self> {
        read_json(&dir.join(RECORD_FILE))
    }
}

impl Record for SandboxRecord {}
impl Record for ContainerRecord {}

fn encode<M: Message, S: Serializer>(message: &M, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(message.encode_to_vec()))
}

fn decode<'de, M: Message + Default, D: Deserializer<'de>>(deserializer: D) -> Result<M, D::Error> {
    use serde::de::Error;
    let text = String::deserialize(deserializer)?;
    let bytes = STANDARD.decode(text).map_err(D::Error::custom)?;
    M::decode(bytes.as_slice()).map_err(D::Error::custom)
}
