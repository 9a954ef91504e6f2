//! When devices are prepared, and when they are given back.

use super::*;

#[tokio::test(start_paused = true)]
async fn devices_are_prepared_before_the_sandbox_and_given_back_before_the_pod_has_ended() {
    let node = node();
    node.cri.add_image("nginx:1");
    node.devices.refuse(Some("no driver"));
    let made = pod(json!({"restartPolicy": "Never", "containers": [{"name": "web", "image": "nginx:1"}]}));
    node.deliver(&made);
    sleep(Duration::from_millis(10)).await;
    assert!(node.cri.take_calls().is_empty(), "no sandbox without devices");
    let events = node.events.take();
    let told = "Warning FailedPrepareDynamicResources Failed to prepare dynamic resources: no driver";
    assert!(events.iter().any(|event| event == told), "{events:?}");
    node.devices.refuse(None);
    sleep(Duration::from_secs(120)).await;
    assert_eq!(node.phase(), "Running");
    assert_eq!(node.cri.take_calls(), ["run_sandbox s1", "create web c2 in s1", "start c2"]);
    assert!(node.devices.take_calls().iter().all(|call| call == "prepare"));

    node.devices.refuse(Some("busy"));
    node.cri.exit("web", 0);
    node.workers.runtime_changed("u1");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(node.phase(), "Running", "others would get the devices");
    assert!(node.cri.take_calls().is_empty());
    node.devices.refuse(None);
    sleep(Duration::from_secs(300)).await;
    assert_eq!(node.phase(), "Succeeded");
    assert_eq!(node.cri.take_calls(), ["stop_sandbox s1"]);
    assert!(node.devices.take_calls().iter().all(|call| call == "unprepare"));
}
