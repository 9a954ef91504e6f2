//! The rules of the ConfigMap in force, and the servers that they pass questions on to.

use std::path::Path;
use std::sync::Mutex;

use hickory_server::proto::rr::RData;

use super::*;
use crate::dns::rules::{Forward, Policy, Target};
use crate::dns::upstream::Upstream;

/// A server that follows a ConfigMap.
struct Following {
    address: SocketAddr,
    metrics: SocketAddr,
    maps: Cache<ConfigMap>,
    complaints: Arc<Mutex<Vec<String>>>,
    supervisor: Supervisor,
}

async fn following() -> Following {
    let view = View { services: Cache::new(), slices: Cache::new() };
    view.services.apply(read(json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"clusterIP": "10.96.0.20", "clusterIPs": ["10.96.0.20"]}})));
    let metrics = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
    let metrics_address = metrics.local_addr().expect("an address");
    drop(metrics);
    let config = DnsConfig {
        resolv_conf: RESOLV_CONF.into(),
        listen: (Ipv4Addr::new(127, 0, 1, 1), 0).into(),
        domain: "cluster.local".to_owned(),
        ranges: Vec::new(),
        clients: vec!["127.0.0.0/8".parse().expect("a range")],
        metrics: Some(metrics_address),
        corefile: ". {\n kubernetes cluster.local\n}\n".to_owned(),
    };
    let maps = Cache::new();
    maps.objects().replace(vec![]);
    let complaints: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = complaints.clone();
    let complain: Complain = Box::new(move |_, what| told.lock().expect("whole").push(what.to_owned()));
    let from = RulesFrom { maps: maps.clone(), complain };
    let dns = Dns::bind(config, view, Some(from)).await.expect("bound");
    let (address, supervisor) = (dns.local_addr().expect("an address"), Supervisor::new(Shutdown::new()));
    supervisor.spawn(TaskKind::Essential, "dns", dns.run(supervisor.shutdown().clone()));
    Following { address, metrics: metrics_address, maps, complaints, supervisor }
}

impl Following {
    fn rules(&self, corefile: &str) {
        self.maps.apply(read(json!({
            "metadata": {"name": CONFIG_MAP, "namespace": NAMESPACE}, "data": {KEY: corefile}})));
    }

    /// The code and the first address of the answer.
    async fn ask(&self, name: &str) -> (ResponseCode, Option<String>) {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(Name::from_str(name).expect("a name"), RecordType::A));
        let answer = exchange_udp(self.address, &message.to_vec().expect("encoded")).await;
        let answer = Message::from_vec(&answer).expect("a message");
        let address = answer.answers.iter().find_map(|record| match &record.data {
            RData::A(a) => Some(a.to_string()),
            _ => None,
        });
        (answer.metadata.response_code, address)
    }

    /// Asks until the answer is this: the rules change beside the test.
    async fn answers(&self, name: &str, code: ResponseCode, address: Option<&str>) {
        let wanted = (code, address.map(str::to_owned));
        let asked = async { while self.ask(name).await != wanted {} };
        let in_time = tokio::time::timeout(Duration::from_secs(10), asked).await;
        in_time.unwrap_or_else(|_| panic!("{name} is not answered by {wanted:?}"));
    }

    /// What the port shows.
    async fn shown(&self) -> String {
        let mut connection = TcpStream::connect(self.metrics).await.expect("connected");
        let request = b"GET /metrics HTTP/1.1\r\nhost: dns\r\nconnection: close\r\n\r\n";
        connection.write_all(request).await.expect("sent");
        let mut text = String::new();
        connection.read_to_string(&mut text).await.expect("answered");
        text.split_once("\r\n\r\n").expect("a body").1.to_owned()
    }
}

