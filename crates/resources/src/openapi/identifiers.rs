//! The names that documents give to operations, as upstream makes them
//! (`kube-openapi/pkg/common`, `apiserver/pkg/endpoints/installer.go`): generators of clients make functions of them.

use std::fmt::Write;

/// What an operation's id says.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Identity<'a> {
    pub group: &'a str,
    pub version: &'a str,
    pub kind: &'a str,
    pub action: &'a str,
    pub method: &'a str,
    pub subresource: Option<&'a str>,
    pub namespaced: bool,
    pub everywhere: bool,
    /// Of the path below a proxy.
    pub with_path: bool,
}

impl Identity<'_> {
    pub fn id(&self) -> String {
        let verb = match self.action {
            "post" => "create",
            "get" => "read",
            "put" => "replace",
            "deletecollection" => "delete",
            "watchlist" => "watch",
            other => other,
        };
        let mut id = format!("{verb}{}{}", camel_group(self.group), upper_first(self.version));
        match self.action {
            "deletecollection" => id.push_str("Collection"),
            "connect" => id.push_str(&upper_first(self.method)),
            _ => {}
        }
        let namespaced = if self.namespaced && !self.everywhere { "Namespaced" } else { "" };
        let sub = self.subresource.map(upper_first).unwrap_or_default();
        let list = if self.action == "watchlist" { "List" } else { "" };
        let path = if self.with_path { "WithPath" } else { "" };
        let everywhere = if self.everywhere { "ForAllNamespaces" } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(id, "{namespaced}{}{sub}{list}{path}{everywhere}", self.kind);
        id
    }
}

/// `core_v1`, `rbacAuthorization_v1`; without a version that of the group.
pub(super) fn tag(group: &str, version: &str) -> String {
    let group = lower_first(&camel_group(group));
    if version.is_empty() { group } else { format!("{group}_{version}") }
}

/// `apps` → `Apps`, `rbac.authorization.k8s.io` → `RbacAuthorization`, the core group → `Core`.
pub(super) fn camel_group(group: &str) -> String {
    if group.is_empty() {
        return "Core".into();
    }
    group.strip_suffix(".k8s.io").unwrap_or(group).split('.').map(upper_first).collect()
}

pub(super) fn upper_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_upstreams() {
        let pod = Identity { version: "v1", kind: "Pod", namespaced: true, ..Identity::default() };
        let id = |action, method| Identity { action, method, ..pod }.id();
        assert_eq!(id("deletecollection", "delete"), "deleteCoreV1CollectionNamespacedPod");
        assert_eq!(id("watchlist", "get"), "watchCoreV1NamespacedPodList");
        assert_eq!(id("watch", "get"), "watchCoreV1NamespacedPod");
        let proxy = Identity { action: "connect", method: "head", subresource: Some("proxy"), ..pod };
        assert_eq!(proxy.id(), "connectCoreV1HeadNamespacedPodProxy");
        assert_eq!(Identity { with_path: true, ..proxy }.id(), "connectCoreV1HeadNamespacedPodProxyWithPath");
        let everywhere = Identity { action: "watchlist", method: "get", everywhere: true, ..pod };
        assert_eq!(everywhere.id(), "watchCoreV1PodListForAllNamespaces");
        let scale =
            Identity { group: "apps", kind: "Deployment", action: "get", subresource: Some("scale"), ..pod };
        assert_eq!(scale.id(), "readAppsV1NamespacedDeploymentScale");
        assert_eq!(tag("flowcontrol.apiserver.k8s.io", "v1"), "flowcontrolApiserver_v1");
    }
}
