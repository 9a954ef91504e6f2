//! What drivers say of this node, in the API: the CSINode object, and on the Node the drivers' ids and topology.
//!
//! [`with_driver`], [`without_driver`] and [`node_changes`] decide and are pure; [`CsiNodes`] reads and writes.

use std::collections::BTreeMap;
use std::time::Duration;

use base::backoff::Policy;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::storage::v1::{CSINode, CSINodeDriver, CSINodeSpec, VolumeNodeResources};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

/// The ids of the node, by driver, as JSON.
const NODE_IDS: &str = "csi.volume.kubernetes.io/nodeid";
const MIGRATED: &str = "storage.alpha.kubernetes.io/migrated-plugins";
/// The plugins of upstream's own that are drivers' since v1.33 at the latest.
const MIGRATED_PLUGINS: &str = "kubernetes.io/aws-ebs,kubernetes.io/azure-disk,kubernetes.io/azure-file,\
     kubernetes.io/cinder,kubernetes.io/gce-pd,kubernetes.io/portworx-volume,kubernetes.io/vsphere-volume";
const RETRY: Policy = Policy::new(Duration::from_millis(10), Duration::from_secs(2));
const ATTEMPTS: u32 = 5;

/// What a driver says of the node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeInfo {
    pub driver: String,
    pub node_id: String,
    /// How many of the driver's volumes the node may have; no limit where it is not positive.
    pub max_volumes: i64,
    pub topology: BTreeMap<String, String>,
}

