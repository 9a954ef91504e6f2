//! A pod's `resolv.conf`, from its DNS policy, its DNS config and the node's own file. Pure.
//!
//! The rules and limits are upstream's (`pkg/kubelet/network/dns/dns.go`).

use k8s_openapi::api::core::v1::{Pod, PodDNSConfig};

const MAX_SERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_CHARS: usize = 2048;
/// What makes short service names resolve through the search list.
const CLUSTER_OPTIONS: &str = "ndots:5";

/// The three lists of a `resolv.conf`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolv {
    pub servers: Vec<String>,
    pub searches: Vec<String>,
    pub options: Vec<String>,
}

impl Resolv {
    /// Reads a `resolv.conf`; lines that are none of the three are ignored, the last `search` wins.
    pub fn parse(text: &str) -> Self {
        let mut out = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => out.servers.extend(words.next().map(str::to_owned)),
                Some("search") => out.searches = words.map(|w| trim_dot(w).to_owned()).collect(),
                Some("options") => out.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        out
    }
}

fn trim_dot(name: &str) -> &str {
    if name == "." { name } else { name.strip_suffix('.').unwrap_or(name) }
}

/// What the cluster offers.
#[derive(Debug, Clone, Default)]
pub struct ClusterDns {
    /// Addresses of the cluster's DNS; empty when there is none.
    pub servers: Vec<String>,
    /// `cluster.local`
    pub domain: String,
}

/// The pod's lists and, when something had to give, the text of a warning for an event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodResolv {
    pub resolv: Resolv,
    /// `(reason, message)`: `MissingClusterDNS` or `DNSConfigForming`.
    pub warnings: Vec<(&'static str, String)>,
}

/// The resolver configuration of `pod` on a node whose own is `host`.
pub fn for_pod(pod: &Pod, cluster: &ClusterDns, host: &Resolv) -> PodResolv {
    let spec = pod.spec.as_ref();
    let policy = spec.and_then(|s| s.dns_policy.as_deref()).unwrap_or("ClusterFirst");
    let host_network = spec.and_then(|s| s.host_network).unwrap_or(false);
    let mut out = PodResolv::default();
    out.resolv = match policy {
        "None" => Resolv::default(),
        "ClusterFirstWithHostNet" => cluster_first(pod, policy, cluster, host, &mut out.warnings),
        "ClusterFirst" if !host_network => cluster_first(pod, policy, cluster, host, &mut out.warnings),
        _ => host.clone(),
    };
    if let Some(config) = spec.and_then(|s| s.dns_config.as_ref()) {
        append(&mut out.resolv, config);
    }
    apply_limits(&mut out);
    out
}

