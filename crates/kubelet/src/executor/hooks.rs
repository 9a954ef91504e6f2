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
            return request(&target).await;
        }
        if let Some(pause) = &hook.sleep {
            tokio::time::sleep(Duration::from_secs(u64::try_from(pause.seconds).unwrap_or(0))).await;
            return Ok(());
        }
        // A TCP handler is deprecated and does nothing upstream either.
        Ok(())
    }
}

/// As upstream (`pkg/kubelet/lifecycle/handlers.go`): any answer at all is a success, whatever the status.
async fn request(target: &HttpTarget) -> Result<(), String> {
    http_get(target, HTTP_TIMEOUT).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_hook_is_done_when_the_server_answers_whatever_it_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let target = HttpTarget {
            https: false,
            host: "127.0.0.1".into(),
            port,
            path: "/nothing".into(),
            headers: Vec::new(),
        };
        let server = async {
            let (mut stream, _) = listener.accept().await.expect("a connection comes");
            let _length = stream.read(&mut [0; 4096]).await.expect("a request comes");
            stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await.expect("written");
        };
        let (done, ()) = tokio::join!(request(&target), server);
        assert_eq!(done, Ok(()));
        drop(listener);
        request(&target).await.expect_err("nobody listens");
    }
}
