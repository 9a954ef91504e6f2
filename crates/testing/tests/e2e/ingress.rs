//! Section H: Ingress as clients outside reach it: W135.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testing::Shell;

use crate::manifests::{kubia, pod, replicated};
use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[
    ("w135_requests_reach_services_by_host_path_and_tls", routed),
    ("w135r_a_rolling_update_behind_an_ingress_fails_no_request", rolling),
    ("w135c_ingresses_of_other_classes_are_left_alone", classes),
    ("w135s_clusters_side_by_side_share_the_ports_one_after_the_other", side_by_side),
    ("w135h_hostile_clients_and_thousands_of_rules_cost_others_nothing", hostile),
];

/// Waits until the Ingress is served; where.
fn address(sh: &Shell, ingress: &str) -> String {
    sh.ok(&format!(
        "kubectl wait ingress/{ingress} --for=jsonpath='{{.status.loadBalancer.ingress[0].ip}}' --timeout=60s"
    ));
    sh.ok(&format!("kubectl get ingress {ingress} -o jsonpath='{{.status.loadBalancer.ingress[0].ip}}'"))
}

/// Asks until the answer holds a text: the proxy hears of a change a moment after the API's client.
fn comes(sh: &Shell, curl: &str, wanted: &str) -> String {
    sh.ok(&format!(
        "timeout 60 bash -c 'until curl -s {curl} | tee answer | grep -qF \"{wanted}\"; do sleep 0.1; done'; cat answer"
    ))
}

/// A pod of the test web server behind a Service of its name.
fn served(sh: &Shell, name: &str) {
    let mut server = kubia(name);
    server["metadata"]["labels"] = json!({"app": name});
    sh.apply(&server.to_string());
    sh.ok(&format!("kubectl expose pod {name} --port=80 --target-port=8080"));
}

fn certificate(sh: &Shell, name: &str, host: &str) {
    sh.ok(&format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN={name} \
         -addext subjectAltName=DNS:{host} -keyout {name}.key -out {name}.crt 2>openssl.log"
    ));
}

fn routed(scene: &Scene) {
    let sh = &scene.shell;
    for name in ["front", "back"] {
        served(sh, name);
    }
    certificate(sh, "first", "shop.w135.test");
    certificate(sh, "second", "shop.w135.test");
    sh.ok("kubectl create secret tls shop --cert=first.crt --key=first.key");
    sh.ok("kubectl create ingress site --rule=shop.w135.test/*=front:80,tls=shop --rule=shop.w135.test/api*=back:80 \
           --rule='*.w135.test/only=back:80'");
    sh.ok("kubectl wait --for=condition=Ready pod/front pod/back --timeout=60s");
    let at = address(sh, "site");
    let listed = sh.ok("kubectl get ingress site");
    let columns: Vec<&str> = listed.lines().nth(1).expect("a line").split_whitespace().collect();
    assert_eq!(columns[..5], ["site", "knarr", "shop.w135.test,*.w135.test", &at, "80,"], "{listed}");

    let plain = |host: &str, path: &str| format!("--resolve {host}:80:{at} http://{host}{path}");
    comes(sh, &plain("shop.w135.test", "/"), "hit front");
    for (host, path, wanted) in [
        ("shop.w135.test", "/api", "hit back"),
        ("shop.w135.test", "/api/x?y=/z", "hit back"),
        ("shop.w135.test", "/apis", "hit front"),
        ("SHOP.w135.TEST", "/", "hit front"),
        ("other.w135.test", "/only", "hit back"),
        ("other.w135.test", "/only/not", "404 Not Found: no Ingress has a rule for this host and path"),
        ("a.other.w135.test", "/only", "404 Not Found"),
    ] {
        let said = sh.ok(&format!("curl -s {}", plain(host, path)));
        assert!(said.contains(wanted), "{host}{path}: {said}");
    }
    let described = sh.ok("kubectl describe ingress site");
    for part in ["Ingress Class:    knarr", "shop terminates", "/api   back:80", "Served", "is served at"] {
        assert!(described.contains(part), "{part}: {described}");
    }

    let secure =
        |options: &str| format!("{options} --resolve shop.w135.test:443:{at} https://shop.w135.test/");
    let said = sh.ok(&format!("curl -sS {}", secure("--http2 -w '%{http_version}' --cacert first.crt")));
    assert!(said.contains("hit front") && said.ends_with('2'), "{said}");
    sh.ok("kubectl create secret tls shop --cert=second.crt --key=second.key --dry-run=client -o yaml \
           | kubectl apply -f - 2>apply.log");
    comes(sh, &secure("--http1.1 --cacert second.crt"), "hit front");
    sh.fails(&format!("curl -s {}", secure("--cacert first.crt")));
    sh.ok("kubectl delete secret shop");
    let shown = format!("curl -svk --resolve shop.w135.test:443:{at} https://shop.w135.test/ 2>&1");
    sh.ok(&format!("timeout 60 bash -c 'until {shown} | grep -q \"CN=knarr ingress fallback certificate\"; do sleep 0.1; done'"));
    sh.ok("timeout 60 bash -c 'until kubectl describe ingress site | grep -q \"BadCertificate.*no Secret of this name\"; \
           do sleep 0.2; done'");
    websocket(sh, &at);
}