/// The object of a node that has no drivers yet.
fn without_drivers(node: &Node) -> CSINode {
    CSINode {
        metadata: ObjectMeta {
            name: node.metadata.name.clone(),
            annotations: Some(BTreeMap::from([(MIGRATED.to_owned(), MIGRATED_PLUGINS.to_owned())])),
            owner_references: Some(vec![OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Node".to_owned(),
                name: node.metadata.name.clone().unwrap_or_default(),
                uid: node.metadata.uid.clone().unwrap_or_default(),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        },
        spec: CSINodeSpec { drivers: Vec::new() },
    }
}

/// Sets the list of plugins that are drivers'. Whether it was another.
fn set_migrated(object: &mut CSINode) -> bool {
    let annotations = object.metadata.annotations.get_or_insert_default();
    annotations.insert(MIGRATED.to_owned(), MIGRATED_PLUGINS.to_owned()).as_deref() != Some(MIGRATED_PLUGINS)
}

/// Adds what a driver says; `None` where it is known.
pub fn with_driver(mut object: CSINode, info: &NodeInfo) -> Option<CSINode> {
    let count = (info.max_volumes > 0).then(|| i32::try_from(info.max_volumes).unwrap_or(i32::MAX));
    let driver = CSINodeDriver {
        name: info.driver.clone(),
        node_id: info.node_id.clone(),
        topology_keys: Some(info.topology.keys().cloned().collect()),
        allocatable: count.map(|count| VolumeNodeResources { count: Some(count) }),
    };
    let keys = |driver: &CSINodeDriver| {
        let mut keys = driver.topology_keys.clone().unwrap_or_default();
        keys.sort();
        keys
    };
    let is_known = object.spec.drivers.iter().any(|known| {
        known.name == driver.name
            && known.node_id == driver.node_id
            && known.allocatable == driver.allocatable
            && keys(known) == keys(&driver)
    });
    if !set_migrated(&mut object) && is_known {
        return None;
    }
    object.spec.drivers.retain(|known| known.name != driver.name);
    object.spec.drivers.push(driver);
    Some(object)
}

/// Whether what is written of a driver has to be taken out before what it says now can be written: the API lets nothing
/// of a driver be changed in place but for how many volumes there is room.
fn is_replaced(object: &CSINode, info: &NodeInfo) -> bool {
    let keys: Vec<&String> = info.topology.keys().collect();
    let written = object.spec.drivers.iter().find(|known| known.name == info.driver);
    written.is_some_and(|known| {
        known.node_id != info.node_id || !known.topology_keys.iter().flatten().eq(keys.iter().copied())
    })
}

/// Takes a driver out; `None` where it is not in it.
pub fn without_driver(mut object: CSINode, driver: &str) -> Option<CSINode> {
    let before = object.spec.drivers.len();
    object.spec.drivers.retain(|known| known.name != driver);
    (object.spec.drivers.len() != before).then_some(object)
}

/// What of the Node's metadata has to change for a driver, or where `info` is `None` for its end, as a merge patch.
///
/// # Errors
/// When the node has other labels than the driver says, or its annotation cannot be read.
pub fn node_changes(node: &Node, driver: &str, info: Option<&NodeInfo>) -> Result<Option<Value>, String> {
    let labels = node.metadata.labels.clone().unwrap_or_default();
    let topology = info.map(|info| info.topology.clone()).unwrap_or_default();
    for (key, value) in &topology {
        if let Some(current) = labels.get(key).filter(|current| *current != value) {
            return Err(format!(
                "detected topology value collision: driver reported {key:?}:{value:?} but existing label is \
                 {key:?}:{current:?}"
            ));
        }
    }
    let written = node.metadata.annotations.as_ref().and_then(|all| all.get(NODE_IDS));
    let mut ids: BTreeMap<String, String> = match written.filter(|text| !text.is_empty()) {
        None => BTreeMap::new(),
        Some(text) => serde_json::from_str(text).map_err(|error| {
            format!("failed to parse node's {NODE_IDS:?} annotation value ({text:?}) err={error}")
        })?,
    };
    let changed = match info {
        Some(info) => ids.insert(driver.to_owned(), info.node_id.clone()).as_ref() != Some(&info.node_id),
        None => ids.remove(driver).is_some(),
    };
    if !changed && topology.keys().all(|key| labels.contains_key(key)) {
        return Ok(None);
    }
    let ids = (!ids.is_empty()).then(|| json!(ids).to_string());
    let metadata = json!({
        "uid": node.metadata.uid,
        "resourceVersion": node.metadata.resource_version,
        "annotations": {NODE_IDS: ids},
        "labels": topology,
    });
    Ok(Some(json!({"metadata": metadata})))
}

/// Keeps what drivers say of one node in the API.
pub struct CsiNodes {
    client: Client,
    node: String,
}

impl CsiNodes {
    pub fn new(client: Client, node: &str) -> Self {
        Self { client, node: node.to_owned() }
    }

    /// Makes the object of a node without drivers, where there is none: schedulers and controllers learn by it which
    /// plugins are drivers'.
    ///
    /// # Errors
    /// When the API refuses, in words.
    pub async fn ensure(&self) -> Result<(), String> {
        again(|| async {
            let mut object = self.object().await?;
            if set_migrated(&mut object) {
                self.replace(&object).await?;
            }
            Ok(())
        })
        .await
        .map_err(|error| format!("failed to initialize CSINode: {error}"))
    }

    /// Writes what a driver says.
    ///
    /// # Errors
    /// When the API refuses, in words.
    pub async fn install(&self, info: &NodeInfo) -> Result<(), String> {
        if info.node_id.is_empty() {
            return Err("error adding CSI driver node info: driverNodeID must not be empty".to_owned());
        }
        let written = again(|| self.change_node(&info.driver, Some(info))).await;
        written.map_err(|error| format!("error updating Node object with CSI driver node info: {error}"))?;
        let written = again(|| self.write_driver(info)).await;
        written.map_err(|error| format!("error updating CSINode object with CSI driver node info: {error}"))
    }

    /// Removes what a driver said.
    ///
    /// # Errors
    /// When the API refuses, in words.
    pub async fn uninstall(&self, driver: &str) -> Result<(), String> {
        let written = again(|| async {
            let api: Api<CSINode> = Api::all(self.client.clone());
            let object = api.get_opt(&self.node).await.map_err(|error| client::message(&error))?;
            match object.and_then(|object| without_driver(object, driver)) {
                Some(object) => self.replace(&object).await.map(drop),
                None => Ok(()),
            }
        });
        let written = written.await;
        written.map_err(|error| format!("error uninstalling CSI driver from CSINode object {error}"))?;
        let written = again(|| self.change_node(driver, None)).await;
        written.map_err(|error| format!("error removing CSI driver node info from Node object {error}"))
    }

    async fn object(&self) -> Result<CSINode, String> {
        let api: Api<CSINode> = Api::all(self.client.clone());
        if let Some(object) = api.get_opt(&self.node).await.map_err(|error| client::message(&error))? {
            return Ok(object);
        }
        let made = without_drivers(&self.node().await?);
        api.create(&PostParams::default(), &made).await.map_err(|error| client::message(&error))
    }

    /// In two steps where the API wants the driver to be new.
    async fn write_driver(&self, info: &NodeInfo) -> Result<(), String> {
        let mut object = self.object().await?;
        let Some(mut next) = with_driver(object.clone(), info) else { return Ok(()) };
        if is_replaced(&object, info)
            && let Some(fewer) = without_driver(object, &info.driver)
        {
            object = self.replace(&fewer).await?;
            let Some(anew) = with_driver(object, info) else { return Ok(()) };
            next = anew;
        }
        self.replace(&next).await.map(drop)
    }

    async fn replace(&self, object: &CSINode) -> Result<CSINode, String> {
        let api: Api<CSINode> = Api::all(self.client.clone());
        let written = api.replace(&self.node, &PostParams::default(), object).await;
        written.map_err(|error| client::message(&error))
    }

    async fn node(&self) -> Result<Node, String> {
        let api: Api<Node> = Api::all(self.client.clone());
        api.get(&self.node).await.map_err(|error| client::message(&error))
    }

    async fn change_node(&self, driver: &str, info: Option<&NodeInfo>) -> Result<(), String> {
        let Some(patch) = node_changes(&self.node().await?, driver, info)? else { return Ok(()) };
        let api: Api<Node> = Api::all(self.client.clone());
        let written = api.patch(&self.node, &PatchParams::default(), &Patch::Merge(patch)).await;
        written.map(drop).map_err(|error| client::message(&error))
    }
}

/// Tries a few times: others write the same objects.
async fn again<F: Future<Output = Result<(), String>>>(attempt: impl Fn() -> F) -> Result<(), String> {
    let mut failures = 0;
    loop {
        match attempt().await {
            Err(_) if failures + 1 < ATTEMPTS => {
                failures += 1;
                tokio::time::sleep(RETRY.delay(failures)).await;
            }
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;
    use futures::FutureExt;
    use http::{Request, Response};
    use http_body_util::Full;
    use kube::client::Body;

    use super::*;

    fn info(max_volumes: i64) -> NodeInfo {
        NodeInfo {
            driver: "d".into(),
            node_id: "n-1".into(),
            max_volumes,
            topology: BTreeMap::from([("d/zone".to_owned(), "a".to_owned())]),
        }
    }

    fn node(metadata: Value) -> Node {
        serde_json::from_value(json!({"metadata": metadata})).expect("a node")
    }

    #[test]
    fn a_driver_is_written_once_and_taken_out_again() {
        let empty = without_drivers(&node(json!({"name": "n", "uid": "u"})));
        let owner = empty.metadata.owner_references.as_ref().and_then(|list| list.first()).expect("an owner");
        assert_eq!((owner.kind.as_str(), owner.uid.as_str()), ("Node", "u"));
        let written = with_driver(empty, &info(3)).expect("news");
        let driver = &written.spec.drivers[0];
        assert_eq!(driver.allocatable.as_ref().and_then(|a| a.count), Some(3));
        assert_eq!(driver.topology_keys.as_deref(), Some(&["d/zone".to_owned()][..]));
        assert_eq!(with_driver(written.clone(), &info(3)), None);
        let other = with_driver(written, &info(0)).expect("news");
        assert_eq!((other.spec.drivers.len(), &other.spec.drivers[0].allocatable), (1, &None));
        assert_eq!(without_driver(other.clone(), "e"), None);
        assert!(without_driver(other, "d").is_some_and(|left| left.spec.drivers.is_empty()));
    }

    /// An API that has one node and lets nothing of a driver be changed but its room; tells what drivers each write left.
    fn api(writes: Arc<Mutex<Vec<Value>>>, drivers: Value) -> Client {
        let mut csi_node = json!({"metadata": {"name": "n", "resourceVersion": "1",
            "annotations": {MIGRATED: MIGRATED_PLUGINS}}, "spec": {"drivers": drivers}});
        let node = json!({"metadata": {"name": "n", "resourceVersion": "1"}});
        client::in_process(tower::service_fn(move |request: Request<Body>| {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().now_or_never().expect("the whole body").expect("a body");
            let answer = if !parts.uri.path().contains("csinodes") {
                node.clone()
            } else if parts.method == "PUT" {
                let mut next: Value = serde_json::from_slice(&body).expect("JSON");
                let said = |object: &Value| object["spec"]["drivers"].as_array().cloned().unwrap_or_default();
                let is_kept = |old: &Value| {
                    said(&next).iter().filter(|new| new["name"] == old["name"]).all(|new| {
                        (&new["nodeID"], &new["topologyKeys"]) == (&old["nodeID"], &old["topologyKeys"])
                    })
                };
                assert!(said(&csi_node).iter().all(is_kept), "field is immutable");
                assert_eq!(next["metadata"]["resourceVersion"], csi_node["metadata"]["resourceVersion"]);
                let mut writes = writes.lock().expect("no panic");
                writes.push(next["spec"]["drivers"].clone());
                next["metadata"]["resourceVersion"] = json!((writes.len() + 1).to_string());
                csi_node = next;
                csi_node.clone()
            } else {
                csi_node.clone()
            };
            async move { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(answer.to_string())))) }
        }))
    }

    #[tokio::test]
    async fn a_driver_that_says_otherwise_is_taken_out_and_written_anew() {
        let other = json!({"name": "e", "nodeID": "x", "topologyKeys": []});
        let now = json!({"name": "d", "nodeID": "n-1", "topologyKeys": ["d/zone"]});
        let installed = async |known: Value| {
            let writes = Arc::new(Mutex::new(Vec::new()));
            let nodes = CsiNodes::new(api(writes.clone(), json!([known, other])), "n");
            nodes.install(&info(0)).await.expect("written");
            std::mem::take(&mut *writes.lock().expect("no panic"))
        };
        assert_eq!(installed(now.clone()).await, [] as [Value; 0]);
        let id = json!({"name": "d", "nodeID": "n-0", "topologyKeys": ["d/zone"]});
        assert_eq!(installed(id).await, [json!([other]), json!([other, now])]);
        let keys = json!({"name": "d", "nodeID": "n-1", "topologyKeys": ["d/rack", "d/zone"]});
        assert_eq!(installed(keys).await, [json!([other]), json!([other, now])]);
        let mut room = now.clone();
        room["allocatable"] = json!({"count": 3});
        assert_eq!(installed(room).await, [json!([other, now])], "room alone is changed in place");
    }

    #[test]
    fn the_node_has_ids_and_topology() {
        let bare = node(json!({"name": "n", "uid": "u", "resourceVersion": "7"}));
        let patch = node_changes(&bare, "d", Some(&info(0))).expect("fits").expect("news");
        assert_eq!(patch.pointer("/metadata/annotations"), Some(&json!({NODE_IDS: "{\"d\":\"n-1\"}"})));
        assert_eq!(patch.pointer("/metadata/labels"), Some(&json!({"d/zone": "a"})));
        let known = json!({"annotations": {NODE_IDS: "{\"d\":\"n-1\"}"}, "labels": {"d/zone": "a"}});
        assert_eq!(node_changes(&node(known.clone()), "d", Some(&info(0))), Ok(None));
        let gone = node_changes(&node(known), "d", None).expect("fits").expect("news");
        assert_eq!(gone.pointer("/metadata/annotations"), Some(&json!({NODE_IDS: null})));
        let elsewhere = node(json!({"labels": {"d/zone": "b"}}));
        let text = "detected topology value collision: driver reported \"d/zone\":\"a\" but existing label is \
                    \"d/zone\":\"b\"";
        assert_eq!(node_changes(&elsewhere, "d", Some(&info(0))), Err(text.to_owned()));
        assert!(node_changes(&node(json!({"annotations": {NODE_IDS: "x"}})), "d", None).is_err());
    }
}
