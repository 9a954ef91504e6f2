//! The types of discovery's documents. Their members are in upstream's order, in which serde writes them
//! (`apimachinery/pkg/apis/meta/v1/types.go`, `api/apidiscovery/v2/types.go`).

use serde::Serialize;
use serde_json::Value;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Versions {
    pub kind: &'static str,
    pub versions: [&'static str; 1],
    #[serde(rename = "serverAddressByClientCIDRs")]
    pub server_address_by_client_cidrs: [Value; 0],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GroupList {
    pub kind: &'static str,
    pub api_version: &'static str,
    pub groups: Vec<Group>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Group {
    /// Absent in a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<&'static str>,
    pub name: String,
    pub versions: Vec<GroupVersionForDiscovery>,
    pub preferred_version: Option<GroupVersionForDiscovery>,
}

#[derive(Serialize, Clone)]
#[serde(rename_all = "camelCase")]
pub(super) struct GroupVersionForDiscovery {
    pub group_version: String,
    pub version: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResourceList<'a> {
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<&'static str>,
    pub group_version: String,
    pub resources: Vec<ApiResource<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiResource<'a> {
    pub name: String,
    pub singular_name: &'a str,
    pub namespaced: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'a str>,
    pub kind: &'a str,
    pub verbs: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub short_names: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<&'a str>,
    /// Changes with the version in which objects are stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_version_hash: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GroupDiscoveryList<'a> {
    pub kind: &'static str,
    pub api_version: String,
    pub metadata: Value,
    pub items: Vec<GroupDiscovery<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GroupDiscovery<'a> {
    pub metadata: GroupMetadata<'a>,
    pub versions: Vec<VersionDiscovery<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GroupMetadata<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VersionDiscovery<'a> {
    pub version: &'a str,
    pub resources: Vec<ResourceDiscovery<'a>>,
    pub freshness: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResourceDiscovery<'a> {
    pub resource: &'a str,
    pub response_kind: ResponseKind<'a>,
    pub scope: &'a str,
    pub singular_resource: &'a str,
    pub verbs: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub short_names: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subresources: Vec<SubresourceDiscovery<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SubresourceDiscovery<'a> {
    pub subresource: &'a str,
    pub response_kind: ResponseKind<'a>,
    pub verbs: Vec<&'a str>,
}

#[derive(Serialize)]
pub(super) struct ResponseKind<'a> {
    pub group: &'a str,
    pub version: &'a str,
    pub kind: &'a str,
}
