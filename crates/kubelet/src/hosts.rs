//! A pod's host name and its `/etc/hosts`, in upstream's words and layout. Pure.

use std::fmt::Write;

use k8s_openapi::api::core::v1::{HostAlias, Pod};

const HEADER: &str = "# Kubernetes-managed hosts file.\n";
const HEADER_HOST_NETWORK: &str = "# Kubernetes-managed hosts file (host network).\n";
const LOOPBACK: &str = "127.0.0.1\tlocalhost\n\
                        ::1\tlocalhost ip6-localhost ip6-loopback\n\
                        fe00::0\tip6-localnet\n\
                        fe00::0\tip6-mcastprefix\n\
                        fe00::1\tip6-allnodes\n\
                        fe00::2\tip6-allrouters\n";
/// The kernel takes 64 bytes, one of them the terminator.
const HOST_NAME_MAX: usize = 63;

/// What a pod is called by itself and by the cluster's DNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName {
    /// At most 63 bytes.
    pub name: String,
    /// `SUBDOMAIN.NAMESPACE.svc.CLUSTER-DOMAIN`, when the pod has a subdomain.
    pub domain: Option<String>,
}

/// The pod's host name from its spec, else its name, cut where the kernel's limit wants it.
pub fn host_name(pod: &Pod, cluster_domain: &str) -> HostName {
    let spec = pod.spec.as_ref();
    let overriding = spec.and_then(|s| s.hostname_override.as_deref());
    let given = spec.and_then(|s| s.hostname.as_deref()).filter(|h| !h.is_empty());
    let name = overriding.or(given).or(pod.metadata.name.as_deref()).unwrap_or_default();
    let cut = if name.len() > HOST_NAME_MAX {
        let end = (0..=HOST_NAME_MAX).rev().find(|i| name.is_char_boundary(*i)).unwrap_or(0);
        name[..end].trim_end_matches(['-', '.'])
    } else {
        name
    };
    let subdomain = spec.and_then(|s| s.subdomain.as_deref()).filter(|s| !s.is_empty());
    let domain = subdomain.filter(|_| overriding.is_none()).map(|subdomain| {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        format!("{subdomain}.{namespace}.svc.{cluster_domain}")
    });
    HostName { name: cut.to_owned(), domain }
}

/// The hosts file of a pod with its own network.
pub fn managed(pod_ips: &[String], host: &HostName, aliases: &[HostAlias]) -> String {
    let mut out = format!("{HEADER}{LOOPBACK}");
    for ip in pod_ips {
        match &host.domain {
            Some(domain) => writeln!(out, "{ip}\t{0}.{domain}\t{0}", host.name),
            None => writeln!(out, "{ip}\t{}", host.name),
        }
        .expect("writing to a String cannot fail");
    }
    add_aliases(&mut out, aliases);
    out
}

/// The hosts file of a pod in the node's network: the node's own, with the pod's aliases.
pub fn host_network(nodes_file: &str, aliases: &[HostAlias]) -> String {
    let mut out = format!("{HEADER_HOST_NETWORK}{nodes_file}");
    add_aliases(&mut out, aliases);
    out
}

fn add_aliases(out: &mut String, aliases: &[HostAlias]) {
    if aliases.is_empty() {
        return;
    }
    out.push_str("\n# Entries added by HostAliases.\n");
    for alias in aliases {
        let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        writeln!(out, "{}\t{names}", alias.ip).expect("writing to a String cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::PodSpec;

    fn pod(name: &str, spec: PodSpec) -> Pod {
        let mut pod = Pod { spec: Some(spec), ..Pod::default() };
        pod.metadata.name = Some(name.into());
        pod.metadata.namespace = Some("ns".into());
        pod
    }

    #[test]
    fn managed_file_has_header_names_and_aliases() {
        let pod = pod("p", PodSpec { subdomain: Some("sub".into()), ..PodSpec::default() });
        let host = host_name(&pod, "cluster.local");
        let alias = HostAlias { ip: "1.2.3.4".into(), hostnames: Some(vec!["a".into(), "b".into()]) };
        let file = managed(&["10.0.0.5".into()], &host, &[alias]);
        assert!(
            file.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6")
        );
        assert!(file.ends_with(
            "10.0.0.5\tp.sub.ns.svc.cluster.local\tp\n\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"
        ));
    }

    #[test]
    fn long_names_are_cut_and_do_not_end_in_a_dash() {
        let name = format!("{}-{}", "a".repeat(62), "b".repeat(20));
        assert_eq!(host_name(&pod(&name, PodSpec::default()), "c").name, "a".repeat(62));
    }
}
