//! Persistent volumes: W079.

use serde_json::{Value, json};
use testing::Shell;

use crate::manifests::{STAY, pod};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w079_claims_get_directories_of_the_node_of_their_first_consumer", claims),
    ("w079b_reclaim_policies_keep_or_free_the_data", reclaim),
    ("w079c_volumes_of_the_administrator_are_bound_by_what_claims_ask_for", static_volumes),
    ("w079d_ephemeral_volumes_go_with_their_pod", ephemeral),
    ("w079e_a_volume_and_a_claim_live_through_all_their_verbs", lifecycle),
    ("w079f_data_outlive_killed_servers_and_restarts", killed),
    ("w079g_an_image_is_a_volume", image),
];

/// A claim of one gibibyte, with the parts of the specification that differ.
fn claim(name: &str, spec: &Value) -> Value {
    let mut whole = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    for (key, value) in spec.as_object().expect("an object") {
        whole["spec"][key] = value.clone();
    }
    whole
}

/// A pod that has the claim at `/data`.
fn user(name: &str, claim: &str, script: &str) -> Value {
    let mut pod = pod(name, script);
    pod["spec"]["volumes"] = json!([{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    pod
}

fn ready(sh: &Shell, pods: &str) {
    sh.ok(&format!("kubectl wait --for=condition=Ready {pods} --timeout=60s"));
}

/// Lines of a table with one space between columns, however wide the table is.
fn narrow(table: &str) -> String {
    table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
}

fn volume_of(sh: &Shell, claim: &str) -> String {
    sh.ok(&format!("kubectl get pvc {claim} -o jsonpath={{.spec.volumeName}}"))
}

fn told(sh: &Shell, about: &str, reason: &str, words: &str) {
    let line = format!(
        "timeout 30 sh -c \"until kubectl get events -o custom-columns=N:.involvedObject.name,R:.reason,M:.message | \
         grep '^{about} .*{reason} .*{words}'; do sleep 0.2; done\""
    );
    sh.ok(&line);
}

fn claims(scene: &Scene) {
    let sh = &scene.shell;
    let class = narrow(&sh.ok("kubectl get storageclass --no-headers"));
    assert!(
        class.contains("standard (default) knarr.dev/directory Delete WaitForFirstConsumer true "),
        "{class}"
    );
    sh.apply(&claim("c", &json!({})).to_string());
    told(sh, "c", "WaitForFirstConsumer", "waiting for first consumer to be created before binding");
    assert_eq!(
        sh.ok("kubectl get pvc c -o jsonpath='{.status.phase} {.spec.storageClassName}'"),
        "Pending standard"
    );
    let mut writer = user("writer", "c", &format!("echo kept > /data/file; {STAY}"));
    writer["spec"]["securityContext"] = json!({"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 2000});
    sh.apply(&writer.to_string());
    ready(sh, "pod/writer");
    let shown = narrow(&sh.ok("kubectl get pvc c --no-headers"));
    let volume = volume_of(sh, "c");
    let uid = sh.ok("kubectl get pvc c -o jsonpath={.metadata.uid}");
    assert_eq!(volume, format!("pvc-{uid}"));
    assert!(shown.starts_with(&format!("c Bound {volume} 1Gi RWO standard ")), "{shown}");
    let node = sh.ok("kubectl get pod writer -o jsonpath={.spec.nodeName}");
    let affinity = "{.spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].values[0]}";
    let of_volume = |path: &str| sh.ok(&format!("kubectl get pv {volume} -o jsonpath='{path}'"));
    assert_eq!(of_volume(affinity), node);
    assert_eq!(
        of_volume("{.status.phase} {.spec.capacity.storage} {.spec.persistentVolumeReclaimPolicy}"),
        "Bound 1Gi Delete"
    );
    assert_eq!(
        of_volume("{.spec.claimRef.namespace}/{.spec.claimRef.name}"),
        format!("{}/c", scene.namespace)
    );
    for reason in ["ExternalProvisioning", "Provisioning", "ProvisioningSucceeded"] {
        told(sh, "c", reason, "");
    }
    assert_eq!(
        sh.ok("kubectl exec writer -- stat -c %g /data/file"),
        "2000\n",
        "the volume is the pod's group's"
    );
    // The data are there for the next pod, and it reads only where it says so.
    sh.ok("kubectl delete pod writer");
    let mut reader = user("reader", "c", STAY);
    reader["spec"]["volumes"][0]["persistentVolumeClaim"]["readOnly"] = true.into();
    reader["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"},
        {"name": "data", "mountPath": "/one", "subPath": "file"}]);
    sh.apply(&reader.to_string());
    ready(sh, "pod/reader");
    assert_eq!(sh.ok("kubectl exec reader -- cat /data/file /one"), "kept\nkept\n");
    sh.fails("kubectl exec reader -- touch /data/other");
    // A claim that asks for more has more.
    sh.ok(r#"kubectl patch pvc c -p '{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}'"#);
    sh.ok("kubectl wait pvc/c --for=jsonpath={.status.capacity.storage}=2Gi --timeout=30s");
    assert_eq!(of_volume("{.spec.capacity.storage}"), "2Gi");
    // A claim in use is kept until nobody uses it.
    sh.ok("kubectl delete pvc c --wait=false");
    assert!(narrow(&sh.ok("kubectl get pvc c --no-headers")).starts_with("c Terminating "));
    sh.apply(&user("late", "c", STAY).to_string());
    told(sh, "late", "FailedScheduling", r#"persistentvolumeclaim ."c." is being deleted"#);
    sh.ok("kubectl delete pod reader late");
    sh.ok(&format!("kubectl wait --for=delete pvc/c pv/{volume} --timeout=60s"));
    let folder =
        format!("find {} -ignore_readdir_race -path '*{uid}*'", scene.cluster().data_dir().display());
    assert_eq!(sh.ok(&folder), "", "the space is free");
}

fn reclaim(scene: &Scene) {
    let sh = &scene.shell;
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "keeping"},
        "provisioner": "knarr.dev/directory", "reclaimPolicy": "Retain", "volumeBindingMode": "WaitForFirstConsumer"});
    let immediate = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "hasty"},
        "provisioner": "knarr.dev/directory"});
    sh.apply(&format!("{class}\n{immediate}"));
    sh.apply(&format!(
        "{}\n{}\n{}",
        claim("kept", &json!({"storageClassName": "keeping"})),
        claim("now", &json!({"storageClassName": "hasty"})),
        user("p", "kept", &format!("echo kept > /data/file; {STAY}"))
    ));
    ready(sh, "pod/p");
    told(sh, "now", "ProvisioningFailed", "no node was specified");
    let volume = volume_of(sh, "kept");
    sh.fails(r#"kubectl patch pvc kept -p '{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}'"#);
    sh.ok("kubectl delete pod/p pvc/kept pvc/now storageclass/keeping storageclass/hasty");
    sh.ok(&format!("kubectl wait pv/{volume} --for=jsonpath={{.status.phase}}=Released --timeout=30s"));
    let file =
        format!("find {} -ignore_readdir_race -path '*{volume}/file'", scene.cluster().data_dir().display());
    assert_eq!(sh.ok(&file).lines().count(), 1, "Retain keeps the data");
    // The administrator gives it to another claim.
    sh.ok(&format!(
        r#"kubectl patch pv {volume} --type=json -p '[{{"op":"remove","path":"/spec/claimRef"}}]'"#
    ));
    sh.apply(&format!(
        "{}\n{}",
        claim("again", &json!({"storageClassName": "keeping", "volumeName": volume})),
        user("q", "again", STAY)
    ));
    ready(sh, "pod/q");
    assert_eq!(sh.ok("kubectl exec q -- cat /data/file"), "kept\n");
    // What is deleted with its claim is freed; what is deleted by hand under Retain is kept.
    sh.ok("kubectl delete pod/q pvc/again");
    sh.ok(&format!("kubectl wait pv/{volume} --for=jsonpath={{.status.phase}}=Released --timeout=30s"));
    sh.ok(&format!(
        r#"kubectl patch pv {volume} -p '{{"spec":{{"persistentVolumeReclaimPolicy":"Delete"}}}}'"#
    ));
    sh.ok(&format!("kubectl wait --for=delete pv/{volume} --timeout=60s"));
    assert_eq!(sh.ok(&file), "");
}

