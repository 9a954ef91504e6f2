//! What runs of earlier static pods, against fakes and with paused time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use base::Shutdown;
use informer::Cache;
use k8s_openapi::api::core::v1::Pod;
use kube::client::Body;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::sleep;

use super::register::Running;
use super::{Offer, StaticPods, StaticPodsConfig, StaticPodsDeps};
use crate::cri_view::{LABEL_POD_NAME, LABEL_POD_NAMESPACE, LABEL_POD_UID};
use crate::events::TraceEvents;
use crate::executor::Executor;
use crate::fakes::{FakeApi, FakeConfigs, FakeCri, FakeDevices, FakeEvents, FakeVolumes, TestClock};
use crate::images::Images;
use crate::metrics::Metrics;
use crate::node_facts::NodeFacts;
use crate::origin::{SEEN_ANNOTATION, SOURCE_ANNOTATION};
use crate::worker::Tools;
use crate::workers::Workers;

fn workers(cri: &Arc<FakeCri>, clock: TestClock) -> Workers {
    let (api, configs, events) =
        (Arc::<FakeApi>::default(), Arc::<FakeConfigs>::default(), Arc::<FakeEvents>::default());
    let executor = Executor {
        cri: cri.clone(),
        api: api.clone(),
        volumes: Arc::<FakeVolumes>::default(),
        devices: Arc::<FakeDevices>::default(),
        containers: configs.clone(),
        sandboxes: configs,
        images: Images::new(cri.clone(), api, events.clone(), Arc::new(clock)),
        events,
        clock: Arc::new(clock),
    };
    Workers::new(Tools {
        executor: Arc::new(executor),
        facts: Arc::new(NodeFacts::new(Default::default(), 1 << 30, Vec::new(), Default::default())),
        runtime_name: "knarr".to_owned(),
        metrics: Metrics::default(),
        freed: Arc::default(),
        shutdown: Shutdown::new(),
    })
}

fn statics(clock: TestClock) -> StaticPods {
    let client = client::in_process(tower::service_fn(|_: http::Request<Body>| async {
        Ok::<_, Infallible>(http::Response::builder().status(503).body(Body::empty()).expect("a response"))
    }));
    let deps = StaticPodsDeps {
        pods: Cache::new(),
        node: Cache::new(),
        client,
        events: Arc::new(TraceEvents),
        clock: Arc::new(clock),
    };
    StaticPods::new("n", StaticPodsConfig::default(), deps)
}

fn pod(name: &str, uid: &str) -> Arc<Pod> {
    let annotations = json!({SOURCE_ANNOTATION: "file"});
    let spec = json!({"hostNetwork": true, "containers": [{"name": "c", "image": "i"}]});
    let metadata = json!({"name": name, "namespace": "ns", "uid": uid, "annotations": annotations});
    Arc::new(serde_json::from_value(json!({"metadata": metadata, "spec": spec})).expect("a pod"))
}

fn earlier(cri: &FakeCri, name: &str, uid: &str, annotations: &[(&str, &str)]) {
    let labels = [(LABEL_POD_NAMESPACE, "ns"), (LABEL_POD_NAME, name), (LABEL_POD_UID, uid)];
    cri.add_sandbox(&labels, annotations);
}

/// Each as its uid, with a mark where it is ending.
fn running(statics: &StaticPods) -> Vec<String> {
    let word = |Running { pod, ending }: Running| {
        format!("{}{}", pod.metadata.uid.as_deref().unwrap_or_default(), if ending { " ends" } else { "" })
    };
    statics.lock().running().into_iter().map(word).collect()
}

/// Runs `steps` beside what keeps the pods that a source tells of.
async fn beside<F: Future<Output = ()>>(
    statics: &StaticPods,
    workers: &Workers,
    cri: &FakeCri,
    steps: impl FnOnce(watch::Sender<Offer>, watch::Receiver<bool>) -> F,
) {
    let (files, complete) = (watch::Sender::new(None), watch::Sender::new(false));
    let url: watch::Sender<Offer> = watch::Sender::new(Some(Vec::new()));
    let sources = [files.subscribe(), url.subscribe()];
    tokio::select! {
        () = statics.keep_pods(workers, cri, sources, &complete) => {}
        () = steps(files, complete.subscribe()) => {}
    }
}

#[tokio::test(start_paused = true)]
async fn only_static_pods_of_an_earlier_agent_make_room() {
    let clock = TestClock::new();
    let cri = Arc::new(FakeCri::new(clock));
    let (workers, statics) = (workers(&cri, clock), statics(clock));
    earlier(&cri, "web", "of-the-api", &[(SOURCE_ANNOTATION, "api")]);
    earlier(&cri, "web", "of-nobody", &[]);
    earlier(&cri, "web", "earlier", &[(SOURCE_ANNOTATION, "file")]);
    beside(&statics, &workers, &cri, |files, _| async move {
        files.send_replace(Some(vec![pod("web", "new")]));
        sleep(Duration::from_secs(60)).await;
    })
    .await;
    let calls = cri.take_calls();
    assert_eq!(calls.iter().filter(|call| call.starts_with("remove_sandbox")).count(), 1, "{calls:?}");
    assert!(calls.contains(&"remove_sandbox s3".to_owned()), "{calls:?}");
    assert_eq!(running(&statics), ["new"]);
    let seen = statics.lock().running()[0].pod.metadata.annotations.clone().expect("annotations");
    assert!(seen.contains_key(SEEN_ANNOTATION), "its mirror tells since when the node knows it");
}

#[tokio::test(start_paused = true)]
async fn each_name_is_looked_for_until_the_runtime_answers() {
    let clock = TestClock::new();
    let cri = Arc::new(FakeCri::new(clock));
    let (workers, statics) = (workers(&cri, clock), statics(clock));
    earlier(&cri, "web", "earlier-web", &[(SOURCE_ANNOTATION, "file")]);
    earlier(&cri, "db", "earlier-db", &[(SOURCE_ANNOTATION, "http")]);
    cri.fail("sandboxes", "Unavailable", "not there");
    let (statics, cri) = (&statics, &cri);
    beside(statics, &workers, cri, |files, complete| async move {
        files.send_replace(Some(vec![pod("web", "web")]));
        sleep(Duration::from_millis(10)).await;
        assert!(running(statics).is_empty() && !*complete.borrow(), "who was there is not known");
        sleep(Duration::from_secs(60)).await;
        assert_eq!(running(statics), ["web"]);
        assert!(*complete.borrow());
        assert!(cri.take_calls().contains(&"remove_sandbox s1".to_owned()));
        files.send_replace(Some(vec![pod("web", "web"), pod("db", "db")]));
        sleep(Duration::from_secs(60)).await;
        assert_eq!(running(statics), ["db", "web"]);
        assert!(cri.take_calls().contains(&"remove_sandbox s2".to_owned()), "another source's pod");
    })
    .await;
}
