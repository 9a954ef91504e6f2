use std::str::FromStr;

use hickory_server::proto::rr::RecordType;

use super::hosts::Said;
use super::*;

fn domain() -> Name {
    fqdn("cluster.local.")
}

fn fqdn(text: &str) -> Name {
    Name::from_str(text).expect("a name")
}

fn block_of<'a>(rules: &'a Rules, name: &str) -> &'a Block {
    let (_, at) = rules.block_for(&fqdn(name)).expect("a zone");
    &rules.blocks[at]
}

fn read(text: &str) -> Result<Rules, String> {
    Rules::read(text, &domain()).map_err(|wrong| wrong.to_string())
}

#[test]
fn a_new_cluster_passes_on_what_is_not_its_own() {
    let rules = Rules::default_of(&domain()).expect("understood");
    let block = block_of(&rules, "www.example.org.");
    assert_eq!(block.kubernetes, Some(Kubernetes { ttl_s: 30, has_pods: true }));
    let [forward] = block.forwards.as_slice() else { panic!("{:?}", block.forwards) };
    assert_eq!(forward.to, [Target::File("/etc/resolv.conf".into())]);
    assert_eq!(forward.cache, Some((Duration::from_secs(30), Duration::from_secs(30))));
}

#[test]
fn a_zone_has_servers_of_its_own() {
    let rules = read(
        "acme.local:53 {\n forward . 192.0.2.1 192.0.2.2:5353 {\n policy sequential\n force_tcp\n }\n}\n\
         . {\n forward corp.example 192.0.2.3\n forward . 192.0.2.4 {\n except home.example\n }\n}\n",
    )
    .expect("understood");
    let to = |name: &str| {
        let block = block_of(&rules, name);
        let name = fqdn(name);
        block.forwards.iter().find(|forward| forward.is_for(&name)).map(|forward| forward.to.clone())
    };
    let server = |text: &str| Target::Server(text.parse().expect("an address"));
    assert_eq!(to("a.acme.local."), Some(vec![server("192.0.2.1:53"), server("192.0.2.2:5353")]));
    assert_eq!(to("x.corp.example."), Some(vec![server("192.0.2.3:53")]));
    assert_eq!(to("acme.local.example."), Some(vec![server("192.0.2.4:53")]));
    assert_eq!(to("www.home.example."), None);
    let forward = &block_of(&rules, "acme.local.").forwards[0];
    assert_eq!((forward.policy, forward.force_tcp), (Policy::Sequential, true));
}

#[test]
fn hosts_answer_before_the_rest() {
    let rules = read(
        ". {\n hosts {\n 192.0.2.7 Host.Example other.example\n fd00::7 host.example\n ttl 60\n fallthrough\n }\n}\n\
         only.example {\n hosts {\n 192.0.2.8 a.only.example\n }\n}\n",
    )
    .expect("understood");
    let ask = |name: &str, kind| {
        let hosts = block_of(&rules, name).hosts.as_ref().expect("hosts");
        match hosts.answer(&fqdn(name), kind) {
            Said::Records(records) => {
                let lines: Vec<String> =
                    records.iter().map(|record| format!("{} {}", record.ttl, record.data)).collect();
                lines.join(",")
            }
            other => format!("{other:?}"),
        }
    };
    assert_eq!(ask("host.example.", RecordType::A), "60 192.0.2.7");
    assert_eq!(ask("HOST.example.", RecordType::AAAA), "60 fd00::7");
    assert_eq!(ask("other.example.", RecordType::AAAA), "NoData");
    assert_eq!(ask("7.2.0.192.in-addr.arpa.", RecordType::PTR), "60 host.example.,60 other.example.");
    assert_eq!(ask("8.2.0.192.in-addr.arpa.", RecordType::PTR), "Nothing");
    assert_eq!(ask("www.example.", RecordType::A), "Nothing");
    assert_eq!(ask("a.only.example.", RecordType::A), "3600 192.0.2.8");
    assert_eq!(ask("b.only.example.", RecordType::A), "NoName");
}

#[test]
fn what_is_not_understood_is_refused_with_its_line() {
    for (text, said) in [
        (". {\n rewrite name a b\n}\n", "line 2: the plugin rewrite is not supported"),
        (".:5353 {\n}\n", "line 1: port 5353: cluster DNS listens on port 53"),
        ("tls://. {\n}\n", "line 1: tls://.: only plain DNS is served"),
        (". {\n}\n. {\n}\n", "line 3: the zone . has two server blocks"),
        (". {\n forward .\n}\n", "line 2: forward takes 1 to 15 servers"),
        (". {\n forward\n}\n", "line 2: forward takes a zone and servers"),
        (
            ". {\n forward . dns.example\n}\n",
            "line 2: \"dns.example\" is neither an address nor the path of a file",
        ),
        (
            ". {\n forward . tls://192.0.2.1\n}\n",
            "line 2: tls://192.0.2.1: servers are asked by plain DNS only",
        ),
        (". {\n forward . 192.0.2.1 {\n  tls\n }\n}\n", "line 3: forward: the option tls is not supported"),
        (
            ". {\n kubernetes other.local\n}\n",
            "line 2: kubernetes: the cluster's domain is cluster.local., which is not among the zones",
        ),
        (
            ". {\n kubernetes cluster.local {\n  fallthrough\n }\n}\n",
            "line 3: kubernetes: the option fallthrough is not supported",
        ),
        (
            ". {\n kubernetes cluster.local {\n  pods verified\n }\n}\n",
            "line 3: pods verified is not supported",
        ),
        (". {\n kubernetes cluster.local {\n  ttl 3601\n }\n}\n", "line 3: ttl: at most 3600"),
        (". {\n cache 30\n cache 40\n}\n", "line 3: cache stands twice"),
        (
            ". {\n hosts /etc/hosts\n}\n",
            "line 2: hosts: names are written into the block, not read from a file",
        ),
        (". {\n hosts {\n  example 192.0.2.1\n }\n}\n", "line 3: hosts: \"example\" is no address"),
    ] {
        assert_eq!(read(text).err().as_deref(), Some(said), "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn any_directives_are_rules_or_refused(
        lines in proptest::collection::vec(
            ("forward|hosts|cache|kubernetes|ttl|pods|192.0.2.1|fallthrough|\\}|[a-z.]{1,9}", "[ a-z0-9./:{]{0,20}"),
            0..8,
        ),
    ) {
        let body: Vec<String> = lines.iter().map(|(name, rest)| format!("{name} {rest}\n")).collect();
        let _ = read(&format!(". {{\n{}}}\n", body.concat()));
    }
}