fn static_volume(name: &str, size: &str, path: &str, more: &Value) -> Value {
    let mut whole = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name,
        "labels": {"of": name}}, "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": size},
        "storageClassName": "w079c", "hostPath": {"path": path, "type": "DirectoryOrCreate"}}});
    for (key, value) in more.as_object().expect("an object") {
        whole["spec"][key] = value.clone();
    }
    whole
}

fn static_volumes(scene: &Scene) {
    let sh = &scene.shell;
    let root = sh.dir().join("static").display().to_string();
    let of_class = |name: &str, more: Value| {
        let mut spec = json!({"storageClassName": "w079c"});
        for (key, value) in more.as_object().expect("an object") {
            spec[key] = value.clone();
        }
        claim(name, &spec)
    };
    let volumes = [
        static_volume("w079c-small", "512Mi", &format!("{root}/small"), &json!({})),
        static_volume("w079c-fits", "2Gi", &format!("{root}/fits"), &json!({})),
        static_volume("w079c-large", "5Gi", &format!("{root}/large"), &json!({})),
        static_volume(
            "w079c-nfs",
            "9Gi",
            "",
            &json!({"hostPath": null, "nfs": {"server": "x", "path": "/"}}),
        ),
    ];
    sh.apply(&volumes.map(|volume| volume.to_string()).join("\n"));
    sh.ok("kubectl wait pv/w079c-small pv/w079c-fits pv/w079c-large --for=jsonpath={.status.phase}=Available --timeout=30s");
    let selecting = json!({"selector": {"matchLabels": {"of": "w079c-large"}}});
    sh.apply(&of_class("fitting", json!({})).to_string());
    sh.ok("kubectl wait pvc/fitting --for=jsonpath={.status.phase}=Bound --timeout=30s");
    sh.apply(&format!(
        "{}\n{}",
        of_class("selecting", selecting),
        of_class("network", json!({"volumeName": "w079c-nfs"}))
    ));
    sh.ok("kubectl wait pvc/selecting pvc/network --for=jsonpath={.status.phase}=Bound --timeout=30s");
    assert_eq!(volume_of(sh, "fitting"), "w079c-fits", "the smallest that is large enough");
    assert_eq!(volume_of(sh, "selecting"), "w079c-large");
    sh.apply(&of_class("none", json!({})).to_string());
    told(sh, "none", "ProvisioningFailed", "storageclass.storage.k8s.io .*w079c.* not found");
    sh.apply(&format!(
        "{}\n{}\n{}\n{}",
        user("p", "fitting", STAY),
        user("unbound", "none", STAY),
        user("lacking", "absent", STAY),
        user("remote", "network", STAY)
    ));
    ready(sh, "pod/p");
    sh.ok(&format!("kubectl exec p -- touch /data/here && test -e {root}/fits/here"));
    told(sh, "unbound", "FailedScheduling", "pod has unbound immediate PersistentVolumeClaims");
    told(sh, "lacking", "FailedScheduling", "persistentvolumeclaim .*absent.* not found");
    told(sh, "remote", "FailedMount", "persistentVolume of nfs.* is not implemented on this node");
    sh.ok("kubectl delete pod --all");
    sh.ok("kubectl delete pvc --all && kubectl delete pv w079c-small w079c-fits w079c-large w079c-nfs");
}

