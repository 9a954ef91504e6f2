//! A driver of devices for tests: it prepares every claim, and writes down how it was called.
//!
//! Start with [`DeviceDriver::serve`].

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use super::{held, listen};
use crate::devices_v1::dra_plugin_server::{DraPlugin, DraPluginServer};
use crate::devices_v1::*;
use crate::registration_v1 as reg;
use crate::registration_v1::registration_server::{Registration, RegistrationServer};

/// See the module's documentation.
#[derive(Clone)]
pub struct DeviceDriver {
    name: String,
    endpoint: PathBuf,
    /// The devices of each claim, as the Container Device Interface names them.
    cdi_devices: Vec<String>,
    calls: Arc<Mutex<Vec<String>>>,
    /// Why claims cannot be prepared or unprepared.
    refusal: Arc<Mutex<String>>,
    told: Arc<Mutex<Option<reg::RegistrationStatus>>>,
}

impl DeviceDriver {
    /// A driver whose service listens at `endpoint`.
    pub fn new(name: &str, endpoint: PathBuf, cdi_devices: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            endpoint,
            cdi_devices: cdi_devices.iter().map(|id| (*id).to_owned()).collect(),
            calls: Arc::default(),
            refusal: Arc::default(),
            told: Arc::default(),
        }
    }

    /// Serves the driver, and its registration at the socket `registration`, until dropped.
    ///
    /// # Errors
    /// When a socket cannot be made.
    pub async fn serve(self, registration: PathBuf) -> io::Result<()> {
        let own = UnixListenerStream::new(listen(&self.endpoint)?);
        let register = UnixListenerStream::new(listen(&registration)?);
        // What never ends is what the servers wait for.
        let claims = Server::builder().serve_with_incoming_shutdown(
            DraPluginServer::new(self.clone()),
            own,
            std::future::pending::<()>(),
        );
        let register = Server::builder().serve_with_incoming_shutdown(
            RegistrationServer::new(self),
            register,
            std::future::pending::<()>(),
        );
        tokio::try_join!(claims, register).map(drop).map_err(io::Error::other)
    }

    /// The calls since this was last asked: a method and the claims' names.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut held(&self.calls))
    }

    /// Has claims be refused for this reason; by an empty one no more.
    pub fn refuse(&self, why: &str) {
        why.clone_into(&mut held(&self.refusal));
    }

    /// What the node agent said to the registration.
    pub fn told(&self) -> Option<reg::RegistrationStatus> {
        held(&self.told).clone()
    }

    fn enter(&self, method: &str, claims: &[Claim]) -> String {
        let names: Vec<&str> = claims.iter().map(|claim| claim.name.as_str()).collect();
        held(&self.calls).push(format!("{method} {}", names.join(" ")));
        held(&self.refusal).clone()
    }
}

#[async_trait::async_trait]
impl DraPlugin for DeviceDriver {
    async fn node_prepare_resources(
        &self,
        request: Request<NodePrepareResourcesRequest>,
    ) -> Result<Response<NodePrepareResourcesResponse>, Status> {
        let claims = request.into_inner().claims;
        let error = self.enter("prepare", &claims);
        let device = Device {
            pool_name: "pool".to_owned(),
            device_name: "d0".to_owned(),
            cdi_device_ids: self.cdi_devices.clone(),
            ..Device::default()
        };
        let prepared = NodePrepareResourceResponse { devices: vec![device], error };
        let claims = claims.into_iter().map(|claim| (claim.uid, prepared.clone())).collect();
        Ok(Response::new(NodePrepareResourcesResponse { claims }))
    }

    async fn node_unprepare_resources(
        &self,
        request: Request<NodeUnprepareResourcesRequest>,
    ) -> Result<Response<NodeUnprepareResourcesResponse>, Status> {
        let claims = request.into_inner().claims;
        let answer = NodeUnprepareResourceResponse { error: self.enter("unprepare", &claims) };
        let claims = claims.into_iter().map(|claim| (claim.uid, answer.clone())).collect();
        Ok(Response::new(NodeUnprepareResourcesResponse { claims }))
    }
}

#[async_trait::async_trait]
impl Registration for DeviceDriver {
    async fn get_info(&self, _: Request<reg::InfoRequest>) -> Result<Response<reg::PluginInfo>, Status> {
        Ok(Response::new(reg::PluginInfo {
            r#type: "DRAPlugin".to_owned(),
            name: self.name.clone(),
            endpoint: self.endpoint.display().to_string(),
            supported_versions: vec!["v1.DRAPlugin".to_owned()],
        }))
    }

    async fn notify_registration_status(
        &self,
        status: Request<reg::RegistrationStatus>,
    ) -> Result<Response<reg::RegistrationStatusResponse>, Status> {
        *held(&self.told) = Some(status.into_inner());
        Ok(Response::new(reg::RegistrationStatusResponse {}))
    }
}
