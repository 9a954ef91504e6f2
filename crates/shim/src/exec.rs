//! A further process in a running container.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::syscall::syscall::SyscallType;

use crate::children::Child;
use crate::console::ConsoleSocket;
use crate::container::{OCI_DIR, chain, other};
use crate::maker;
use crate::payload::{Confinement, Report};
use crate::protocol::{CONTAINERS_DIR, Failure};

/// A process that was started in a container.
pub struct Exec {
    pub id: String,
    pub child: Child,
}

/// The process to run.
pub struct Plan<'a> {
    pub container: &'a str,
    pub id: &'a str,
    /// An OCI `process` object.
    pub process_file: &'a Path,
    pub tty: bool,
    /// stdin, stdout, stderr; none of them with a terminal.
    pub stdio: Vec<OwnedFd>,
}

/// Starts the process; with a terminal, its master comes along.
///
/// # Errors
/// [`Failure::Payload`] when the program can't be run.
pub fn start(pod_dir: &Path, plan: Plan<'_>) -> Result<(Exec, Option<OwnedFd>), Failure> {
    let (report, payload) = Report::new(confinement(pod_dir, plan.container)?).map_err(other)?;
    let mut builder = ContainerBuilder::new(plan.container.to_owned(), SyscallType::default())
        .with_root_path(pod_dir.join(OCI_DIR))
        .map_err(|e| Failure::Other(e.to_string()))?
        .with_executor(payload);
    let mut console = None;
    let mut keep: Vec<RawFd> = report.descriptor().into_iter().collect();
    if plan.tty {
        let relative = Path::new(CONTAINERS_DIR).join(plan.container).join("exec-tty");
        let socket = ConsoleSocket::listen(&relative).map_err(other)?;
        builder = builder.with_console_socket(Some(pod_dir.join(relative)));
        console = Some(socket);
    } else {
        keep.extend(plan.stdio.iter().map(AsRawFd::as_raw_fd));
        let [stdin, stdout, stderr]: [OwnedFd; 3] = plan
            .stdio
            .try_into()
            .map_err(|_| Failure::Other("an exec without a terminal needs three streams".to_owned()))?;
        builder = builder.with_stdin(stdin).with_stdout(stdout).with_stderr(stderr);
    }
    let process_file = plan.process_file;
    let made = maker::make(&keep, move || {
        let built = builder.as_tenant().with_process(Some(process_file)).with_detach(true).build();
        built.map(|pid| pid.as_raw()).map_err(|error| Failure::Payload(chain(&error)))
    });
    let pid = match made {
        Ok(pid) => pid,
        Err(failure) => return Err(report.instead_of(failure)),
    };
    if let Some(text) = report.failure() {
        return Err(Failure::Payload(text));
    }
    let child = Child::watch(pid).map_err(other)?;
    let master = console.map(ConsoleSocket::master).transpose().map_err(other)?;
    Ok((Exec { id: plan.id.to_owned(), child }, master))
}

/// The confinement of the container's own process, which further ones share.
fn confinement(pod_dir: &Path, container: &str) -> Result<Option<Confinement>, Failure> {
    let file = pod_dir.join(CONTAINERS_DIR).join(container).join("config.json");
    let spec = Spec::load(file).map_err(|e| Failure::Other(e.to_string()))?;
    let (Some(linux), Some(process)) = (spec.linux(), spec.process()) else { return Ok(None) };
    let Some(filter) = linux.seccomp().clone() else { return Ok(None) };
    let widened = process.no_new_privileges().is_none();
    let capabilities = process.capabilities().clone().filter(|_| widened);
    Ok(Some(Confinement { filter, capabilities }))
}