fn ephemeral(scene: &Scene) {
    let sh = &scene.shell;
    let mut scratch = pod("scratch", &format!("echo x > /data/file; {STAY}"));
    let template =
        json!({"metadata": {"labels": {"kind": "scratch"}}, "spec": claim("", &json!({}))["spec"]});
    scratch["spec"]["volumes"] = json!([{"name": "tmp", "ephemeral": {"volumeClaimTemplate": template}}]);
    scratch["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "tmp", "mountPath": "/data"}]);
    sh.apply(&scratch.to_string());
    ready(sh, "pod/scratch");
    let owner =
        "{.metadata.ownerReferences[0].kind}/{.metadata.ownerReferences[0].name} {.metadata.labels.kind}";
    assert_eq!(sh.ok(&format!("kubectl get pvc scratch-tmp -o jsonpath='{owner}'")), "Pod/scratch scratch");
    let volume = volume_of(sh, "scratch-tmp");
    sh.ok("kubectl delete pod scratch");
    sh.ok(&format!("kubectl wait --for=delete pvc/scratch-tmp pv/{volume} --timeout=60s"));
    // One pod at a time has a claim that is for one pod.
    sh.apply(&format!(
        "{}\n{}",
        claim("alone", &json!({"accessModes": ["ReadWriteOncePod"]})),
        user("first", "alone", STAY)
    ));
    ready(sh, "pod/first");
    sh.apply(&user("second", "alone", STAY).to_string());
    told(sh, "second", "FailedScheduling", "with the same name and ReadWriteOncePod access mode");
    sh.ok("kubectl delete pod first");
    ready(sh, "pod/second");
}

fn lifecycle(scene: &Scene) {
    let sh = &scene.shell;
    let volume = static_volume("w079e", "1Gi", "/tmp/w079e", &json!({"storageClassName": "w079e"}));
    sh.apply(&format!("{volume}\n{}", claim("c", &json!({"storageClassName": "w079e"}))));
    sh.ok("kubectl wait pvc/c pv/w079e --for=jsonpath={.status.phase}=Bound --timeout=30s");
    assert_eq!(sh.ok("kubectl get pv -l of=w079e -o name"), "persistentvolume/w079e\n");
    assert_eq!(
        sh.ok("kubectl get pvc -A --field-selector metadata.name=c -o name | sort -u"),
        "persistentvolumeclaim/c\n"
    );
    sh.ok("kubectl label pv w079e stage=patched && kubectl label pvc c stage=patched");
    let status = |of: &str, kind: &str| {
        sh.ok(&format!(
            r#"kubectl patch {of} --subresource=status -p '{{"status":{{"{kind}":"said"}}}}' -o jsonpath={{.status.{kind}}}"#
        ))
    };
    assert_eq!(status("pv w079e", "message"), "said");
    let said = sh.fails(r#"kubectl patch pv w079e -p '{"spec":{"hostPath":{"path":"/other"}}}'"#);
    assert!(said.contains("spec.persistentvolumesource is immutable after creation"), "{said}");
    // A volume that is bound stays until its claim is gone.
    sh.ok("kubectl delete pv w079e --wait=false");
    assert!(sh.ok("kubectl get pv w079e --no-headers").contains("Terminating"));
    sh.ok("kubectl delete pvc -l stage=patched");
    sh.ok("kubectl wait --for=delete pv/w079e --timeout=30s");
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "w079e", "labels": {"of": "w079e"}}, "provisioner": "example.com/p"});
    let attributes = json!({"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttributesClass",
        "metadata": {"name": "w079e", "labels": {"of": "w079e"}}, "driverName": "example.com/p",
        "parameters": {"iops": "1"}});
    sh.apply(&format!("{class}\n{attributes}"));
    for kind in ["storageclass", "volumeattributesclass"] {
        sh.ok(&format!("kubectl get {kind} w079e && kubectl label {kind} w079e stage=patched"));
        assert_eq!(sh.ok(&format!("kubectl get {kind} -l stage=patched -o name")).lines().count(), 1);
        sh.ok(&format!("kubectl delete {kind} -l of=w079e"));
        sh.fails(&format!("kubectl get {kind} w079e"));
    }
}

