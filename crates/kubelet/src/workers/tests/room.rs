//! Who is taken on: critical pods have others give way, and labels are read anew before a pod is refused for them.

use super::*;

/// A node that keeps looking after those that wait.
fn attended() -> (Node, tokio::task::JoinSet<()>) {
    let node = node();
    node.cri.add_image("nginx:1");
    let mut tasks = tokio::task::JoinSet::new();
    let (filling, reading) = (node.workers.clone(), node.workers.clone());
    tasks.spawn(async move { filling.fill_freed_room().await });
    tasks.spawn(async move { reading.make_sure().await });
    (node, tasks)
}

fn critical(uid: &str, cpu: &str, priority: i32) -> Pod {
    let mut pod = asking(uid, cpu);
    pod.spec.as_mut().expect("a specification").priority = Some(priority);
    pod
}

impl Node {
    fn status_of(&self, uid: &str) -> k8s_openapi::api::core::v1::PodStatus {
        let pods = self.workers.pods();
        let pod = pods.iter().find(|pod| pod.metadata.uid.as_deref() == Some(uid));
        pod.and_then(|pod| pod.status.clone()).unwrap_or_default()
    }

    fn is_running(&self, uid: &str) -> bool {
        self.status_of(uid).phase.as_deref() == Some("Running")
    }
}

#[tokio::test(start_paused = true)]
async fn a_critical_pod_has_another_give_way() {
    let (node, _tasks) = attended();
    let shown = base::Metrics::default();
    node.workers.tools.metrics.register(&shown);
    node.deliver(&asking("a", "1"));
    node.deliver(&asking("b", "2"));
    sleep(Duration::from_secs(5)).await;
    node.events.take();
    node.deliver(&critical("c", "3", 2_000_000_000));
    assert!(!node.is_running("c"), "the other has not ended");
    // What comes later does not take the room that is made.
    node.deliver(&asking("d", "1"));
    sleep(Duration::from_secs(120)).await;
    assert!(node.is_running("c"), "{:#?}", node.status_of("c"));
    assert_eq!([node.is_running("a"), node.is_running("b")], [true, false]);
    assert_eq!(node.status_of("d").reason.as_deref(), Some("OutOfcpu"));
    let ended = node.status_of("b");
    assert_eq!((ended.phase.as_deref(), ended.reason.as_deref()), (Some("Failed"), Some("Preempting")));
    assert_eq!(ended.message.as_deref(), Some("Preempted in order to admit critical pod"));
    let condition = ended.conditions.iter().flatten().find(|c| c.type_ == "DisruptionTarget").expect("one");
    assert_eq!(condition.reason.as_deref(), Some("TerminationByKubelet"));
    assert_eq!(
        condition.message.as_deref(),
        Some("Pod was preempted by Kubelet to accommodate a critical pod.")
    );
    let told = "Warning Preempting Preempted in order to admit critical pod".to_owned();
    assert_eq!(node.events.take().iter().filter(|event| **event == told).count(), 1);
    let text = shown.render(base::metrics::Format::Prometheus).expect("text");
    assert!(text.contains("kubelet_preemptions{preemption_signal=\"cpu\"} 1"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_less_important_critical_pod_gives_way_too() {
    let (node, _tasks) = attended();
    node.deliver(&critical("a", "3", 2_000_000_000));
    sleep(Duration::from_secs(5)).await;
    node.deliver(&critical("b", "3", 2_000_001_000));
    sleep(Duration::from_secs(120)).await;
    assert!(node.is_running("b") && !node.is_running("a"));
    node.deliver(&critical("c", "3", 2_000_001_000));
    sleep(Duration::from_secs(120)).await;
    assert_eq!(node.status_of("c").reason.as_deref(), Some("UnexpectedAdmissionError"));
}

#[tokio::test(start_paused = true)]
async fn labels_are_read_anew_before_a_pod_is_refused_for_them() {
    for (labels, reason) in [(json!({"disk": "ssd"}), None), (json!({}), Some("NodeAffinity"))] {
        let (node, _tasks) = attended();
        let object = json!({"metadata": {"name": "n1", "labels": labels}});
        *node.api.node.lock().expect("no panic") = serde_json::from_value(object).expect("a node");
        let spec = json!({
            "nodeSelector": {"disk": "ssd"},
            "containers": [{"name": "web", "image": "nginx:1"}],
        });
        node.deliver(&pod(spec));
        sleep(Duration::from_secs(5)).await;
        assert_eq!(node.is_running("u1"), reason.is_none());
        assert_eq!(node.status_of("u1").reason.as_deref(), reason);
    }
}

#[tokio::test(start_paused = true)]
async fn while_nobody_knows_better_the_known_labels_count() {
    let (node, _tasks) = attended();
    let containers = json!([{"name": "web", "image": "nginx:1"}]);
    node.deliver(&pod(json!({"nodeSelector": {"disk": "ssd"}, "containers": containers})));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(
        node.status_of("u1").message.as_deref(),
        Some(
            "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_grows_does_not_take_the_room_that_is_made() {
    let (node, _tasks) = attended();
    node.deliver(&asking("a", "1"));
    node.deliver(&asking("b", "2"));
    sleep(Duration::from_secs(5)).await;
    node.deliver(&critical("c", "3", 2_000_000_000));
    node.deliver(&asking("a", "2"));
    sleep(Duration::from_secs(120)).await;
    assert_eq!([node.is_running("a"), node.is_running("c")], [true, true], "{:#?}", node.status_of("a"));
    assert_eq!(node.resizes("a"), [("PodResizePending".to_owned(), "Deferred".to_owned())]);
}
