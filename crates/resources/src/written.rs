//! What upstream's types write of an object that does not say it, read from `written.txt`: nothing of the objects
//! themselves, only the zeros by structure. `api::codec::write_zeros` puts them in.

use std::collections::HashMap;
use std::sync::LazyLock;

use api::schema::{Shape, StructId, Types};
use serde_json::Value;

const TABLE: &str = include_str!("written.txt");
/// What a line's structure begins with where it does not say more.
const PREFIX: &str = "io.k8s.api.";

/// The same types, which know their zeros.
pub(crate) fn with_zeros(types: Types) -> Types {
    let zeros: Vec<_> = types.iter().map(|(id, _)| (id, zeros(&types, id))).collect();
    types.with_zeros(zeros)
}

/// The words of the lines by structure.
static LINES: LazyLock<HashMap<String, &str>> = LazyLock::new(|| lines().collect());

fn lines() -> impl Iterator<Item = (String, &'static str)> {
    TABLE.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (name, fields) = line.split_once(' ').unwrap_or((line, ""));
        (if name.starts_with("io.") { name.to_owned() } else { format!("{PREFIX}{name}") }, fields)
    })
}

/// The zeros of a structure's own fields, which its granular variant shares.
fn zeros(types: &Types, id: StructId) -> Vec<(Box<str>, Value)> {
    let structure = types.get(id);
    let name = structure.name.split('#').next().unwrap_or_default();
    let words = LINES.get(name).into_iter().flat_map(|fields| fields.split(' '));
    words
        .map(|word| {
            let name = word.trim_end_matches('?');
            let field = structure.field(name).expect("the table names fields of the structure");
            (name.into(), if word.ends_with('?') { Value::Null } else { zero(types, &field.shape) })
        })
        .collect()
}

/// The zero of a shape as Go writes it.
fn zero(types: &Types, shape: &Shape) -> Value {
    match shape {
        Shape::Bool => false.into(),
        Shape::Int32 | Shape::Int64 | Shape::Float | Shape::IntOrString => 0.into(),
        Shape::String => "".into(),
        Shape::Quantity => "0".into(),
        Shape::Duration => "0s".into(),
        Shape::Struct(id) => {
            let entries = zeros(types, *id).into_iter().map(|(name, value)| (name.into(), value));
            Value::Object(entries.collect())
        }
        Shape::Bytes | Shape::Time | Shape::MicroTime | Shape::Any | Shape::List(_) | Shape::Map(_) => {
            Value::Null
        }
    }
}

#[cfg(test)]
mod tests {
    use api::{GroupVersionKind, Object};
    use serde_json::json;

    use super::*;
    use crate::{builtin_types, schema_of_kind};

    fn written(kind: (&str, &str, &str), object: Value) -> Value {
        let schema = schema_of_kind(&GroupVersionKind::new(kind.0, kind.1, kind.2)).expect("a kind");
        let mut object = Object::from_value(object).expect("an object");
        schema.write_zeros(&mut object);
        let once = object.clone();
        schema.write_zeros(&mut object);
        assert_eq!(object, once, "what is written is not written again");
        object.into_value()
    }

    #[test]
    fn every_line_is_of_a_structure_in_order() {
        let names: Vec<String> = lines().map(|(name, _)| name).collect();
        for name in &names {
            let id = builtin_types().find(name).unwrap_or_else(|| panic!("{name} is no structure"));
            assert!(!builtin_types().zeros(id).is_empty(), "{name}");
        }
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    }

    /// As stock kubectl, whose types are upstream's, writes them.
    #[test]
    fn objects_have_the_zeros_of_upstreams_types() {
        let event = written(("", "v1", "Event"), json!({"involvedObject": {"kind": "Pod"}}));
        let zeros = json!({
            "involvedObject": {"kind": "Pod"}, "source": {}, "firstTimestamp": null, "lastTimestamp": null,
            "eventTime": null, "reportingComponent": "", "reportingInstance": "",
        });
        assert_eq!(event, zeros);
        assert_eq!(written(("rbac.authorization.k8s.io", "v1", "Role"), json!({})), json!({"rules": null}));
        let slice = written(("discovery.k8s.io", "v1", "EndpointSlice"), json!({"endpoints": [{}]}));
        assert_eq!(slice, json!({"endpoints": [{"conditions": {}}], "ports": null}));
        let scaler = written(("autoscaling", "v2", "HorizontalPodAutoscaler"), json!({"spec": {}}));
        assert_eq!(scaler, json!({"spec": {}, "status": {"desiredReplicas": 0, "currentMetrics": null}}));
        assert_eq!(written(("", "v1", "LimitRange"), json!({})), json!({"spec": {"limits": null}}));
        let attachment = written(("storage.k8s.io", "v1", "VolumeAttachment"), json!({}));
        assert_eq!(attachment, json!({"status": {"attached": false}}));
        let job = json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": {}}}}}});
        assert_eq!(
            written(("batch", "v1", "CronJob"), job),
            json!({"spec": {"jobTemplate": {"metadata": {}, "spec": {"template": {"metadata": {}, "spec": {}}}}},
                "status": {}})
        );
    }

    #[test]
    fn what_is_there_stays() {
        let pod = json!({
            "spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": "1"}}}]},
            "status": {"conditions": [{"type": "Ready", "lastProbeTime": null, "lastTransitionTime": "t"}]},
        });
        assert_eq!(written(("", "v1", "Pod"), pod.clone()), pod);
    }
}