fn image(scene: &Scene) {
    let sh = &scene.shell;
    let with_image = |name: &str, policy: &str, image: &str, mounts: serde_json::Value| {
        let mut made = pod(name, STAY);
        made["spec"]["volumes"] =
            json!([{"name": "files", "image": {"reference": image, "pullPolicy": policy}}]);
        made["spec"]["containers"][0]["volumeMounts"] = mounts;
        made.to_string()
    };
    let whole = json!({"name": "files", "mountPath": "/files"});
    let part = json!({"name": "files", "mountPath": "/part", "subPath": "etc"});
    let missing = json!({"name": "files", "mountPath": "/part", "subPath": "not-there"});
    sh.apply(&with_image("reader", "IfNotPresent", "busybox:1.36", json!([whole, part])));
    sh.apply(&with_image("absent", "Never", "nobody/has-this:1", json!([whole])));
    sh.apply(&with_image("wrong", "IfNotPresent", "busybox:1.36", json!([missing])));
    sh.ok("kubectl wait pod/reader --for=condition=Ready --timeout=60s");
    sh.ok("kubectl exec reader -- test -e /files/bin/busybox -a -e /part/passwd");
    sh.fails("kubectl exec reader -- touch /files/new");
    let said = sh.fails("kubectl exec reader -- /files/bin/busybox true");
    assert!(said.to_lowercase().contains("permission denied"), "{said}");
    let waiting = "{.status.containerStatuses[0].state.waiting.reason}";
    sh.ok(&format!("kubectl wait pod/absent --for=jsonpath='{waiting}'=ErrImageNeverPull --timeout=60s"));
    sh.ok(&format!("kubectl wait pod/wrong --for=jsonpath='{waiting}'=CreateContainerError --timeout=60s"));
    let why = sh.ok("kubectl get pod wrong -o jsonpath={.status.containerStatuses[0].state.waiting.message}");
    assert!(why.contains("\"not-there\" of an image volume"), "{why}");
    // Nothing stays mounted of pods that are gone.
    let look =
        format!("grep -q '{}.*/images/[0-9a-f]*-[0-9] overlay' /proc/self/mounts", scene.cluster().name());
    sh.ok(&look);
    sh.ok("kubectl delete pod reader absent wrong --now");
    sh.ok(&format!("for i in $(seq 100); do {look} || exit 0; sleep 0.1; done; exit 1"));
}

