//! Events: the core group's and those of events.k8s.io are the same with other field names.

use api::Object;

/// (name in events.k8s.io/v1, name in v1); fields not listed are called the same.
const NAMES: [(&str, &str); 7] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("reportingController", "reportingComponent"),
];

pub(super) fn to_core(event: &mut Object) {
    for (new, core) in NAMES {
        rename(event, new, core);
    }
    event.0.insert("apiVersion".into(), "v1".into());
}

pub(super) fn from_core(event: &mut Object) {
    for (new, core) in NAMES {
        rename(event, core, new);
    }
    event.0.insert("apiVersion".into(), "events.k8s.io/v1".into());
}

fn rename(event: &mut Object, from: &str, to: &str) {
    if let Some(value) = event.0.remove(from) {
        event.0.insert(to.into(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn there_and_back_is_the_same() {
        let event = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
            "regarding": {"kind": "Pod"}, "note": "hello", "reason": "R", "type": "Normal",
            "deprecatedCount": 3, "reportingController": "c", "reportingInstance": "i", "action": "a",
            "eventTime": "2026-01-01T00:00:00.000000Z",
        });
        let mut object = Object::from_value(event.clone()).expect("an object");
        to_core(&mut object);
        assert_eq!(object.str_at(&["involvedObject", "kind"]), Some("Pod"));
        assert_eq!(object.str_at(&["message"]), Some("hello"));
        assert_eq!(object.at(&["count"]), Some(&json!(3)));
        assert_eq!(object.api_version(), "v1");
        from_core(&mut object);
        assert_eq!(object.into_value(), event);
    }
}
