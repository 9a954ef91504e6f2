//! Exec, attach and port-forward: a check, and the address where the client goes on.

use cri::v1::*;
use tonic::{Response, Status};

use super::{Answer, Runtime};
use streaming::Stdio;

/// Hands out addresses that work once, for a short time.
pub trait StreamUrls: Send + Sync + 'static {
    fn exec(&self, container: &str, command: &[String], stdio: Stdio) -> Result<String, Status>;
    fn attach(&self, container: &str, stdio: Stdio) -> Result<String, Status>;
    fn port_forward(&self, sandbox: &str, ports: &[u16]) -> Result<String, Status>;
}

impl Runtime {
    pub(super) fn exec_url(&self, request: ExecRequest) -> Answer<ExecResponse> {
        let stdio =
            Stdio { stdin: request.stdin, stdout: request.stdout, stderr: request.stderr, tty: request.tty };
        check(stdio)?;
        let id = self.running(&request.container_id)?;
        let url = self.streams.exec(&id, &request.cmd, stdio)?;
        Ok(Response::new(ExecResponse { url }))
    }

    pub(super) fn attach_url(&self, request: AttachRequest) -> Answer<AttachResponse> {
        let stdio =
            Stdio { stdin: request.stdin, stdout: request.stdout, stderr: request.stderr, tty: request.tty };
        check(stdio)?;
        let id = self.running(&request.container_id)?;
        let url = self.streams.attach(&id, stdio)?;
        Ok(Response::new(AttachResponse { url }))
    }

    pub(super) fn port_forward_url(&self, request: PortForwardRequest) -> Answer<PortForwardResponse> {
        let sandbox = self.engine.sandbox(&request.pod_sandbox_id)?;
        if !sandbox.is_ready() {
            return Err(Status::failed_precondition(format!(
                "sandbox container {:?} is not running",
                sandbox.id
            )));
        }
        let port = |p: i32| u16::try_from(p).map_err(|_| Status::invalid_argument(format!("{p} is no port")));
        let ports = request.port.into_iter().map(port).collect::<Result<Vec<_>, _>>()?;
        let url = self.streams.port_forward(&sandbox.id, &ports)?;
        Ok(Response::new(PortForwardResponse { url }))
    }

    fn running(&self, id: &str) -> Result<String, Status> {
        let container = self.engine.container(id)?;
        if container.is_running() {
            return Ok(container.id.clone());
        }
        let state = container.cri_state().as_str_name();
        Err(Status::failed_precondition(format!("container is in {state} state")))
    }
}

fn check(stdio: Stdio) -> Result<(), Status> {
    if stdio.tty && stdio.stderr {
        return Err(Status::invalid_argument("tty and stderr cannot both be true"));
    }
    if !(stdio.stdin || stdio.stdout || stdio.stderr) {
        return Err(Status::invalid_argument("one of stdin, stdout, or stderr must be set"));
    }
    Ok(())
}
