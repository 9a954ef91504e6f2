//! Stock kubectl's output for a scenario: its objects are served over HTTP on the loopback, read-only.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use base::Clock as _;
use cli::describe::{Related as _, ResourceName, Selection};
use serde_json::{Value, json};

use crate::cluster::{Cluster, KINDS};
use crate::scenario::{self, Scenario};

/// The golden file.
pub fn record(kubectl: &Path, scenario: &Scenario, folder: &Path) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let server = format!("http://{}", listener.local_addr().expect("an address"));
    let cluster = Arc::new(Cluster::new(scenario.objects.clone()));
    // Ends with the test's process.
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let cluster = Arc::clone(&cluster);
            std::thread::spawn(move || serve(&cluster, connection));
        }
    });
    let cache = tempfile::tempdir().expect("a folder");
    let mut golden = format!("now: {}\n", base::clock::SystemClock.now());
    for line in &scenario.lines {
        let output = Command::new(kubectl)
            .args(line.arguments())
            .args(["--server", &server, "--cache-dir"])
            .arg(cache.path())
            .env("KUBECONFIG", "/dev/null")
            .env("TZ", "UTC")
            .current_dir(folder)
            .output()
            .expect("kubectl runs");
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        golden.push_str(&format!("$ {}\n{}", line.shown(), scenario::closed(&text)));
    }
    golden
}

fn serve(cluster: &Cluster, mut connection: TcpStream) {
    let mut reader = BufReader::new(connection.try_clone().expect("a second handle"));
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request).unwrap_or(0) == 0 {
            return;
        }
        let mut length = 0;
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if header.trim().is_empty() {
                break;
            }
        }
        let _ = reader.by_ref().take(length).read_to_end(&mut Vec::new());
        let target = request.split(' ').nth(1).unwrap_or_default();
        let (status, body) = answer(cluster, target);
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if connection.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(cluster: &Cluster, target: &str) -> (u16, Value) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["version"] => (200, json!({"major": "1", "minor": "35", "gitVersion": "v1.35.0"})),
        ["api"] => (200, json!({"kind": "APIVersions", "versions": ["v1"]})),
        ["apis"] => (200, groups()),
        ["api", "v1"] => (200, resources("", "v1")),
        ["apis", group, version] => (200, resources(group, version)),
        ["api", "v1", rest @ ..] => objects(cluster, ("", "v1"), rest, query),
        ["apis", group, version, rest @ ..] => objects(cluster, (group, version), rest, query),
        _ => not_found("the server could not find the requested resource"),
    }
}

fn not_found(message: &str) -> (u16, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": message
    });
    (404, status)
}

fn groups() -> Value {
    let mut groups: Vec<Value> = Vec::new();
    for (group, version, ..) in KINDS.iter().filter(|kind| !kind.0.is_empty()) {
        if groups.iter().all(|known| known["name"] != *group) {
            let version = json!({"groupVersion": format!("{group}/{version}"), "version": version});
            groups.push(json!({"name": group, "versions": [version.clone()], "preferredVersion": version}));
        }
    }
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn resources(group: &str, version: &str) -> Value {
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let resources: Vec<Value> = KINDS
        .iter()
        .filter(|kind| kind.0 == group && kind.1 == version)
        .map(|(_, _, plural, kind, namespaced)| {
            json!({"name": plural, "singularName": kind.to_lowercase(), "namespaced": namespaced, "kind": kind,
                   "verbs": ["get", "list"]})
        })
        .collect();
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources})
}

fn objects(cluster: &Cluster, group_version: (&str, &str), rest: &[&str], query: &str) -> (u16, Value) {
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
        _ => (None, rest),
    };
    let (group, version) = group_version;
    match rest {
        [resource, object] => match cluster.get(ResourceName { group, version, resource }, namespace, object)
        {
            Ok(object) => (200, object),
            Err(error) => not_found(&error.message),
        },
        [resource] => {
            let value = |key: &str| {
                let found =
                    query.split('&').filter_map(|pair| pair.split_once('=')).find(|pair| pair.0 == key);
                let text = found.map_or("", |pair| pair.1).replace('+', " ");
                percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned()
            };
            let (labels, fields) = (value("labelSelector"), value("fieldSelector"));
            let selection = Selection { namespace, label_selector: &labels, field_selector: &fields };
            let items = cluster
                .list(ResourceName { group, version, resource }, selection)
                .expect("lists do not fail");
            let kind =
                KINDS.iter().find(|kind| kind.0 == group && kind.2 == *resource).map_or("", |kind| kind.3);
            let api_version =
                if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
            let metadata = json!({"resourceVersion": "1"});
            (
                200,
                json!({"kind": format!("{kind}List"), "apiVersion": api_version, "metadata": metadata, "items": items}),
            )
        }
        _ => not_found("the server could not find the requested resource"),
    }
}