/// A pod that goes over to a protocol in which it gives back what it gets.
fn websocket(sh: &Shell, at: &str) {
    let script = "printf 'while read -r line && [ ${#line} -gt 1 ]; do :; done; \
                  printf \"HTTP/1.1 101 Switching Protocols\\\\r\\\\nConnection: Upgrade\\\\r\\\\nUpgrade: websocket\\\\r\\\\n\\\\r\\\\n\"; \
                  exec cat' > /tmp/serve; exec nc -ll -p 8080 -e sh /tmp/serve";
    sh.apply(&pod("chat", script).to_string());
    sh.ok("kubectl expose pod chat --port=80 --target-port=8080");
    sh.ok("kubectl create ingress chat --rule=chat.w135.test/*=chat:80");
    sh.ok("kubectl wait --for=condition=Ready pod/chat --timeout=60s");
    sh.ok(&format!(
        "timeout 60 bash -c 'until curl -s -o answer -w \"%{{http_code}}\" -m 2 -H \"Connection: Upgrade\" -H \"Upgrade: websocket\" \
         --resolve chat.w135.test:80:{at} http://chat.w135.test/ | grep -q 101; do sleep 0.1; done'"
    ));
    let mut socket = connected(at);
    let request =
        "GET / HTTP/1.1\r\nHost: chat.w135.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    socket.write_all(request.as_bytes()).expect("sent");
    let mut reader = BufReader::new(socket.try_clone().expect("a second handle"));
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        assert!(reader.read_line(&mut line).expect("a head") > 0);
    }
    for word in [b"ping", b"pong"] {
        socket.write_all(word).expect("sent");
        let mut heard = [0; 4];
        reader.read_exact(&mut heard).expect("echoed");
        assert_eq!(&heard, word);
    }
}

fn connected(at: &str) -> TcpStream {
    let socket = TcpStream::connect((at, 80)).expect("the port is open");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
    socket
}

/// The status of a request over a connection that is kept.
fn ask(reader: &mut BufReader<TcpStream>, host: &str) -> std::io::Result<String> {
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    reader.get_mut().write_all(request.as_bytes())?;
    let (mut status, mut length) = (String::new(), 0);
    reader.read_line(&mut status)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(status.trim().to_owned())
}

/// Asks without a pause until told to stop: how often, and what went wrong.
fn load(at: &str, host: &'static str, over: &Arc<AtomicBool>) -> JoinHandle<(usize, Vec<String>)> {
    let (mut reader, over) = (BufReader::new(connected(at)), over.clone());
    std::thread::spawn(move || {
        let (mut count, mut wrong) = (0, Vec::new());
        while !over.load(Ordering::Relaxed) && wrong.len() < 10 {
            count += 1;
            match ask(&mut reader, host) {
                Ok(status) if status == "HTTP/1.1 200 OK" => {}
                Ok(status) => wrong.push(status),
                Err(error) => {
                    wrong.push(error.to_string());
                    break;
                }
            }
        }
        (count, wrong)
    })
}