#[tokio::test]
async fn the_rules_of_the_config_map_are_in_force_as_long_as_they_are_understood() {
    let server = following().await;
    let hosts = |address: &str| {
        format!(
            ". {{\n hosts {{\n {address} host.example\n fallthrough\n }}\n kubernetes cluster.local\n}}\n"
        )
    };
    server.rules(&hosts("192.0.2.7"));
    server.answers("host.example.", ResponseCode::NoError, Some("192.0.2.7")).await;
    server.answers("web.default.svc.cluster.local.", ResponseCode::NoError, Some("10.96.0.20")).await;
    server.rules(&hosts("192.0.2.8"));
    server.answers("host.example.", ResponseCode::NoError, Some("192.0.2.8")).await;
    server.rules("example {\n hosts {\n 192.0.2.9 host.example\n }\n}\nnot a Corefile\n");
    let told = async {
        while server.complaints.lock().expect("whole").is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), told).await.expect("told");
    let told = server.complaints.lock().expect("whole").clone();
    let wrong = "Corefile, line 6: a server block has its brace { at the end of the line; the former rules stay in force";
    assert_eq!(told, [wrong]);
    server.answers("host.example.", ResponseCode::NoError, Some("192.0.2.8")).await;
    server.rules("example {\n hosts {\n 192.0.2.9 host.example\n }\n}\n");
    server.answers("host.example.", ResponseCode::NoError, Some("192.0.2.9")).await;
    // No block is for it, not even the cluster's.
    server.answers("web.default.svc.cluster.local.", ResponseCode::Refused, None).await;
    // Without a ConfigMap the rules are those of a new cluster.
    server.maps.objects().remove(&informer::Key::new(NAMESPACE, CONFIG_MAP));
    server.answers("web.default.svc.cluster.local.", ResponseCode::NoError, Some("10.96.0.20")).await;
    end(server.supervisor).await;
}

#[tokio::test]
async fn a_server_that_refuses_is_passed_over_and_figures_are_shown() {
    let (server, other) = (following().await, following().await);
    other.rules("example {\n hosts {\n 192.0.2.7 host.example\n }\n}\n");
    other.answers("host.example.", ResponseCode::NoError, Some("192.0.2.7")).await;
    // Port 9 of the loopback interface has no listener: a connection is refused at once.
    let rules = |servers: &str| {
        format!("example {{\n forward . {servers} {{\n policy sequential\n force_tcp\n }}\n}}\n")
    };
    server.rules(&rules(&format!("127.0.0.1:9 {}", other.address)));
    server.answers("host.example.", ResponseCode::NoError, Some("192.0.2.7")).await;
    server.answers("none.example.", ResponseCode::NXDomain, None).await;
    let text = server.shown().await;
    base::metrics::strict::read(&text, base::metrics::Format::Prometheus).expect("as scrapers read it");
    let asked = "coredns_dns_requests_total{server=\"dns://:53\",zone=\"example.\",view=\"\",proto=\"udp\",family=\"1\",type=\"A\"}";
    let passed_on = format!(
        "coredns_proxy_request_duration_seconds_count{{proxy_name=\"forward\",to=\"{}\",rcode=\"NXDOMAIN\"}} 1",
        other.address
    );
    for line in [asked, &passed_on, "rcode=\"NXDOMAIN\",plugin=\"forward\"} 1"] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    end(server.supervisor).await;
    end(other.supervisor).await;
}

#[tokio::test]
async fn a_server_that_asks_us_in_turn_is_not_asked() {
    let server = following().await;
    server.rules(&format!(". {{\n forward . {}\n cache 30\n loop\n}}\n", server.address));
    let found = async {
        loop {
            let (code, _) = server.ask("host.example.").await;
            if code == ResponseCode::ServFail && !server.shown().await.contains("healthcheck_broken_total 0")
            {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found).await.expect("found out");
    end(server.supervisor).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_costs_one_question_its_time_and_not_all() {
    let silent = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
    let rule = Forward {
        from: Name::root(),
        except: Vec::new(),
        to: vec![Target::Server(silent.local_addr().expect("an address"))],
        policy: Policy::Random,
        force_tcp: false,
        cache: None,
    };
    let shared = Shared {
        resolv_conf: Path::new(RESOLV_CONF).into(),
        own: Ipv4Addr::new(127, 0, 1, 1).into(),
        in_flight: Arc::new(Semaphore::new(10)),
        loops: Arc::default(),
        metrics: Metrics::default(),
    };
    let upstream = Upstream::new(rule, shared);
    let name = Name::from_str("host.example.").expect("a name");
    let took = async || {
        let begun = tokio::time::Instant::now();
        let answer = upstream.ask(&name, RecordType::A).await;
        assert_eq!(answer.err(), Some(ResponseCode::ServFail));
        begun.elapsed()
    };
    let first = took().await;
    assert!(first >= Duration::from_secs(1), "{first:?}");
    for _ in 0..100 {
        assert_eq!(took().await, Duration::ZERO);
    }
    tokio::time::advance(Duration::from_secs(60)).await;
    let trial = took().await;
    assert!(trial >= Duration::from_secs(1), "{trial:?}");
    assert_eq!(took().await, Duration::ZERO);
}
