//! `/runningpods/`: what the runtime runs now, as pods that have nothing but names and images.

use std::collections::BTreeMap;

use cri::v1;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::ServerDeps;
use super::answer::{self, Body};
use crate::cri_view::{LABEL_CONTAINER_NAME, LABEL_POD_UID};

pub async fn answer(deps: &ServerDeps) -> Response<Body> {
    let ready = v1::PodSandboxStateValue { state: v1::PodSandboxState::SandboxReady.into() };
    let sandboxes = v1::ListPodSandboxRequest {
        filter: Some(v1::PodSandboxFilter { state: Some(ready), ..v1::PodSandboxFilter::default() }),
    };
    let running = v1::ContainerStateValue { state: v1::ContainerState::ContainerRunning.into() };
    let containers = v1::ListContainersRequest {
        filter: Some(v1::ContainerFilter { state: Some(running), ..v1::ContainerFilter::default() }),
    };
    let (mut for_sandboxes, mut for_containers) = (deps.runtime.clone(), deps.runtime.clone());
    let listed = tokio::try_join!(
        deps.operations.counted("list_podsandbox", for_sandboxes.list_pod_sandbox(sandboxes)),
        deps.operations.counted("list_containers", for_containers.list_containers(containers)),
    );
    match listed {
        Ok((sandboxes, containers)) => {
            let list = list(&sandboxes.into_inner().items, &containers.into_inner().containers);
            answer::with_type(StatusCode::OK, "application/json", list.to_string())
        }
        Err(error) => answer::text(StatusCode::INTERNAL_SERVER_ERROR, error.message()),
    }
}

fn list(sandboxes: &[v1::PodSandbox], containers: &[v1::Container]) -> Value {
    // A pod whose sandbox is made anew may have two for a moment.
    let mut pods: BTreeMap<&str, &v1::PodSandboxMetadata> = BTreeMap::new();
    pods.extend(sandboxes.iter().filter_map(|s| s.metadata.as_ref()).map(|m| (m.uid.as_str(), m)));
    let of_pod = |uid: &str| -> Vec<Value> {
        let own = containers.iter().filter(|c| c.labels.get(LABEL_POD_UID).is_some_and(|own| own == uid));
        let one = |container: &v1::Container| {
            let image = container.image.as_ref().map_or("", |image| image.image.as_str());
            json!({"name": container.labels.get(LABEL_CONTAINER_NAME), "image": image, "resources": {}})
        };
        own.map(one).collect()
    };
    let items = pods.into_iter().map(|(uid, pod)| {
        json!({
            "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": uid},
            "spec": {"containers": of_pod(uid)},
            "status": {},
        })
    });
    json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pod_has_the_containers_that_run() {
        let sandbox = |uid: &str| v1::PodSandbox {
            metadata: Some(v1::PodSandboxMetadata {
                name: format!("p-{uid}"),
                namespace: "n".into(),
                uid: uid.into(),
                attempt: 0,
            }),
            ..v1::PodSandbox::default()
        };
        let container = |uid: &str, name: &str| v1::Container {
            labels: [(LABEL_POD_UID, uid), (LABEL_CONTAINER_NAME, name)]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            image: Some(v1::ImageSpec { image: "nginx:1".into(), ..v1::ImageSpec::default() }),
            ..v1::Container::default()
        };
        let shown =
            list(&[sandbox("b"), sandbox("a"), sandbox("a")], &[container("a", "web"), container("x", "y")]);
        let pod = |uid: &str, containers: Value| {
            json!({"metadata": {"name": format!("p-{uid}"), "namespace": "n", "uid": uid},
                "spec": {"containers": containers}, "status": {}})
        };
        let web = json!([{"name": "web", "image": "nginx:1", "resources": {}}]);
        assert_eq!(shown["items"], json!([pod("a", web), pod("b", json!([]))]));
    }
}
