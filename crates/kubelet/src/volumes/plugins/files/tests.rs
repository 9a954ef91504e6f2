use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::super::super::sources::TokenKey;
use super::super::{config_map, downward_api, projected, secret};
use super::*;

fn files(volume: Value, security: Value) -> Result<Vec<String>, String> {
    let mut volume = volume;
    volume["name"] = json!("v");
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns", "labels": {"a": "1"}},
        "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1500m"}}}],
            "securityContext": security},
    }))
    .expect("a pod");
    let volume: Volume = serde_json::from_value(volume).expect("a volume");
    let map: ConfigMap =
        serde_json::from_value(json!({"data": {"a": "1", "b": "2"}, "binaryData": {"c": "AA=="}}))
            .expect("map");
    let mut sources = Sources::default();
    sources.config_maps.insert("m".into(), Arc::new(map));
    sources.tokens.insert(TokenKey::new(None, Some(3607)), "tok".into());
    let kinds: [&dyn FileSource; 4] =
        [&config_map::Source, &secret::Source, &downward_api::Source, &projected::Source];
    let source = kinds.into_iter().find(|kind| kind.takes(&volume)).expect("made of files");
    let payload = source.files(&pod, &volume, &sources).map_err(|e| e.to_string())?;
    let line = |(path, f): (&String, &FileProjection)| {
        format!(
            "{path} {:o} {} {}",
            f.mode,
            f.owner.unwrap_or(0),
            String::from_utf8_lossy(&f.data).escape_debug()
        )
    };
    Ok(payload.iter().map(line).collect())
}

#[test]
fn whole_map_items_and_modes() {
    let all = files(json!({"configMap": {"name": "m"}}), json!({})).expect("files");
    assert_eq!(all, ["a 644 0 1", "b 644 0 2", "c 644 0 \\0"]);
    let items = json!([{"key": "b", "path": "d/./x", "mode": 0o400}, {"key": "a", "path": "y"}]);
    let some = files(json!({"configMap": {"name": "m", "items": items, "defaultMode": 0o600}}), json!({}));
    assert_eq!(some.expect("files"), ["d/x 400 0 2", "y 600 0 1"]);
}

#[test]
fn missing_things_are_errors_unless_optional() {
    let check = |volume: Value, expect: &str| {
        assert_eq!(files(volume, json!({})).expect_err("an error"), expect);
    };
    check(json!({"configMap": {"name": "no"}}), "configmap \"no\" not found");
    check(json!({"secret": {"secretName": "no"}}), "secret \"no\" not found");
    let item = json!([{"key": "z", "path": "z"}]);
    check(
        json!({"configMap": {"name": "m", "items": item}}),
        "configmap references non-existent config key: z",
    );
    let hostile = json!([{"key": "a", "path": "../x"}]);
    check(
        json!({"configMap": {"name": "m", "items": hostile}}),
        "invalid path \"../x\": it must be relative and must not contain '..'",
    );
    assert!(
        files(json!({"secret": {"secretName": "no", "optional": true}}), json!({})).expect("ok").is_empty()
    );
}

#[test]
fn projected_joins_its_sources() {
    let volume = json!({"projected": {"sources": [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"configMap": {"name": "m", "items": [{"key": "a", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}},
            {"path": "cpu", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}}]}}]}});
    let plain = files(volume.clone(), json!({})).expect("files");
    assert_eq!(plain, ["ca.crt 644 0 1", "cpu 644 0 2", "ns 644 0 ns", "token 644 0 tok"]);
    let user = files(volume, json!({"runAsUser": 7})).expect("files");
    assert_eq!(user[3], "token 600 7 tok");
}
