//! Whether a node of the name is in the cluster already, on another machine.

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client};
use kubelet::node::Machine;

use crate::api_error::words;

/// Looks for a node of the name that is Ready and not this machine.
///
/// # Errors
/// When there is one, or the server does not take the token.
pub async fn check(client: &Client, node: &str, machine: &Machine) -> Result<()> {
    match Api::<Node>::all(client.clone()).get_opt(node).await {
        Ok(Some(found)) => refuse(node, &found, machine),
        Ok(None) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 401 => {
            bail!(
                "the server does not take the token to identify this machine: it has expired, or was made without the usage authentication"
            )
        }
        Err(error) => Err(words(error).context("looking for a node of the same name")),
    }
}

fn refuse(name: &str, node: &Node, machine: &Machine) -> Result<()> {
    let Some(status) = &node.status else { return Ok(()) };
    let ready = status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
    let another = status
        .node_info
        .as_ref()
        .is_some_and(|info| info.machine_id != machine.machine_id || info.system_uuid != machine.system_uuid);
    if ready && another {
        bail!(
            "a node with name {name:?} and status \"Ready\" already exists in the cluster, on another machine: delete that \
             node or give this machine another name with --node-name"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(ready: &str, machine_id: &str, system_uuid: &str) -> Result<()> {
        let node: Node = serde_json::from_value(json!({"status": {
            "conditions": [{"type": "Ready", "status": ready}],
            "nodeInfo": {"machineID": machine_id, "systemUUID": system_uuid, "bootID": "", "kernelVersion": "", "osImage": "",
                "containerRuntimeVersion": "", "kubeletVersion": "", "kubeProxyVersion": "", "operatingSystem": "", "architecture": ""},
        }}))
        .expect("a node");
        refuse(
            "n1",
            &node,
            &Machine { machine_id: "m".into(), system_uuid: "u".into(), ..Machine::default() },
        )
    }

    #[test]
    fn a_name_belongs_to_the_machine_that_is_ready_under_it() {
        let why = check("True", "other", "other").expect_err("taken").to_string();
        assert!(
            why.starts_with(r#"a node with name "n1" and status "Ready" already exists in the cluster"#),
            "{why}"
        );
        assert!(check("True", "m", "other").is_err(), "a copy of the machine");
        assert!(check("True", "m", "u").is_ok(), "this machine joins again");
        assert!(check("Unknown", "other", "other").is_ok(), "nobody is there any more");
        assert!(refuse("n1", &Node::default(), &Machine::default()).is_ok());
    }
}
