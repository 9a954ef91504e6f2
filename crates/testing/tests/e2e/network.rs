//! Section H: pods reach each other: W130.

use serde_json::json;

use crate::manifests::{STAY, kubia, pod};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w130_pods_reach_pods_by_address_without_translation", w130),
    ("w130a_pages_are_shown_through_the_api_server", w130a),
];

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

/// The page's links lead back through the proxy, by HTTPS as well, whatever certificate the pod has.
fn w130a(scene: &Scene) {
    const PAGE: &str = "<a href=\"/next\">next</a>";
    let (sh, namespace) = (&scene.shell, &scene.namespace);
    let issued = rcgen::generate_simple_self_signed(["elsewhere.example".to_owned()]).expect("a certificate");
    let place = "location / { default_type text/html; return 200 $page; } location /old { return 302 /new; }";
    let server = format!(
        "server {{ listen 80; listen 443 ssl; absolute_redirect off; set $page '{PAGE}'; {place}
         ssl_certificate /page/tls.crt; ssl_certificate_key /page/tls.key; }}"
    );
    let files = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "page"},
        "stringData": {"tls.crt": issued.cert.pem(), "tls.key": issued.signing_key.serialize_pem(),
            "nginx.conf": format!("user root; pid /run/nginx.pid; events {{}} http {{ {server} }}")}
    });
    let mut page = pod("page", "");
    page["spec"]["volumes"] = json!([{"name": "page", "secret": {"secretName": "page"}}]);
    page["spec"]["containers"] = json!([{
        "name": "nginx", "image": "nginx:alpine",
        "command": ["nginx", "-c", "/page/nginx.conf", "-g", "daemon off;"],
        "ports": [{"containerPort": 80}],
        "readinessProbe": {"httpGet": {"port": 443, "scheme": "HTTPS"}, "periodSeconds": 1},
        "volumeMounts": [{"name": "page", "mountPath": "/page"}]
    }]);
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "page"},
        "spec": {"ports": [{"name": "http", "port": 8080, "targetPort": 80}, {"name": "tls", "port": 443}]}
    });
    sh.apply(&format!("{files}\n{page}\n{service}"));
    sh.ok("kubectl wait --for=condition=Ready pod/page --timeout=60s");
    let address = sh.ok("kubectl get pod page -o jsonpath={.status.podIP}");
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "page-by-hand", "labels": {"kubernetes.io/service-name": "page"}},
        "endpoints": [{"addresses": [address]}],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}, {"name": "tls", "port": 443, "protocol": "TCP"}]
    });
    sh.apply(&slice.to_string());
    let server = sh.ok("kubectl config view --minify -o jsonpath={.clusters[0].cluster.server}");
    let token = sh.ok("kubectl create serviceaccount reader >&2; kubectl create token reader");
    sh.ok(&format!(
        "kubectl create role proxied --verb=get --resource=pods/proxy,services/proxy &&
         kubectl create rolebinding proxied --role=proxied --serviceaccount={namespace}:reader"
    ));
    let curl = |path: &str| {
        sh.ok(&format!("curl -ksS --compressed -D headers -H 'Authorization: Bearer {token}' {server}{path}"))
    };
    for name in [
        "pods/page",
        "pods/http:page:80",
        "pods/https:page:443",
        "services/page:http",
        "services/https:page:tls",
    ] {
        let path = format!("/api/v1/namespaces/{namespace}/{name}/proxy");
        let shown = curl(&format!("{path}/"));
        assert_eq!(shown, PAGE.replace("/next", &format!("{path}/next")), "{name}");
        curl(&format!("{path}/old"));
        let headers = sh.ok("cat headers");
        assert!(headers.contains(&format!("{path}/new")), "{headers}");
        curl(&path);
        assert!(sh.ok("cat headers").contains("301"), "the root has a slash at its end");
    }
    let unknown =
        sh.fails(&format!("kubectl get --raw /api/v1/namespaces/{namespace}/services/page:other/proxy/"));
    assert!(unknown.contains("no endpoints available for service \"page:other\""), "{unknown}");
}
