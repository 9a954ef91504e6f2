//! The description of a container, and mounts and last words on a real disk.

use super::*;
use crate::seams::{MountedVolume, MountedVolumes, ResolvedImage};
use crate::volumes::PodDirs;
use serde_json::json;

fn pod() -> Arc<Pod> {
    let pod = json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u-1"},
        "spec": {"terminationGracePeriodSeconds": 5, "containers": [{
            "name": "c", "image": "busybox", "command": ["sh", "-c", "echo $(A) $$(A) $(B)"], "tty": true,
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "FallbackToLogsOnError",
            "env": [{"name": "A", "value": "1"}],
            "volumeMounts": [{"name": "data", "mountPath": "data", "readOnly": true},
                {"name": "data", "mountPath": "/sub", "subPathExpr": "x/$(A)"}]}]},
    });
    Arc::new(serde_json::from_value(pod).expect("a pod"))
}

fn environment(pod: &Pod, container: &Container) -> Environment {
    environment::build(&Inputs {
        pod,
        container,
        fetched: &Fetched::default(),
        services: &[],
        addresses: &PodAddresses::default(),
        allocatable: &BTreeMap::new(),
    })
    .expect("an environment")
}

#[test]
fn a_container_is_described_with_its_labels_and_expanded_command() {
    let pod = pod();
    let container = &pod.spec.as_ref().expect("a spec").containers[0];
    let env = environment(&pod, container);
    let image = ResolvedImage { image_ref: "sha256:abc".into(), ..ResolvedImage::default() };
    let volumes = MountedVolumes::default();
    let request = ContainerRequest {
        pod: &pod,
        container,
        attempt: 2,
        pod_ips: &[],
        volumes: &volumes,
        image: &image,
        target: None,
    };
    let config = describe(&request, &env);
    assert_eq!(config.command, ["sh", "-c", "echo 1 $(A) $(B)"]);
    assert_eq!(config.log_path, "c/2.log");
    assert_eq!(config.labels[LABEL_POD_UID], "u-1");
    assert_eq!(config.annotations[ANNOTATION_RESTART_COUNT], "2");
    assert_eq!(config.image.expect("an image").user_specified_image, "busybox");
    assert!(config.tty && !config.stdin);
    let logs = log_directory(std::path::Path::new("/var/log/pods"), &pod);
    assert_eq!(logs.to_str(), Some("/var/log/pods/ns_p_u-1"));
}

mod privileged {
    use super::*;

    #[test]
    fn mounts_are_prepared_and_last_words_read_back() {
        let dir = tempfile::tempdir().expect("a folder");
        let dirs = PodDirs::new(dir.path().join("root"));
        let data = dir.path().join("data");
        std::fs::create_dir(&data).expect("made");
        let pod = pod();
        let container = pod.spec.as_ref().expect("a spec").containers[0].clone();
        let volume = MountedVolume { host_path: data.clone(), read_only: false };
        let request = mounts::Request {
            environment: environment(&pod, &container),
            host_name: hosts::host_name(&pod, "cluster.local"),
            container,
            attempt: 1,
            pod_ips: vec!["10.1.2.3".into()],
            images: BTreeMap::new(),
            volumes: MountedVolumes { volumes: [("data".to_owned(), volume)].into() },
            pod,
        };
        let mounts = mounts::prepare(&dirs, &request).expect("prepared");
        let at: Vec<&str> = mounts.iter().map(|m| m.container_path.as_str()).collect();
        assert_eq!(at, ["/data", "/sub", "/etc/hosts", "/dev/termination-log"]);
        assert!(mounts[0].readonly && !mounts[1].readonly);
        assert!(data.join("x/1").is_dir(), "the sub path was made");
        let hosts = std::fs::read_to_string(&mounts[2].host_path).expect("readable");
        assert!(hosts.ends_with("10.1.2.3\tp\n"));

        std::fs::create_dir_all(dir.path().join("logs")).expect("made");
        let log = dir.path().join("logs/1.log");
        std::fs::write(&log, "2026-11-21T10:00:00.000000000Z stderr F it broke\n").expect("written");
        let mut status = ContainerStatus {
            annotations: [
                (ANNOTATION_MESSAGE_PATH.to_owned(), "/dev/termination-log".to_owned()),
                (ANNOTATION_MESSAGE_POLICY.to_owned(), "FallbackToLogsOnError".to_owned()),
            ]
            .into(),
            mounts: mounts.clone(),
            log_path: log.to_string_lossy().into_owned(),
            exit_code: 1,
            ..ContainerStatus::default()
        };
        assert_eq!(termination::message(&status).as_deref(), Some("it broke\n"));
        status.exit_code = 0;
        assert_eq!(termination::message(&status), None);
        std::fs::write(&mounts[3].host_path, "bye").expect("written");
        assert_eq!(termination::message(&status).as_deref(), Some("bye"));
        crate::volumes::teardown::pod(&dirs, "u-1").expect("taken down");
        assert!(!dirs.pod("u-1").exists() && data.join("x/1").is_dir());
    }
}
