//! A driver for tests: volumes are folders, which are bound to where they are staged and published.
//!
//! Start with [`Driver::serve`]. It runs in the test's process and writes down how it was called.

pub mod devices;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::mount::{UnmountFlags, mount_bind, unmount};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::registration_v1 as reg;
use crate::registration_v1::registration_server::{Registration, RegistrationServer};
use crate::v1::node_server::{Node, NodeServer};
use crate::v1::node_service_capability::rpc::Type as Capability;
use crate::v1::node_service_capability::{Rpc, Type};
use crate::v1::volume_usage::Unit;
use crate::v1::*;

/// How a driver behaves.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    pub name: String,
    pub node_id: String,
    pub max_volumes: i64,
    pub topology: BTreeMap<String, String>,
    pub capabilities: Vec<Capability>,
    /// Where volumes have their data: a folder each.
    pub data: PathBuf,
}

/// See the module's documentation.
#[derive(Clone)]
pub struct Driver {
    behaviour: Arc<Behaviour>,
    calls: Arc<Mutex<Vec<String>>>,
    /// The call that fails next, and what it says.
    failure: Arc<Mutex<Option<(String, Status)>>>,
    /// What the driver was told when it last registered; `None` before.
    told: Arc<Mutex<Option<reg::RegistrationStatus>>>,
    published: Arc<Mutex<Vec<NodePublishVolumeRequest>>>,
    endpoint: PathBuf,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Driver {
    /// A driver whose Node service listens at `endpoint`.
    pub fn new(behaviour: Behaviour, endpoint: PathBuf) -> Self {
        Self {
            behaviour: Arc::new(behaviour),
            calls: Arc::default(),
            failure: Arc::default(),
            told: Arc::default(),
            published: Arc::default(),
            endpoint,
        }
    }

    /// Serves the driver, and its registration at the socket `registration`, until dropped. Sockets that were left are
    /// replaced.
    ///
    /// # Errors
    /// When a socket cannot be made.
    pub async fn serve(self, registration: PathBuf) -> io::Result<()> {
        let [node, register] = [&self.endpoint, &registration].map(|path| listen(path));
        let (node, register) = (UnixListenerStream::new(node?), UnixListenerStream::new(register?));
        // What never ends is what the servers wait for.
        let nodes = Server::builder().serve_with_incoming_shutdown(
            NodeServer::new(self.clone()),
            node,
            std::future::pending::<()>(),
        );
        let register = Server::builder().serve_with_incoming_shutdown(
            RegistrationServer::new(self),
            register,
            std::future::pending::<()>(),
        );
        tokio::try_join!(nodes, register).map(drop).map_err(io::Error::other)
    }

    /// The calls since this was last asked: a method and the volume's handle.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut held(&self.calls))
    }

    /// What was published, whole.
    pub fn published(&self) -> Vec<NodePublishVolumeRequest> {
        held(&self.published).clone()
    }

    /// What the node agent said to the registration.
    pub fn told(&self) -> Option<reg::RegistrationStatus> {
        held(&self.told).clone()
    }

    /// Has the next call of a method fail.
    pub fn fail_next(&self, method: &str, status: Status) {
        *held(&self.failure) = Some((method.to_owned(), status));
    }

    fn enter(&self, method: &str, handle: &str) -> Result<(), Status> {
        held(&self.calls).push(format!("{method} {handle}"));
        match held(&self.failure).take_if(|(failing, _)| failing == method) {
            Some((_, status)) => Err(status),
            None => Ok(()),
        }
    }

    fn stages(&self) -> bool {
        self.behaviour.capabilities.contains(&Capability::StageUnstageVolume)
    }

    fn data(&self, handle: &str) -> PathBuf {
        self.behaviour.data.join(handle.replace('/', "_"))
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(path)
}

fn bind(source: &Path, target: &Path) -> Result<(), Status> {
    let fail = |error: io::Error| Status::internal(format!("{}: {error}", target.display()));
    fs::create_dir_all(source).map_err(fail)?;
    fs::create_dir_all(target).map_err(fail)?;
    if is_mounted(target).map_err(fail)? {
        return Ok(());
    }
    mount_bind(source, target).map_err(|error| fail(error.into()))
}

fn is_mounted(path: &Path) -> io::Result<bool> {
    let path = fs::canonicalize(path)?;
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(table.lines().filter_map(|line| line.split(' ').nth(4)).any(|point| Path::new(point) == path))
}

fn unbind(target: &Path) -> Result<(), Status> {
    match unmount(target, UnmountFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(Status::internal(format!("{}: {error}", target.display()))),
    }
    match fs::remove_dir(target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Status::internal(error.to_string())),
        _ => Ok(()),
    }
}

