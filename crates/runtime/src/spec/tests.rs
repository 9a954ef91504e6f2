use std::collections::BTreeMap;

use cri::v1::{KeyValue, LinuxContainerConfig, Mount, MountPropagation};

use super::*;

fn spec_of(config: &ContainerConfig, image: &Image) -> Value {
    try_spec_of(config, image).expect("a valid configuration")
}

fn try_spec_of(config: &ContainerConfig, image: &Image) -> Result<Value, SpecError> {
    let hierarchy = CgroupMounts::V1 {
        controllers: BTreeMap::from([("memory".to_owned(), PathBuf::from("/cg/memory"))]),
        others: Vec::new(),
    };
    container(&Inputs {
        config,
        image,
        accounts: &user::AccountFiles::default(),
        hierarchy: &hierarchy,
        capabilities: &available_capabilities(),
        cgroup: "/pods/p/c",
        hostname: "pod-a",
        namespaces: Namespaces { net: Some("/ns/net".to_owned()), ..Namespaces::default() },
        pod_files: PodFiles { hosts: Some("/pod/hosts".into()), ..PodFiles::default() },
        mounted_images: &[],
        image_volumes: Vec::new(),
    })
}

fn image() -> Image {
    Image {
        entrypoint: vec!["/entry".to_owned()],
        cmd: vec!["image-arg".to_owned()],
        env: vec!["A=image".to_owned(), "B=image".to_owned()],
        working_dir: "/work".to_owned(),
        ..Image::default()
    }
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn it_is_a_valid_specification() {
    let spec = spec_of(&ContainerConfig::default(), &image());
    let read: libcontainer::oci_spec::runtime::Spec =
        serde_json::from_value(spec).expect("an OCI specification");
    assert!(read.process().as_ref().is_some_and(|p| p.no_new_privileges().is_none()));
}

#[test]
fn a_command_replaces_the_images_arguments_too() {
    let mut config = ContainerConfig::default();
    assert_eq!(strings(&spec_of(&config, &image())["process"]["args"]), ["/entry", "image-arg"]);
    config.args = vec!["own".to_owned()];
    assert_eq!(strings(&spec_of(&config, &image())["process"]["args"]), ["/entry", "own"]);
    config.command = vec!["/cmd".to_owned()];
    assert_eq!(strings(&spec_of(&config, &image())["process"]["args"]), ["/cmd", "own"]);
    config.args.clear();
    assert_eq!(strings(&spec_of(&config, &image())["process"]["args"]), ["/cmd"]);
}

#[test]
fn the_clients_environment_wins_over_the_images() {
    let config = ContainerConfig {
        envs: vec![KeyValue { key: "B".to_owned(), value: "own=x".to_owned() }],
        ..ContainerConfig::default()
    };
    let spec = spec_of(&config, &image());
    let env = strings(&spec["process"]["env"]);
    assert!(env.contains(&"A=image") && env.contains(&"B=own=x") && env.contains(&"HOSTNAME=pod-a"));
    assert_eq!(env.iter().filter(|e| e.starts_with("B=")).count(), 1);
}

#[test]
fn everybody_has_a_home() {
    let env = |config: &ContainerConfig| {
        let spec = spec_of(config, &image());
        let env = strings(&spec["process"]["env"]).into_iter().find(|e| e.starts_with("HOME="));
        env.map(str::to_owned)
    };
    assert_eq!(env(&ContainerConfig::default()).as_deref(), Some("HOME=/"));
    let home = |value: &str| ContainerConfig {
        envs: vec![KeyValue { key: "HOME".to_owned(), value: value.to_owned() }],
        ..ContainerConfig::default()
    };
    assert_eq!(env(&home("/own")).as_deref(), Some("HOME=/own"));
    assert_eq!(env(&home("")).as_deref(), Some("HOME=/"));
}

#[test]
fn a_group_needs_a_user() {
    let config = |user: Option<i64>, name: &str| {
        let number = |value| cri::v1::Int64Value { value };
        let context = LinuxContainerSecurityContext {
            run_as_user: user.map(number),
            run_as_username: name.to_owned(),
            run_as_group: Some(number(7)),
            ..LinuxContainerSecurityContext::default()
        };
        let linux = LinuxContainerConfig { security_context: Some(context), resources: None };
        ContainerConfig { linux: Some(linux), ..ContainerConfig::default() }
    };
    let error = try_spec_of(&config(None, ""), &image()).expect_err("refused");
    assert_eq!(error.to_string(), "user group is specified without user");
    let spec = spec_of(&config(Some(5), ""), &image());
    assert_eq!(
        (spec["process"]["user"]["uid"].as_u64(), spec["process"]["user"]["gid"].as_u64()),
        (Some(5), Some(7))
    );
}

#[test]
fn what_cannot_be_read_only_all_the_way_down_is_refused() {
    let mounted = |readonly: bool, propagation: MountPropagation| {
        let mount = Mount {
            container_path: "/v".to_owned(),
            host_path: "/proc/version".to_owned(),
            readonly,
            recursive_read_only: true,
            propagation: propagation.into(),
            ..Mount::default()
        };
        let spec =
            try_spec_of(&ContainerConfig { mounts: vec![mount], ..ContainerConfig::default() }, &image())?;
        let mounts = spec["mounts"].as_array().cloned().unwrap_or_default();
        let options = mounts.iter().find(|m| m["destination"] == "/v").map(|m| m["options"].to_string());
        Ok::<_, SpecError>(options.unwrap_or_default())
    };
    let options = mounted(true, MountPropagation::PropagationPrivate).expect("it can be");
    assert!(options.contains("\"rro\""), "{options}");
    for (readonly, propagation) in [
        (false, MountPropagation::PropagationPrivate),
        (true, MountPropagation::PropagationHostToContainer),
        (true, MountPropagation::PropagationBidirectional),
    ] {
        assert!(mounted(readonly, propagation).is_err(), "{readonly} {propagation:?}");
    }
}

#[test]
fn a_clients_mount_takes_the_place_of_the_pods_file() {
    let mount = |path: &str| Mount {
        container_path: path.to_owned(),
        host_path: "/proc/version".to_owned(),
        readonly: true,
        ..Mount::default()
    };
    let config =
        ContainerConfig { mounts: vec![mount("/etc/hosts"), mount("/v")], ..ContainerConfig::default() };
    let spec = spec_of(&config, &image());
    let mounts = spec["mounts"].as_array().expect("a list");
    let at: Vec<&Value> = mounts.iter().filter(|m| m["destination"] == "/etc/hosts").collect();
    assert_eq!(at.len(), 1);
    assert_eq!(at[0]["source"], "/proc/version");
    let depth = |m: &Value| m["destination"].as_str().unwrap_or_default().matches('/').count();
    assert!(mounts.is_sorted_by_key(depth), "parents come first");
}

#[test]
fn cgroups_of_version_1_are_mounted_read_only() {
    let spec = spec_of(&ContainerConfig::default(), &image());
    let mounts = spec["mounts"].as_array().expect("a list");
    let memory = mounts.iter().find(|m| m["destination"] == "/sys/fs/cgroup/memory").expect("it is mounted");
    assert_eq!(memory["source"], "/cg/memory/pods/p/c");
    assert!(strings(&memory["options"]).contains(&"ro"));
    assert!(!mounts.iter().any(|m| m["type"] == "cgroup"));
}

#[test]
fn privileged_has_nothing_masked_and_no_filter() {
    let context = LinuxContainerSecurityContext {
        privileged: true,
        seccomp: Some(SecurityProfile::default()),
        ..LinuxContainerSecurityContext::default()
    };
    let mut config = ContainerConfig {
        linux: Some(LinuxContainerConfig { security_context: Some(context.clone()), resources: None }),
        ..ContainerConfig::default()
    };
    let spec = spec_of(&config, &image());
    assert!(spec["linux"]["maskedPaths"].is_null() && spec["linux"]["seccomp"].is_null());
    config.linux = Some(LinuxContainerConfig {
        security_context: Some(LinuxContainerSecurityContext { privileged: false, ..context }),
        resources: None,
    });
    let spec = spec_of(&config, &image());
    assert!(!spec["linux"]["seccomp"].is_null() && !spec["linux"]["maskedPaths"].is_null());
}

#[test]
fn nothing_can_be_made_beside_the_controllers_of_v1() {
    let spec = spec_of(&ContainerConfig::default(), &image());
    let paths = strings(&spec["linux"]["readonlyPaths"]);
    assert!(paths.contains(&"/sys/fs/cgroup") && paths.contains(&"/proc/sys"), "{paths:?}");
}
