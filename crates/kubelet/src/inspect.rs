//! Reads the runtime's state of one pod, and requests only the parts that may have changed.

use cri::v1;
use futures::future::try_join_all;

use crate::cri_calls::{Cri, CriError};
use crate::cri_view::{self, PodRuntime, Record, Run, Sandbox};
use crate::seams::ContainerConfigs;

/// The pod's sandboxes and containers now. `known` is the last reading; what cannot have changed since
/// (ended containers, sandboxes that are down) is taken from it.
///
/// # Errors
/// When the runtime cannot be asked. What vanishes between the listing and a closer look is left out.
pub async fn inspect(
    cri: &dyn Cri,
    configs: &dyn ContainerConfigs,
    pod_uid: &str,
    known: &PodRuntime,
) -> Result<PodRuntime, CriError> {
    let (sandboxes, containers) =
        tokio::try_join!(cri.sandboxes(Some(pod_uid)), cri.containers(Some(pod_uid)))?;
    let (sandboxes, containers) = tokio::try_join!(
        try_join_all(sandboxes.iter().map(|s| sandbox(cri, known, s))),
        try_join_all(containers.iter().map(|c| container(cri, configs, known, c))),
    )?;
    let mut pod = PodRuntime {
        sandboxes: sandboxes.into_iter().flatten().collect(),
        containers: containers.into_iter().flatten().collect(),
        ..PodRuntime::default()
    };
    pod.sort();
    pod.know_attempts(known);
    Ok(pod)
}

async fn sandbox(
    cri: &dyn Cri,
    known: &PodRuntime,
    listed: &v1::PodSandbox,
) -> Result<Option<Sandbox>, CriError> {
    let ready = listed.state() == v1::PodSandboxState::SandboxReady;
    if let Some(same) = known.sandboxes.iter().find(|s| s.id == listed.id && s.ready == ready) {
        return Ok(Some(same.clone()));
    }
    match cri.sandbox_status(&listed.id).await {
        Ok(status) => Ok(Some(cri_view::sandbox(&status))),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn container(
    cri: &dyn Cri,
    configs: &dyn ContainerConfigs,
    known: &PodRuntime,
    listed: &v1::Container,
) -> Result<Option<Record>, CriError> {
    let unchanged = known.containers.iter().find(|c| {
        c.id == listed.id
            && matches!(
                (&c.run, listed.state()),
                (Run::Exited(_), v1::ContainerState::ContainerExited)
                    | (Run::Running, v1::ContainerState::ContainerRunning)
            )
    });
    if let Some(same) = unchanged {
        return Ok(Some(same.clone()));
    }
    let status = match cri.container_status(&listed.id).await {
        Ok(status) => status,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let message = match status.state() {
        v1::ContainerState::ContainerExited => configs.termination_message(&status).await,
        _ => None,
    };
    Ok(Some(cri_view::container(&status, &listed.pod_sandbox_id, message)))
}
