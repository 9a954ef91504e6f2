//! Which resource's objects a name of a quota counts.

use api::GroupResource;

const OBJECT_COUNT: &str = "count/";
const STORAGE_CLASS: &str = ".storageclass.storage.k8s.io/";
const DEVICES_OF_CLASS: &str = ".deviceclass.resource.k8s.io/devices";

/// What pods use, besides huge pages and extended resources.
const POD_NAMES: [&str; 10] = [
    "cpu",
    "ephemeral-storage",
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "memory",
    "pods",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// Resources whose objects are counted under their plain name too, from before there was `count/`.
const PLAIN: [&str; 4] = ["configmaps", "replicationcontrollers", "resourcequotas", "secrets"];

/// The name that counts all objects of a resource.
pub fn object_count(resource: &GroupResource) -> String {
    if resource.group.is_empty() {
        return format!("{OBJECT_COUNT}{}", resource.resource);
    }
    format!("{OBJECT_COUNT}{}.{}", resource.resource, resource.group)
}

/// Whether objects of the resource use what the name names.
pub fn concerns(name: &str, resource: &GroupResource) -> bool {
    resource_of(name).is_some_and(|of| of == *resource)
}

/// The resource whose objects use what the name names; `None` where no objects do.
pub fn resource_of(name: &str) -> Option<GroupResource> {
    if let Some(counted) = name.strip_prefix(OBJECT_COUNT) {
        let (plural, group) = counted.split_once('.').unwrap_or((counted, ""));
        return (!plural.is_empty()).then(|| GroupResource::new(group, plural));
    }
    let core = |plural| Some(GroupResource::new("", plural));
    if POD_NAMES.contains(&name) || name.starts_with("hugepages-") || name.starts_with("requests.hugepages-")
    {
        return core("pods");
    }
    if name.strip_suffix(DEVICES_OF_CLASS).is_some_and(|class| !class.is_empty()) {
        return Some(GroupResource::new("resource.k8s.io", "resourceclaims"));
    }
    let claimed = name.rsplit_once(STORAGE_CLASS).map_or(name, |(_, of_class)| of_class);
    match claimed {
        "persistentvolumeclaims" | "requests.storage" => return core("persistentvolumeclaims"),
        "services" | "services.nodeports" | "services.loadbalancers" => return core("services"),
        _ => {}
    }
    if PLAIN.contains(&name) {
        return core(name);
    }
    name.strip_prefix("requests.").filter(|rest| is_extended(rest)).and_then(|_| core("pods"))
}

/// Whether a resource of pods is named by whoever brings it: `example.com/gpu`.
pub(super) fn is_extended(name: &str) -> bool {
    let Some((domain, _)) = name.split_once('/') else { return false };
    domain != "kubernetes.io" && !domain.ends_with(".kubernetes.io") && !name.starts_with("requests.")
}

/// The name of a claim's figure in its storage class.
pub(super) fn in_class(class: &str, name: &str) -> String {
    format!("{class}{STORAGE_CLASS}{name}")
}

/// The name of the figure of a device class: how many of its devices claims may ask for.
pub(super) fn devices_of(class: &str) -> String {
    format!("{class}{DEVICES_OF_CLASS}")
}

/// The resource's own name, where its objects are counted under that.
pub(super) fn plain(resource: &GroupResource) -> Option<&str> {
    (resource.group.is_empty() && PLAIN.contains(&resource.resource.as_str()))
        .then_some(resource.resource.as_str())
}
