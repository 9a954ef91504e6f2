//! `knarr crictl`: lists what the container runtime of the node runs.

use anyhow::Result;
use base::Clock;
use cri::v1::{ContainerState, ListContainersRequest, ListPodSandboxRequest, PodSandboxState};

use super::image::{list, short};
use super::{nodes_of, runtime_of, say, table, told};
use crate::arguments::Crictl;
use crate::layout::Layout;
use crate::which::layout_of;

/// Runs one of the views.
///
/// # Errors
/// When the runtime does not answer.
pub async fn run(command: &Crictl) -> Result<()> {
    let text = match command {
        Crictl::Ps { which, all } => containers(&layout_of(which)?, *all).await?,
        Crictl::Pods(which) => pods(&layout_of(which)?).await?,
        Crictl::Images(which) => list(&layout_of(which)?).await?,
    };
    say(&text)?;
    Ok(())
}

async fn containers(layout: &Layout, all: bool) -> Result<String> {
    let (mut pods, mut containers) = (Vec::new(), Vec::new());
    for node in nodes_of(layout)? {
        let (mut client, _) = runtime_of(layout, node).await?;
        let answer = client.list_pod_sandbox(ListPodSandboxRequest::default()).await.map_err(told)?;
        pods.extend(answer.into_inner().items);
        let answer = client.list_containers(ListContainersRequest::default()).await.map_err(told)?;
        containers.extend(answer.into_inner().containers);
    }
    let now = base::SystemClock.now();
    let mut rows = Vec::new();
    for c in containers {
        let running = c.state() == ContainerState::ContainerRunning;
        if !running && !all {
            continue;
        }
        let metadata = c.metadata.clone().unwrap_or_default();
        let pod = pods
            .iter()
            .find(|p| p.id == c.pod_sandbox_id)
            .and_then(|p| p.metadata.clone())
            .unwrap_or_default();
        let state = match c.state() {
            ContainerState::ContainerRunning => "Running",
            ContainerState::ContainerCreated => "Created",
            ContainerState::ContainerExited => "Exited",
            ContainerState::ContainerUnknown => "Unknown",
        };
        rows.push((
            std::cmp::Reverse(c.created_at),
            vec![
                short(&c.id).to_owned(),
                c.image
                    .map(|i| {
                        if i.user_specified_image.is_empty() {
                            short(&i.image).to_owned()
                        } else {
                            i.user_specified_image
                        }
                    })
                    .unwrap_or_default(),
                age(c.created_at, now),
                state.to_owned(),
                metadata.name,
                metadata.attempt.to_string(),
                short(&c.pod_sandbox_id).to_owned(),
                pod.name,
                pod.namespace,
            ],
        ));
    }
    rows.sort();
    let rows: Vec<_> = rows.into_iter().map(|(_, row)| row).collect();
    table(&["CONTAINER", "IMAGE", "CREATED", "STATE", "NAME", "ATTEMPT", "POD ID", "POD", "NAMESPACE"], &rows)
}

async fn pods(layout: &Layout) -> Result<String> {
    let mut pods = Vec::new();
    for node in nodes_of(layout)? {
        let (mut client, _) = runtime_of(layout, node).await?;
        let answer = client.list_pod_sandbox(ListPodSandboxRequest::default()).await.map_err(told)?;
        pods.extend(answer.into_inner().items);
    }
    pods.sort_by_key(|p| std::cmp::Reverse(p.created_at));
    let now = base::SystemClock.now();
    let rows: Vec<Vec<String>> = pods
        .into_iter()
        .map(|p| {
            let state = if p.state() == PodSandboxState::SandboxReady { "Ready" } else { "NotReady" };
            let metadata = p.metadata.unwrap_or_default();
            let handler =
                if p.runtime_handler.is_empty() { "(default)".to_owned() } else { p.runtime_handler };
            vec![
                short(&p.id).to_owned(),
                age(p.created_at, now),
                state.to_owned(),
                metadata.name,
                metadata.namespace,
                metadata.attempt.to_string(),
                handler,
            ]
        })
        .collect();
    table(&["POD ID", "CREATED", "STATE", "NAME", "NAMESPACE", "ATTEMPT", "RUNTIME"], &rows)
}

/// How long ago, in the words of `crictl`.
fn age(created_at_ns: i64, now: jiff::Timestamp) -> String {
    let seconds = now.as_second() - created_at_ns / 1_000_000_000;
    let (count, unit) = match seconds {
        ..1 => return "Less than a second ago".to_owned(),
        1..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}
