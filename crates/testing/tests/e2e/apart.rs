//! A node without a server beside it: all it has of its cluster are certificates and addresses.

use std::net::Ipv4Addr;

use testing::{Agent, Joining, Shell};

use crate::manifests::{STAY, pod};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[("w001b_a_node_runs_pods_of_a_control_plane_elsewhere", w001b)];

fn w001b(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("apart", 0);
    assert!(sh.ok("kubectl get nodes 2>&1").contains("No resources found"));
    let joining = joining(&sh);
    let agent = Agent::start(&cluster, "far", "far", &joining).expect("an agent");
    sh.ok("kubectl wait --for=create node/far --timeout=30s");
    sh.ok("kubectl wait --for=condition=Ready node/far --timeout=60s");
    for image in &cluster.fixtures.images {
        agent.knarr(&["image", "import", image.to_str().expect("UTF-8")]).expect("imported");
    }

    // Decided by the scheduler elsewhere, run here, with the cluster's tokens, DNS and logs.
    sh.ok("kubectl wait --for=create serviceaccount/default --timeout=30s");
    let script = format!(
        "cat /var/run/secrets/kubernetes.io/serviceaccount/namespace; \
         nslookup kubernetes.default.svc.cluster.local; echo $KUBERNETES_SERVICE_HOST; {STAY}"
    );
    sh.apply(&pod("here", &script).to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/here --timeout=60s");
    assert_eq!(sh.ok("kubectl get pod here -o jsonpath={.spec.nodeName}"), "far");
    let address = joining.api_service_ip.to_string();
    let logs = sh.ok("kubectl logs here");
    assert!(logs.starts_with("default"), "{logs}");
    assert!(
        logs.contains(&format!("Address: {address}")) && logs.ends_with(&format!("{address}\n")),
        "{logs}"
    );
    assert_eq!(sh.ok("kubectl exec here -- hostname"), "here\n");
    // The API by its Service: the node passes connections on, TLS goes from end to end.
    assert_eq!(sh.ok(&format!("kubectl --server https://{address} get --raw /readyz")), "ok");
    sh.ok(&format!("kubectl exec here -- sh -c 'nc -w 5 {address} 443 </dev/null'"));

    // The server may go and come back; the node goes on, and works for the new one.
    let pid = cluster.server_pid().expect("the server's process");
    sh.ok(&format!("kill -KILL {pid} && timeout 30 tail --pid={pid} -f /dev/null"));
    cluster.knarr(&["up", "--no-kubeconfig"]).expect("the control plane comes up again");
    sh.apply(&pod("later", STAY).to_string());
    sh.ok("kubectl wait --for=condition=Ready pod/later pod/here --timeout=60s");
    assert_eq!(sh.ok("kubectl get pod here -o jsonpath={.status.containerStatuses[0].restartCount}"), "0");
    sh.ok("kubectl delete pod here later --timeout=60s");
    agent.take_down().expect("nothing of it is left");
}

/// What a node has to know, from what the API says.
fn joining(sh: &Shell) -> Joining {
    let slice = "kubectl get endpointslice kubernetes -o jsonpath=";
    let address = |text: String| text.parse::<Ipv4Addr>().expect("an address");
    let api_service_ip = address(sh.ok("kubectl get service kubernetes -o jsonpath={.spec.clusterIP}"));
    let [_, range, ..] = api_service_ip.octets();
    Joining {
        address: address(sh.ok(&format!("{slice}{{.endpoints[0].addresses[0]}}"))),
        api_port: sh.ok(&format!("{slice}{{.ports[0].port}}")).parse().expect("a port"),
        api_service_ip,
        dns_ip: address(sh.ok("kubectl get service -n kube-system kube-dns -o jsonpath={.spec.clusterIP}")),
        service_cidr: format!("10.{range}.0.0/16"),
        // Clusters of a machine count both ranges up together: Services' from 96, pods' from 244.
        pod_cidr: format!("10.{}.0.0/16", range - 96 + 244),
    }
}
