//! Lifecycle hooks: a command, a request or a pause at a container's start or end.

use std::time::Duration;

use k8s_openapi::api::core::v1::LifecycleHandler;

use super::{Executor, Input};
use crate::planner::Member;
use crate::probes::{HttpTarget, http_get};

/// How long a hook's HTTP request may take.
const HTTP_TIMEOUT: Duration = Duration::from_secs(60);

impl Executor {
    /// Runs a hook to its end.
    ///
    /// # Errors
    /// Says in words why the hook failed.
    pub(super) async fn run_hook(
        &self,
        input: &Input,
        member: &Member,
        id: &str,
        hook: &LifecycleHandler,
    ) -> Result<(), String> {
        if let Some(exec) = &hook.exec {
            let command = exec.command.clone().unwrap_or_default();
            let output = self.cri.exec(id, command, 0).await.map_err(|e| e.to_string())?;
            return match output.exit_code {
                0 => Ok(()),
                code => {
                    Err(format!("the command ended with {code}: {}", String::from_utf8_lossy(&output.output)))
                }
            };
        }
        if let Some(get) = &hook.http_get {
            let target = HttpTarget::new(get, &member.spec, input.pod_ips.first().map(String::as_str))?;
            let answer = http_get(&target, HTTP_TIMEOUT).await?;
            return if answer.status < 400 { Ok(()) } else { Err(format!("HTTP status {}", answer.status)) };
        }
        if let Some(pause) = &hook.sleep {
            tokio::time::sleep(Duration::from_secs(u64::try_from(pause.seconds).unwrap_or(0))).await;
            return Ok(());
        }
        // A TCP handler is deprecated and does nothing upstream either.
        Ok(())
    }
}
