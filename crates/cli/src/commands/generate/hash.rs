//! `--append-hash`: a name that changes with the data.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::gojson;

/// How many characters of the hash are taken.
const LENGTH: usize = 10;

/// Appends to the name of a ConfigMap or Secret the hash of what it holds. Letters and digits stand for one another as
/// upstream has them (`k8s.io/kubectl/pkg/util/hash`), so that no word comes about.
pub fn append(object: &mut Value) {
    let data = if object["data"].is_object() { object["data"].clone() } else { json!({}) };
    let mut hashed = json!({"data": data, "kind": object["kind"], "name": object["metadata"]["name"]});
    if object["kind"] == "Secret" {
        hashed["type"] = object["type"].as_str().unwrap_or_default().into();
    }
    if object["binaryData"].is_object() {
        hashed["binaryData"] = object["binaryData"].clone();
    }
    let digest = Sha256::digest(gojson::compact(&hashed).as_bytes());
    let hexadecimal: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let letter = |c: char| match c {
        '0' => 'g',
        '1' => 'h',
        '3' => 'k',
        'a' => 'm',
        'e' => 't',
        c => c,
    };
    let hash: String = hexadecimal.chars().take(LENGTH).map(letter).collect();
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    object["metadata"]["name"] = format!("{name}-{hash}").into();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_as_upstreams() {
        let named = |mut object: Value| {
            append(&mut object);
            object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
        };
        let map = json!({"kind": "ConfigMap", "metadata": {"name": "h1"}, "data": {"a": "b"}});
        assert_eq!(named(map), "h1-m9ffg48bcf");
        assert_eq!(named(json!({"kind": "ConfigMap", "metadata": {"name": "h1"}})), "h1-4k9c5bg7fg");
        let secret = json!({"kind": "Secret", "metadata": {"name": "h1"}, "data": {"a": "Yg=="}});
        assert_eq!(named(secret), "h1-f58k78thhm");
    }
}
