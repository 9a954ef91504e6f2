//! Makes the runtime open a container's log again after the log was rotated.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use cri::v1::ReopenContainerLogRequest;

use super::rotation::Reopen;
use crate::metrics::Metrics;
use crate::seams::PodDirectory;

/// Finds the container by its log's path and calls the runtime.
pub struct CriReopen {
    pub pods: Arc<dyn PodDirectory>,
    pub runtime: cri::RuntimeServiceClient,
    pub operations: Metrics,
}

#[async_trait]
impl Reopen for CriReopen {
    async fn reopen(&self, log: &Path) -> Result<bool, String> {
        let Some((namespace, pod, container)) = owner(log) else { return Ok(false) };
        let found = match self.pods.container(&namespace, &pod, &container, false) {
            Ok(found) if found.running && found.log_path == log => found,
            _ => return Ok(false),
        };
        let request = ReopenContainerLogRequest { container_id: found.id };
        let mut runtime = self.runtime.clone();
        let answer = self.operations.counted("reopen_container_log", runtime.reopen_container_log(request));
        answer.await.map(|_| true).map_err(|status| status.message().to_owned())
    }
}

/// `…/NAMESPACE_NAME_UID/CONTAINER/N.log`; none of the names may contain an underscore.
fn owner(log: &Path) -> Option<(String, String, String)> {
    let container = log.parent()?;
    let pod = container.parent()?.file_name()?.to_str()?;
    let mut parts = pod.splitn(3, '_');
    let (namespace, name) = (parts.next()?, parts.next()?);
    Some((namespace.to_owned(), name.to_owned(), container.file_name()?.to_str()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logs_path_names_its_container() {
        let found = owner(Path::new("/var/log/pods/ns_my-pod_1234-5678/web/3.log"));
        assert_eq!(found, Some(("ns".into(), "my-pod".into(), "web".into())));
        assert_eq!(owner(Path::new("0.log")), None);
    }
}
