//! Section H: pods reach each other: W130.

use crate::manifests::{STAY, kubia, pod};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[("w130_pods_reach_pods_by_address_without_translation", w130)];

fn w130(scene: &Scene) {
    let sh = &scene.shell;
    let names = ["a", "b", "c"];
    let servers: Vec<String> = names.iter().map(|name| kubia(name).to_string()).collect();
    let mut host = pod("host", STAY);
    host["spec"]["hostNetwork"] = true.into();
    sh.apply(&format!("{}\n{}\n{host}", servers.join("\n"), pod("client", STAY)));
    sh.ok("kubectl wait --for=condition=Ready pod --all --timeout=60s");
    let ip = |name: &str| sh.ok(&format!("kubectl get pod {name} -o jsonpath={{.status.podIP}}"));
    let addresses: Vec<String> = names.iter().map(|name| ip(name)).collect();
    let mut distinct = addresses.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 3, "{addresses:?}");
    let range = sh.ok("kubectl get nodes -o jsonpath={.items[0].spec.podCIDR}");
    let network = range.rsplit_once('.').map_or("", |(network, _)| network);
    assert!(
        addresses.iter().all(|address| address.starts_with(&format!("{network}."))),
        "{range} {addresses:?}"
    );

    let client = ip("client");
    for (name, address) in names.iter().zip(&addresses) {
        let hit = sh.ok(&format!("kubectl exec client -- wget -qO- http://{address}:8080"));
        assert!(hit.contains(&format!("You've hit {name}")), "{hit}");
        let seen = sh.ok(&format!("kubectl exec client -- wget -qO- http://{address}:8080/client"));
        assert_eq!(seen.trim(), client, "the server sees the pod's own address");
        // The node reaches pods, and pods the node.
        assert!(sh.ok(&format!("curl -s http://{address}:8080")).contains(&format!("You've hit {name}")));
        let hit = sh.ok(&format!("kubectl exec host -- wget -qO- http://{address}:8080"));
        assert!(hit.contains(&format!("You've hit {name}")), "{hit}");
    }
    let itself = "httpd -p 7000 -h /etc && wget -qO- http://$0:7000/hostname";
    let itself = sh.ok(&format!("kubectl exec client -- sh -c '{itself}' {client}"));
    assert_eq!(itself, "client\n", "a pod reaches itself by its own address");
    let node = sh.ok("kubectl get pod host -o jsonpath={.status.hostIP}");
    assert_eq!(ip("host"), node);
    sh.ok(&format!("kubectl exec client -- ping -c 1 -W 2 {node}"));
    sh.ok(&format!("kubectl exec client -- ping -c 1 -W 2 {}", addresses[0]));
    // All of it again for a pod whose container was replaced: the address stays.
    sh.ok(&format!("kubectl exec client -- sh -c 'wget -qO- http://{}:8080/exit/1; true'", addresses[0]));
    sh.ok("kubectl wait pod/a --for=jsonpath={.status.containerStatuses[0].restartCount}=1 --timeout=60s");
    sh.ok("kubectl wait --for=condition=Ready pod/a --timeout=60s");
    assert_eq!(ip("a"), addresses[0]);
    sh.ok(&format!("kubectl exec client -- wget -qO- http://{}:8080", addresses[0]));
}
