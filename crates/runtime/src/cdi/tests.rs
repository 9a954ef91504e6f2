use std::fs;

use serde_json::json;

use super::*;

const GPUS: &str = r#"
cdiVersion: "0.6.0"
kind: vendor.com/gpu
containerEdits:
  env: [COMMON=1, VISIBLE=none]
  additionalGids: [0, 44]
devices:
  - name: gpu0
    containerEdits:
      env: [VISIBLE=gpu0]
      deviceNodes: [{path: /dev/gpu0, hostPath: /dev/null, permissions: rw}]
      mounts: [{hostPath: /usr/lib, containerPath: /a/b/lib, options: [ro, bind]}, {hostPath: /usr, containerPath: /a}]
      hooks: [{hookName: createContainer, path: /usr/bin/hook, args: [hook, x], timeout: 5}]
  - name: gpu1
    containerEdits:
      env: [VISIBLE=gpu1]
  - name: moved
    containerEdits: {netDevices: [{hostInterfaceName: a, name: b}]}
  - name: outside
    containerEdits: {deviceNodes: [{path: /etc/null, hostPath: /dev/null}]}
"#;

fn spec() -> Value {
    json!({
        "process": {"user": {"uid": 7, "gid": 0, "additionalGids": [1]}, "env": ["PATH=/bin", "VISIBLE=own"]},
        "mounts": [{"destination": "/proc", "type": "proc"}, {"destination": "/a", "type": "bind", "source": "/x"}],
        "linux": {"devices": [{"path": "/dev/gpu0"}], "resources": {"devices": [{"allow": false}]}},
    })
}

fn folders(files: &[(&str, &str)]) -> (tempfile::TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().expect("a folder");
    let both = ["low", "high"].map(|name| dir.path().join(name));
    both.iter().for_each(|folder| fs::create_dir(folder).expect("made"));
    for (name, text) in files {
        fs::write(dir.path().join(name), text).expect("written");
    }
    (dir, both.to_vec())
}

fn injected(files: &[(&str, &str)], names: &[&str]) -> Result<Value, String> {
    let (_dir, folders) = folders(files);
    let mut spec = spec();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    inject(&mut spec, &names, &folders).map(|()| spec).map_err(|error| error.to_string())
}

#[test]
fn devices_bring_nodes_variables_mounts_groups_and_hooks() {
    let spec = injected(&[("low/gpu.yaml", GPUS)], &["vendor.com/gpu=gpu0"]).expect("injected");
    assert_eq!(spec["process"]["env"], json!(["PATH=/bin", "VISIBLE=gpu0", "COMMON=1"]));
    assert_eq!(spec["process"]["user"]["additionalGids"], json!([1, 44]));
    assert_eq!(
        spec["linux"]["devices"],
        json!([{"path": "/dev/gpu0", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 7}])
    );
    assert_eq!(
        spec["linux"]["resources"]["devices"][1],
        json!({"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rw"})
    );
    let mounts: Vec<_> = spec["mounts"].as_array().expect("mounts").iter().map(|m| &m["source"]).collect();
    assert_eq!(mounts, [&Value::Null, &json!("/usr"), &json!("/usr/lib")]);
    assert_eq!(spec["mounts"][1]["options"], json!(["rbind"]));
    assert_eq!(
        spec["hooks"],
        json!({"createContainer": [{"path": "/usr/bin/hook", "args": ["hook", "x"], "env": [], "timeout": 5}]})
    );
    serde_json::from_value::<libcontainer::oci_spec::runtime::Hooks>(spec["hooks"].clone()).expect("hooks");
}

#[test]
fn what_devices_share_is_done_once_and_before() {
    let names = ["vendor.com/gpu=gpu0", "vendor.com/gpu=gpu1"];
    let spec = injected(&[("low/gpu.yaml", GPUS)], &names).expect("injected");
    assert_eq!(spec["process"]["env"], json!(["PATH=/bin", "VISIBLE=gpu1", "COMMON=1"]));
}

#[test]
fn the_later_folder_wins_and_a_name_that_two_files_claim_is_nobodys() {
    let one = |value: &str| {
        json!({"cdiVersion": "1.0.0", "kind": "v.com/c", "devices": [{"name": "d", "containerEdits": {"env": [value]}}]})
            .to_string()
    };
    let (low, high) = (one("FROM=low"), one("FROM=high"));
    let both = [("low/a.json", low.as_str()), ("low/b.json", &low), ("high/a.json", &high)];
    let spec = injected(&both, &["v.com/c=d"]).expect("injected");
    assert_eq!(spec["process"]["env"][2], "FROM=high");
    let refused = injected(&both[..2], &["v.com/c=d"]).expect_err("two claim it");
    assert_eq!(refused, "CDI device injection failed: unresolvable CDI devices v.com/c=d");
}

#[test]
fn what_cannot_be_done_is_refused() {
    let files = [("low/gpu.yaml", GPUS), ("low/bad.yaml", "cdiVersion: [")];
    for (name, why) in [
        ("vendor.com/gpu=moved", "network devices are not moved into containers by this runtime"),
        ("vendor.com/gpu=outside", "device node \"/etc/null\" is not in /dev"),
        ("vendor.com/gpu=gpu9", "unresolvable CDI devices vendor.com/gpu=gpu9"),
        ("nonsense", "unresolvable CDI devices nonsense"),
    ] {
        let refused = injected(&files, &[name]).expect_err(name);
        assert!(refused.ends_with(why), "{refused}");
    }
}

#[test]
fn files_with_faults_are_left_out_and_told_of() {
    let faulty = [
        (
            "low/version.yaml",
            "{cdiVersion: 9.0.0, kind: a/b, devices: [{name: x}]}",
            "invalid version \"9.0.0\"",
        ),
        ("low/kind.yaml", "{cdiVersion: 1.0.0, kind: ab, devices: [{name: x}]}", "invalid kind \"ab\""),
        ("low/none.yaml", "{cdiVersion: 1.0.0, kind: a/b}", "invalid spec, no devices"),
        ("low/field.json", "{\"cdiVersion\": \"1.0.0\", \"kind\": \"a/b\", \"x\": 1}", "unknown field"),
        (
            "low/twice.yaml",
            "{cdiVersion: 1.0.0, kind: a/b, devices: [{name: x}, {name: x}]}",
            "invalid spec, multiple device \"x\"",
        ),
    ];
    let (_dir, folders) = folders(&faulty.map(|(name, text, _)| (name, text)));
    let registry = Registry::read(&folders);
    for (name, _, why) in faulty {
        let found = registry.faults().iter().find(|(path, _)| path.ends_with(name)).expect(name);
        assert!(found.1.contains(why), "{}", found.1);
    }
}
