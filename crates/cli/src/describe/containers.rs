//! The containers of a pod or of a pod's template.

use serde_json::Value;

use super::environment;
use super::fields::{Fields as _, or};
use super::probes;
use super::text::{Text, put};
use super::view::View;
use crate::printing::go_text;

/// What is known beside the containers themselves; templates know nothing.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    pub view: &'a View<'a>,
    /// The pod, whose fields environments refer to.
    pub pod: Option<&'a Value>,
    /// Where in the pod the containers' statuses are.
    pub statuses: &'a str,
    /// Before titles, in templates.
    pub space: &'a str,
}

pub fn write(text: &mut Text, label: &str, containers: &[Value], known: Known<'_>) {
    let none = if containers.is_empty() { " <none>" } else { "" };
    put!(text, 0, "{}{label}:{none}", known.space);
    let statuses = known.pod.map_or(&[] as &[Value], |pod| pod.items(known.statuses));
    for container in containers {
        let name = container.text("name");
        let status = statuses.iter().rev().find(|status| status.text("name") == name);
        basics(text, container, status, known.space);
        words(text, "Command", container.texts("command"));
        words(text, "Args", container.texts("args"));
        if let Some(status) = status {
            states(text, status, known.view);
        }
        if let Some(resources) = container.at("resources") {
            self::resources(text, resources, 2);
        }
        for (title, field) in
            [("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"), ("Startup", "startupProbe")]
        {
            if let Some(probe) = container.at(field) {
                put!(text, 2, "{title}:\t{}", probes::shown(probe));
            }
        }
        environment::write(text, container, known.pod);
        mounts(text, container);
    }
}

fn basics(text: &mut Text, container: &Value, status: Option<&Value>, space: &str) {
    let indent = if space.is_empty() { "" } else { " " };
    put!(text, 1, "{indent}{}:", container.text("name"));
    if let Some(status) = status {
        put!(text, 2, "Container ID:\t{}", status.text("containerID"));
    }
    put!(text, 2, "Image:\t{}", container.text("image"));
    if let Some(status) = status {
        put!(text, 2, "Image ID:\t{}", status.text("imageID"));
    }
    for (one, many, field) in [("Port", "Ports", "containerPort"), ("Host Port", "Host Ports", "hostPort")] {
        let ports: Vec<String> =
            container.items("ports").iter().map(|port| self::port(port, field)).collect();
        let shown = ports.join(", ");
        if shown.contains(',') {
            put!(text, 2, "{many}:\t{shown}");
        } else {
            put!(text, 2, "{one}:\t{}", or(&shown, "<none>"));
        }
    }
    seccomp(text, container, 2, 3);
}

fn port(port: &Value, field: &str) -> String {
    let shown = format!("{}/{}", port.number(field), port.text("protocol"));
    match port.text("name") {
        "" => shown,
        name => format!("{shown} ({name})"),
    }
}

/// The seccomp profile of a container or of a pod's spec.
pub fn seccomp(text: &mut Text, holder: &Value, level: usize, inner: usize) {
    if let Some(profile) = holder.at("securityContext.seccompProfile") {
        put!(text, level, "SeccompProfile:\t{}", profile.text("type"));
        if profile.text("type") == "Localhost" {
            put!(text, inner, "LocalhostProfile:\t{}", profile.text("localhostProfile"));
        }
    }
}

fn words(text: &mut Text, title: &str, words: Vec<&str>) {
    if words.is_empty() {
        return;
    }
    put!(text, 2, "{title}:");
    for part in words.iter().flat_map(|word| word.split('\n')) {
        put!(text, 3, "{part}");
    }
}

pub fn resources(text: &mut Text, resources: &Value, level: usize) {
    for (title, field) in [("Limits", "limits"), ("Requests", "requests")] {
        let entries = resources.entries(field);
        if !entries.is_empty() {
            put!(text, level, "{title}:");
        }
        for (name, value) in entries {
            put!(text, level + 1, "{name}:\t{}", super::fields::quantity(Some(value)));
        }
    }
}

fn states(text: &mut Text, status: &Value, view: &View<'_>) {
    state(text, "State", status.at("state"), view);
    if status.has("lastState.terminated") {
        state(text, "Last State", status.at("lastState"), view);
    }
    put!(text, 2, "Ready:\t{}", if status.flag("ready") { "True" } else { "False" });
    put!(text, 2, "Restart Count:\t{}", status.number("restartCount"));
}

fn state(text: &mut Text, title: &str, state: Option<&Value>, view: &View<'_>) {
    let part = |name: &str| state.and_then(|state| state.at(name));
    if let Some(running) = part("running") {
        put!(text, 2, "{title}:\tRunning");
        put!(text, 3, "Started:\t{}", view.time(running.at("startedAt")));
    } else if let Some(ended) = part("waiting").is_none().then(|| part("terminated")).flatten() {
        put!(text, 2, "{title}:\tTerminated");
        for (title, field) in [("Reason", "reason"), ("Message", "message")] {
            if !ended.text(field).is_empty() {
                put!(text, 3, "{title}:\t{}", ended.text(field));
            }
        }
        put!(text, 3, "Exit Code:\t{}", ended.number("exitCode"));
        if ended.number("signal") > 0 {
            put!(text, 3, "Signal:\t{}", ended.number("signal"));
        }
        put!(text, 3, "Started:\t{}", view.time(ended.at("startedAt")));
        put!(text, 3, "Finished:\t{}", view.time(ended.at("finishedAt")));
    } else {
        put!(text, 2, "{title}:\tWaiting");
        let reason = part("waiting").map_or("", |waiting| waiting.text("reason"));
        if !reason.is_empty() {
            put!(text, 3, "Reason:\t{reason}");
        }
    }
}

fn mounts(text: &mut Text, container: &Value) {
    let mut mounts: Vec<&Value> = container.items("volumeMounts").iter().collect();
    mounts.sort_by_key(|mount| mount.text("mountPath"));
    let none = if mounts.is_empty() { "\t<none>" } else { "" };
    put!(text, 2, "Mounts:{none}");
    for mount in mounts {
        let mut flags = if mount.flag("readOnly") { "ro".to_owned() } else { "rw".to_owned() };
        if !mount.text("subPath").is_empty() {
            flags.push_str(&format!(",path={}", go_text::quote(mount.text("subPath"))));
        }
        put!(text, 3, "{} from {} ({flags})", mount.text("mountPath"), mount.text("name"));
    }
    let mut devices: Vec<&Value> = container.items("volumeDevices").iter().collect();
    if devices.is_empty() {
        return;
    }
    devices.sort_by_key(|device| device.text("devicePath"));
    put!(text, 2, "Devices:{none}");
    for device in devices {
        put!(text, 3, "{} from {}", device.text("devicePath"), device.text("name"));
    }
}