fn cluster_first(
    pod: &Pod,
    policy: &str,
    cluster: &ClusterDns,
    host: &Resolv,
    warnings: &mut Vec<(&'static str, String)>,
) -> Resolv {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    if cluster.servers.is_empty() {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        warnings.push((
            "MissingClusterDNS",
            format!(
                "pod: \"{name}_{namespace}({})\". kubelet does not have ClusterDNS IP configured and cannot \
                 create Pod using \"{policy}\" policy. Falling back to \"Default\" policy.",
                pod.metadata.uid.as_deref().unwrap_or_default()
            ),
        ));
        return host.clone();
    }
    let domain = &cluster.domain;
    let mut searches = Vec::new();
    if !domain.is_empty() {
        searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
    }
    add_new(&mut searches, &host.searches);
    Resolv { servers: cluster.servers.clone(), searches, options: vec![CLUSTER_OPTIONS.into()] }
}

fn append(resolv: &mut Resolv, config: &PodDNSConfig) {
    add_new(&mut resolv.servers, config.nameservers.as_deref().unwrap_or_default());
    add_new(&mut resolv.searches, config.searches.as_deref().unwrap_or_default());
    for option in config.options.iter().flatten() {
        let Some(name) = option.name.as_deref() else { continue };
        let text = match option.value.as_deref() {
            Some(value) if !value.is_empty() => format!("{name}:{value}"),
            _ => name.to_owned(),
        };
        match resolv.options.iter_mut().find(|o| o.split(':').next() == Some(name)) {
            Some(existing) => *existing = text,
            None => resolv.options.push(text),
        }
    }
}

fn add_new(list: &mut Vec<String>, more: &[String]) {
    for item in more {
        if !list.contains(item) {
            list.push(item.clone());
        }
    }
}

fn apply_limits(out: &mut PodResolv) {
    if out.resolv.servers.len() > MAX_SERVERS {
        out.resolv.servers.truncate(MAX_SERVERS);
        out.warnings.push((
            "DNSConfigForming",
            format!(
                "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver \
                 line is: {}",
                out.resolv.servers.join(" ")
            ),
        ));
    }
    let before = out.resolv.searches.len();
    out.resolv.searches.truncate(MAX_SEARCHES);
    while out.resolv.searches.join(" ").len() > MAX_SEARCH_CHARS {
        out.resolv.searches.pop();
    }
    if out.resolv.searches.len() < before {
        out.warnings.push((
            "DNSConfigForming",
            format!(
                "Search Line limits were exceeded, some search paths have been omitted, the applied search line \
                 is: {}",
                out.resolv.searches.join(" ")
            ),
        ));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use k8s_openapi::api::core::v1::{PodDNSConfigOption, PodSpec};

    fn pod(policy: &str, config: Option<PodDNSConfig>) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.namespace = Some("ns".into());
        pod.spec =
            Some(PodSpec { dns_policy: Some(policy.into()), dns_config: config, ..PodSpec::default() });
        pod
    }

    fn cluster() -> ClusterDns {
        ClusterDns { servers: vec!["10.96.0.10".into()], domain: "cluster.local".into() }
    }

    #[test]
    fn cluster_first_searches_the_namespace_first() {
        let host = Resolv::parse("# c\nnameserver 1.1.1.1\nsearch example.org.\noptions edns0\n");
        let got = for_pod(&pod("ClusterFirst", None), &cluster(), &host).resolv;
        assert_eq!(got.servers, ["10.96.0.10"]);
        assert_eq!(
            got.searches,
            ["ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.org"]
        );
        assert_eq!(got.options, ["ndots:5"]);
        assert_eq!(for_pod(&pod("Default", None), &cluster(), &host).resolv, host);
    }

    #[test]
    fn config_replaces_options_and_respects_limits() {
        let config = PodDNSConfig {
            nameservers: Some((1..6).map(|i| format!("9.9.9.{i}")).collect()),
            searches: Some(vec!["my.dns".into()]),
            options: Some(vec![PodDNSConfigOption { name: Some("ndots".into()), value: Some("2".into()) }]),
        };
        let got = for_pod(&pod("ClusterFirst", Some(config.clone())), &cluster(), &Resolv::default());
        assert_eq!(got.resolv.servers, ["10.96.0.10", "9.9.9.1", "9.9.9.2"]);
        assert_eq!(got.resolv.options, ["ndots:2"]);
        assert_eq!(got.warnings.len(), 1);
        let none = for_pod(&pod("None", Some(config)), &cluster(), &Resolv::default()).resolv;
        assert_eq!(none.searches, ["my.dns"]);
    }

    #[test]
    fn without_cluster_dns_the_nodes_is_used_and_said_so() {
        let got = for_pod(&pod("ClusterFirst", None), &ClusterDns::default(), &Resolv::default());
        assert_eq!(got.warnings[0].0, "MissingClusterDNS");
    }

    proptest! {
        #[test]
        fn any_file_gives_lists_within_the_limits(
            text in "((nameserver|search|options|#)?[ \t]+[a-z0-9.:]{0,12}[ .a-z]{0,40}\n){0,8}|\\PC{0,80}",
            policy in "ClusterFirst|Default|None|ClusterFirstWithHostNet",
        ) {
            let host = Resolv::parse(&text);
            let made = for_pod(&pod(&policy, None), &cluster(), &host).resolv;
            prop_assert!(made.servers.len() <= MAX_SERVERS && made.searches.len() <= MAX_SEARCHES);
            prop_assert!(made.searches.join(" ").len() <= MAX_SEARCH_CHARS);
            for word in made.servers.iter().chain(&made.searches).chain(&made.options) {
                prop_assert!(!word.contains(char::is_whitespace), "{word:?}");
            }
        }
    }
}
