//! What a debug profile changes: the rights of the container, and what a copy keeps of its original.

use serde_json::{Value, json};

use super::{push, without};
use crate::failure::Failure;
use crate::session::Session;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    Legacy,
    General,
    Baseline,
    Restricted,
    NetAdmin,
    SysAdmin,
}

/// What is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Ephemeral,
    Copy,
    Node,
}

impl Profile {
    /// # Errors
    /// When there is none of this name.
    pub fn named(name: &str) -> Result<Self, Failure> {
        Ok(match name {
            "legacy" => Self::Legacy,
            "general" => Self::General,
            "baseline" => Self::Baseline,
            "restricted" => Self::Restricted,
            "netadmin" => Self::NetAdmin,
            "sysadmin" => Self::SysAdmin,
            other => return Err(Failure::message(format!("unknown profile: {other}"))),
        })
    }

    /// Changes a pod and its container of this name, of the list `list`.
    pub fn apply(self, session: &Session, pod: &mut Value, list: &str, name: &str, style: Style) {
        match (self, style) {
            // Whatever the flags say: a Service is not to find the copy.
            (Self::Legacy, Style::Copy) => without(&mut pod["metadata"], "labels"),
            (_, Style::Copy) => {
                forget(session, pod);
                pod["spec"]["shareProcessNamespace"] = true.into();
            }
            _ => {}
        }
        let mut root = false;
        let Some(container) = container(pod, list, name) else { return };
        match (self, style) {
            (Self::Legacy, Style::Node) => root = true,
            (Self::Legacy, _) => {}
            (Self::General, Style::Node) => {
                without(container, "securityContext");
                root = true;
            }
            (Self::General, _) => add(container, &["SYS_PTRACE"]),
            (Self::Baseline, _) => without(container, "securityContext"),
            (Self::Restricted, _) => {
                container["securityContext"] = json!({"runAsNonRoot": true, "allowPrivilegeEscalation": false,
                    "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}});
            }
            (Self::NetAdmin, _) => add(container, &["NET_ADMIN", "NET_RAW"]),
            (Self::SysAdmin, style) => {
                context(container)["privileged"] = true.into();
                root = style == Style::Node;
            }
        }
        if root {
            push(&mut container["volumeMounts"], json!({"mountPath": "/host", "name": "host-root"}));
            push(&mut pod["spec"]["volumes"], json!({"name": "host-root", "hostPath": {"path": "/"}}));
        }
        if root || (self, style) == (Self::NetAdmin, Style::Node) {
            for field in ["hostNetwork", "hostPID", "hostIPC"] {
                pod["spec"][field] = true.into();
            }
        }
    }
}

fn container<'p>(pod: &'p mut Value, list: &str, name: &str) -> Option<&'p mut Value> {
    pod["spec"][list].as_array_mut()?.iter_mut().find(|container| container["name"] == name)
}

fn context(container: &mut Value) -> &mut Value {
    if !container["securityContext"].is_object() {
        container["securityContext"] = json!({});
    }
    &mut container["securityContext"]
}

fn add(container: &mut Value, capabilities: &[&str]) {
    let context = context(container);
    if !context["capabilities"].is_object() {
        context["capabilities"] = json!({});
    }
    capabilities.iter().for_each(|one| push(&mut context["capabilities"]["add"], json!(one)));
}

/// Takes out of a copy what is not to be kept.
fn forget(session: &Session, pod: &mut Value) {
    let flags = &session.flags;
    for key in ["labels", "annotations"] {
        if !flags.bool(&format!("keep-{key}")) {
            without(&mut pod["metadata"], key);
        }
    }
    let spec = &mut pod["spec"];
    for container in spec["containers"].as_array_mut().into_iter().flatten() {
        for probe in ["liveness", "readiness", "startup"] {
            if !flags.bool(&format!("keep-{probe}")) {
                without(container, &format!("{probe}Probe"));
            }
        }
    }
    if !flags.bool("keep-init-containers") {
        without(spec, "initContainers");
    }
}
