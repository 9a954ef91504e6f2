//! Load balancers with addresses of a pool: W132.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use serde_json::json;

use crate::manifests::replicated;
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[("w132b_load_balancers_have_addresses_of_a_pool_to_themselves", pooled)];

/// Of networks for measuring (RFC 2544), which no machine has.
const POOL: &str = "198.18.7.8/31";
/// Not a port of others on the machine, whose addresses the Service gets in the end.
const PORT: u16 = 18_083;

fn pooled(scene: &Scene) {
    let (cluster, sh) = scene.own_cluster("pool", 1);
    let restart = || {
        let pid = cluster.server_pid().expect("the server's process");
        sh.ok(&format!("kill -KILL {pid} && timeout 30 tail --pid={pid} -f /dev/null"));
        cluster.knarr(&["up", "--no-kubeconfig", "--load-balancer-pool", POOL]).expect("up again");
    };
    restart();
    sh.apply(&replicated("apps/v1", "Deployment", "web", 1).to_string());
    sh.ok("kubectl rollout status deployment web --timeout=60s");
    let service = |name: &str| {
        let ports = json!([{"port": PORT, "targetPort": 8080}]);
        let spec = json!({"type": "LoadBalancer", "selector": {"app": "web"}, "ports": ports});
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}).to_string()
    };
    let address = |name: &str| {
        sh.ok(&format!("kubectl get service {name} -o jsonpath={{.status.loadBalancer.ingress[*].ip}}"))
    };
    let served = |name: &str| {
        sh.ok(&format!("kubectl wait service/{name} --for=jsonpath='{{.status.loadBalancer.ingress[0].ip}}' --timeout=10s"));
        let address = address(name);
        let said =
            sh.ok(&format!("curl -sf --retry 30 --retry-all-errors --retry-delay 1 http://{address}:{PORT}"));
        assert!(said.contains("You've hit web-"), "{said}");
        address
    };
    sh.apply(&service("first"));
    let first = served("first");
    sh.apply(&service("second"));
    let second = served("second");
    assert_eq!([first.as_str(), second.as_str()], ["198.18.7.8", "198.18.7.9"]);
    let condition = "'{.status.conditions[?(@.type==\"knarr.dev/AddressFromPool\")].status}'";
    assert_eq!(sh.ok(&format!("kubectl get service first -o jsonpath={condition}")), "True");
    // The pool is empty.
    sh.apply(&service("third"));
    let mut events = sh.start("kubectl get events -w -o custom-columns=R:.reason,M:.message --no-headers");
    events.wait_until("why it waits", |line| {
        line.starts_with("AllocationFailed")
            && line.ends_with("Failed to allocate IP for \"default/third\": no available IPs in the pool")
    });
    // The node answers ARP for both, and refuses what is not for a Service.
    let held = sh.ok("ip -o -4 address show | grep -o '198.18.7.[0-9]*/32' | sort");
    assert_eq!(held, "198.18.7.8/32\n198.18.7.9/32\n");
    let own = TcpListener::bind("0.0.0.0:0").expect("a server of the machine's own");
    let port = own.local_addr().expect("bound").port();
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    let refused = TcpStream::connect((Ipv4Addr::new(198, 18, 7, 8), port)).expect_err("not for a Service");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    // Whoever waits gets what becomes free, and a restart changes nothing.
    sh.ok("kubectl delete service first");
    assert_eq!(served("third"), first);
    restart();
    assert_eq!((served("second"), served("third")), (second.clone(), first));
    sh.ok("kubectl patch service second -p '{\"spec\": {\"type\": \"ClusterIP\"}}'");
    sh.ok("kubectl wait service/second --for=jsonpath='{.spec.type}'=ClusterIP");
    let mut addresses = sh.start("ip monitor address");
    if sh.ok("ip -o -4 address show").contains(&second) {
        addresses.wait_until("the address is given up", |line| {
            line.starts_with("Deleted") && line.contains(&second)
        });
    }
    // Without the pool, the nodes' addresses are the load balancers' again.
    let pid = cluster.server_pid().expect("the server's process");
    sh.ok(&format!("kill -KILL {pid} && timeout 30 tail --pid={pid} -f /dev/null"));
    cluster.knarr(&["up", "--no-kubeconfig"]).expect("up again");
    let node = sh.ok(
        "kubectl get nodes -o jsonpath='{.items[0].status.addresses[?(@.type==\"InternalIP\")].address}'",
    );
    sh.ok(&format!("kubectl wait service/third --for=jsonpath='{{.status.loadBalancer.ingress[0].ip}}'={node} --timeout=10s"));
}