#[async_trait::async_trait]
impl Node for Driver {
    async fn node_stage_volume(
        &self,
        request: Request<NodeStageVolumeRequest>,
    ) -> Result<Response<NodeStageVolumeResponse>, Status> {
        let request = request.into_inner();
        self.enter("stage", &request.volume_id)?;
        bind(&self.data(&request.volume_id), Path::new(&request.staging_target_path))?;
        Ok(Response::new(NodeStageVolumeResponse {}))
    }

    async fn node_unstage_volume(
        &self,
        request: Request<NodeUnstageVolumeRequest>,
    ) -> Result<Response<NodeUnstageVolumeResponse>, Status> {
        let request = request.into_inner();
        self.enter("unstage", &request.volume_id)?;
        unbind(Path::new(&request.staging_target_path))?;
        Ok(Response::new(NodeUnstageVolumeResponse {}))
    }

    async fn node_publish_volume(
        &self,
        request: Request<NodePublishVolumeRequest>,
    ) -> Result<Response<NodePublishVolumeResponse>, Status> {
        let request = request.into_inner();
        self.enter("publish", &request.volume_id)?;
        held(&self.published).push(request.clone());
        let source = match self.stages() && !request.staging_target_path.is_empty() {
            true => PathBuf::from(&request.staging_target_path),
            false => self.data(&request.volume_id),
        };
        bind(&source, Path::new(&request.target_path))?;
        Ok(Response::new(NodePublishVolumeResponse {}))
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<NodeUnpublishVolumeRequest>,
    ) -> Result<Response<NodeUnpublishVolumeResponse>, Status> {
        let request = request.into_inner();
        self.enter("unpublish", &request.volume_id)?;
        unbind(Path::new(&request.target_path))?;
        Ok(Response::new(NodeUnpublishVolumeResponse {}))
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<NodeGetVolumeStatsRequest>,
    ) -> Result<Response<NodeGetVolumeStatsResponse>, Status> {
        let request = request.into_inner();
        self.enter("stats", &request.volume_id)?;
        if !Path::new(&request.volume_path).exists() {
            return Err(Status::not_found(request.volume_path));
        }
        let usage =
            |unit: Unit, total, used| VolumeUsage { available: total - used, total, used, unit: unit.into() };
        let usage = vec![usage(Unit::Bytes, 1000, 400), usage(Unit::Inodes, 50, 10)];
        Ok(Response::new(NodeGetVolumeStatsResponse { usage, volume_condition: None }))
    }

    async fn node_expand_volume(
        &self,
        request: Request<NodeExpandVolumeRequest>,
    ) -> Result<Response<NodeExpandVolumeResponse>, Status> {
        let request = request.into_inner();
        let capacity_bytes = request.capacity_range.map_or(0, |range| range.required_bytes);
        self.enter("expand", &format!("{} {capacity_bytes}", request.volume_id))?;
        for path in [&request.volume_path, &request.staging_target_path] {
            if !is_mounted(Path::new(path)).unwrap_or(false) {
                return Err(Status::not_found(path.clone()));
            }
        }
        Ok(Response::new(NodeExpandVolumeResponse { capacity_bytes }))
    }

    async fn node_get_capabilities(
        &self,
        _: Request<NodeGetCapabilitiesRequest>,
    ) -> Result<Response<NodeGetCapabilitiesResponse>, Status> {
        let one = |kind: &Capability| NodeServiceCapability {
            r#type: Some(Type::Rpc(Rpc { r#type: (*kind).into() })),
        };
        let capabilities = self.behaviour.capabilities.iter().map(one).collect();
        Ok(Response::new(NodeGetCapabilitiesResponse { capabilities }))
    }

    async fn node_get_info(
        &self,
        _: Request<NodeGetInfoRequest>,
    ) -> Result<Response<NodeGetInfoResponse>, Status> {
        self.enter("info", "")?;
        let topology = Topology { segments: self.behaviour.topology.clone() };
        Ok(Response::new(NodeGetInfoResponse {
            node_id: self.behaviour.node_id.clone(),
            max_volumes_per_node: self.behaviour.max_volumes,
            accessible_topology: Some(topology).filter(|topology| !topology.segments.is_empty()),
        }))
    }
}

#[async_trait::async_trait]
impl Registration for Driver {
    async fn get_info(&self, _: Request<reg::InfoRequest>) -> Result<Response<reg::PluginInfo>, Status> {
        Ok(Response::new(reg::PluginInfo {
            r#type: "CSIPlugin".to_owned(),
            name: self.behaviour.name.clone(),
            endpoint: self.endpoint.display().to_string(),
            supported_versions: vec!["1.0.0".to_owned()],
        }))
    }

    async fn notify_registration_status(
        &self,
        request: Request<reg::RegistrationStatus>,
    ) -> Result<Response<reg::RegistrationStatusResponse>, Status> {
        *held(&self.told) = Some(request.into_inner());
        Ok(Response::new(reg::RegistrationStatusResponse {}))
    }
}