fn killed(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("vault", 2);
    sh.ok("kubectl wait --for=create serviceaccount/default --timeout=30s");
    let up = |sh: &Shell| {
        cluster.knarr(&["up", "--no-kubeconfig"]).expect("up again");
        sh.ok("kubectl wait --for=condition=Ready node --all --timeout=60s");
    };
    let kill = |sh: &Shell| {
        let pid = cluster.server_pid().expect("the server's process");
        sh.ok(&format!("kill -KILL {pid} && timeout 30 tail --pid={pid} -f /dev/null"));
    };
    // The server dies while claims are being served.
    let names: Vec<String> = (0..8).map(|number| format!("c{number}")).collect();
    let objects = names.iter().flat_map(|name| {
        [claim(name, &json!({})), user(name, name, &format!("echo {name} >> /data/file; {STAY}"))]
    });
    sh.apply(&objects.map(|object| object.to_string()).collect::<Vec<_>>().join("\n"));
    kill(&sh);
    up(&sh);
    ready(&sh, "pod --all");
    let volumes = "kubectl get pv -o jsonpath='{range .items[*]}{.metadata.name} {.spec.claimRef.uid}{\"\\n\"}{end}' | sort";
    let claims = "kubectl get pvc -o jsonpath='{range .items[*]}{.spec.volumeName} {.metadata.uid}{\"\\n\"}{end}' | sort";
    assert_eq!(sh.ok(volumes), sh.ok(claims), "each claim has one volume, and no volume is left over");
    assert_eq!(sh.ok("kubectl get pv --no-headers").lines().count(), names.len());
    // Everything stops, and starts again.
    cluster.knarr(&["down"]).expect("down");
    up(&sh);
    ready(&sh, "pod --all");
    for name in &names {
        let kept = sh.ok(&format!("kubectl exec {name} -- cat /data/file"));
        assert!(kept.lines().count() >= 2 && kept.lines().all(|line| line == name), "{name}: {kept}");
    }
    // It dies while volumes are being freed: none is forgotten, and what is kept is kept.
    let kept = volume_of(&sh, "c7");
    sh.ok("kubectl delete pod,pvc c0 c1 c2 c3 c4 c5 c6 --wait=false");
    kill(&sh);
    up(&sh);
    sh.ok("kubectl wait --for=delete pvc/c0 pvc/c1 pvc/c2 pvc/c3 pvc/c4 pvc/c5 pvc/c6 --timeout=90s");
    sh.ok("timeout 60 bash -c 'until [ $(kubectl get pv --no-headers | wc -l) = 1 ]; do :; done'");
    let folders = format!(
        "find {} -ignore_readdir_race -name 'pvc-*' -o -name '.removing-*'",
        cluster.data_dir().display()
    );
    assert_eq!(sh.ok(&folders).lines().count(), 1, "{kept} alone has a directory");
    assert!(sh.ok("kubectl exec c7 -- cat /data/file").starts_with("c7\n"));
    cluster.take_down().expect("taken down");
}