fn rolling(scene: &Scene) {
    let sh = &scene.shell;
    sh.apply(&replicated("apps/v1", "Deployment", "web", 3).to_string());
    sh.ok("kubectl expose deployment web --port=80 --target-port=8080");
    sh.ok("kubectl create ingress web --rule=roll.w135.test/*=web:80");
    sh.ok("kubectl rollout status deployment web --timeout=120s");
    let at = address(sh, "web");
    comes(sh, &format!("--resolve roll.w135.test:80:{at} http://roll.w135.test/"), "hit web-");
    let over: Arc<AtomicBool> = Arc::default();
    let clients: Vec<_> = (0..4).map(|_| load(&at, "roll.w135.test", &over)).collect();
    for _ in 0..2 {
        sh.ok("kubectl rollout restart deployment web");
        sh.ok("kubectl rollout status deployment web --timeout=120s");
    }
    sh.ok("kubectl scale deployment web --replicas=1");
    sh.ok("kubectl rollout status deployment web --timeout=120s");
    over.store(true, Ordering::Relaxed);
    let done: Vec<_> = clients.into_iter().map(|client| client.join().expect("a client ends")).collect();
    let count: usize = done.iter().map(|(count, _)| count).sum();
    let wrong: Vec<_> = done.into_iter().flat_map(|(_, wrong)| wrong).collect();
    assert!(count > 200, "{count} requests are no load");
    assert_eq!(wrong, Vec::<String>::new(), "of {count} requests");
}

fn classes(scene: &Scene) {
    let sh = &scene.shell;
    let class = sh.ok("kubectl get ingressclass knarr --no-headers");
    assert!(class.starts_with("knarr   knarr.dev/ingress   <none>"), "{class}");
    let other = json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "w135c-other"},
        "spec": {"controller": "example.com/other"}});
    sh.apply(&other.to_string());
    served(sh, "solo");
    sh.ok("kubectl wait --for=condition=Ready pod/solo --timeout=60s");
    sh.ok("kubectl create ingress mine --rule=mine.w135c.test/*=solo:80");
    sh.ok("kubectl create ingress theirs --class=w135c-other --rule=theirs.w135c.test/*=solo:80");
    let status = r#"{"status":{"loadBalancer":{"ingress":[{"hostname":"theirs.example.com"}]}}}"#;
    sh.ok(&format!("kubectl patch ingress theirs --subresource=status --type=merge -p '{status}'"));
    let at = address(sh, "mine");
    let curl = |host: &str| format!("--resolve {host}:80:{at} http://{host}/");
    comes(sh, &curl("mine.w135c.test"), "hit solo");
    let said = sh.ok(&format!("curl -s {}", curl("theirs.w135c.test")));
    assert!(said.starts_with("404 "), "{said}");
    let kept = sh.ok("kubectl get ingress theirs -o jsonpath='{.status.loadBalancer.ingress[0].hostname}'");
    assert_eq!(kept, "theirs.example.com");
    let events = sh.ok("kubectl get events --field-selector involvedObject.name=theirs -o name");
    assert_eq!(events, "");

    // Over to the other class, and back.
    let class =
        |name: &str| format!(r#"kubectl patch ingress mine -p '{{"spec":{{"ingressClassName":"{name}"}}}}'"#);
    sh.ok(&class("w135c-other"));
    sh.ok("timeout 60 bash -c 'while kubectl get ingress mine -o jsonpath={.status.loadBalancer.ingress} | grep -q .; \
           do sleep 0.2; done'");
    comes(sh, &curl("mine.w135c.test"), "404 Not Found");
    sh.ok(&class("knarr"));
    assert_eq!(address(sh, "mine"), at);
    comes(sh, &curl("mine.w135c.test"), "hit solo");
    sh.ok("kubectl delete ingressclass w135c-other");
}

fn side_by_side(scene: &Scene) {
    let sh = &scene.shell;
    sh.ok("kubectl create ingress first --rule=first.w135s.test/*=none:80");
    let at = address(sh, "first");
    let (cluster, other) = scene.own_cluster("side", 1);
    other.ok("kubectl wait --for=create serviceaccount/default --timeout=30s");
    served(&other, "solo");
    other.ok("kubectl create ingress second --rule=second.w135s.test/*=solo:80");
    other.ok("timeout 60 bash -c 'until kubectl describe ingress second | grep -q \"PortUnavailable.*:80 cannot be opened: \
              Address already in use\"; do sleep 0.2; done'");
    assert_eq!(other.ok("kubectl get ingress second -o jsonpath={.status.loadBalancer.ingress}"), "");
    other.ok("kubectl wait --for=condition=Ready pod/solo --timeout=60s");

    // The rows beside this one have Ingresses too, each for a while.
    sh.ok("kubectl delete ingress first");
    other.ok(
        "kubectl wait ingress/second --for=jsonpath='{.status.loadBalancer.ingress[0].ip}' --timeout=170s",
    );
    let curl = format!("--resolve second.w135s.test:80:{at} http://second.w135s.test/");
    comes(&other, &curl, "hit solo");

    // A server that is killed and comes back does not take the address away meanwhile.
    let version = "kubectl get ingress second -o jsonpath={.metadata.resourceVersion}";
    let before = other.ok(version);
    let pid = cluster.server_pid().expect("the server's process");
    other.ok(&format!("kill -KILL {pid} && timeout 30 tail --pid={pid} -f /dev/null"));
    cluster.knarr(&["up", "--no-kubeconfig"]).expect("the server comes up again");
    comes(&other, &curl, "hit solo");
    assert_eq!(other.ok(version), before);
    cluster.take_down().expect("nothing of it is left");
}

/// An Ingress with rules for hosts of a number range, all to one Service.
fn many(name: &str, numbers: std::ops::Range<u32>) -> Value {
    let backend = json!({"service": {"name": "solo", "port": {"number": 80}}});
    let rule = |number: u32| {
        let paths = [json!({"path": format!("/p{number}"), "pathType": "Prefix", "backend": backend})];
        let host = if number.is_multiple_of(2) {
            "one.w135h.test".to_owned()
        } else {
            format!("h{number}.w135h.test")
        };
        json!({"host": host, "http": {"paths": paths}})
    };
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name},
        "spec": {"rules": numbers.map(rule).collect::<Vec<_>>()}})
}

fn hostile(scene: &Scene) {
    let sh = &scene.shell;
    served(sh, "solo");
    sh.ok("kubectl wait --for=condition=Ready pod/solo --timeout=60s");
    // More than an annotation with the last applied state may hold.
    for part in 0..10 {
        sh.file("many.json", &many(&format!("many{part}"), part * 500..(part + 1) * 500).to_string());
        sh.ok("kubectl create -f many.json");
    }
    let at = address(sh, "many9");
    let curl = |host: &str, path: &str| format!("--resolve {host}:80:{at} http://{host}{path}");
    comes(sh, &curl("one.w135h.test", "/p4998"), "hit solo");
    comes(sh, &curl("h4999.w135h.test", "/p4999/x"), "hit solo");
    let said = sh.ok(&format!("curl -s {}", curl("h4999.w135h.test", "/p4997")));
    assert!(said.starts_with("404 "), "{said}");

    // A hundred clients that never finish their requests, and two that send too much.
    let mut slow: Vec<TcpStream> = (0..100).map(|_| connected(&at)).collect();
    for socket in &mut slow {
        socket.write_all(b"GET / HTTP/1.1\r\nHost: one.w135h.test\r\nX-Slow: ").expect("sent");
    }
    let begin = Instant::now();
    let flood = "$(printf 'X-%s:1\\n' $(seq 300) | sed 's/^/-H /')";
    let said =
        sh.ok(&format!("curl -s -o answer -w '%{{http_code}}' {flood} {}", curl("one.w135h.test", "/p2")));
    assert_eq!(said, "431");
    let long = "-H \"X: $(head -c 100000 /dev/zero | tr '\\0' x)\"";
    let said =
        sh.ok(&format!("curl -s -o answer -w '%{{http_code}}' {long} {}", curl("one.w135h.test", "/p2")));
    assert_eq!(said, "431");
    let hundred =
        format!("for i in $(seq 100); do curl -sf -m 5 {} || exit 1; done", curl("one.w135h.test", "/p2500"));
    assert_eq!(sh.ok(&hundred).matches("hit solo").count(), 100, "others are served meanwhile");
    for socket in &mut slow {
        let mut said = Vec::new();
        // A reset is an end too.
        let _ = socket.read_to_end(&mut said);
    }
    let waited = begin.elapsed();
    assert!(waited < Duration::from_secs(60), "the slow ones lose their connections: {waited:?}");
    sh.ok("kubectl delete ingress --all");
    // 404 while other Ingresses keep the port open, and no connection otherwise.
    let gone = format!("curl -s {} | grep -q hit", curl("one.w135h.test", "/p2"));
    sh.ok(&format!("timeout 60 bash -c 'while {gone}; do sleep 0.1; done'"));
}
