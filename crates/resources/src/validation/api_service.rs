//! Who serves a group and version. Source: upstream's
//! `kube-aggregator/pkg/apis/apiregistration/validation/validation.go`.

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::{check, read};

/// The largest priority of a group, and of a version.
const GROUP_PRIORITY_MAX: i64 = 20_000;
const VERSION_PRIORITY_MAX: i64 = 1_000;
const STATUSES: [&str; 3] = ["True", "False", "Unknown"];

/// Everything wrong with an object.
pub(crate) fn api_service(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let spec = read::top(object, "spec");
    let (group, version) = (read::text(spec, "group"), read::text(spec, "version"));
    let required = format!("{version}.{group}");
    if object.name() != required {
        let detail = format!("must be `spec.version+\".\"+spec.group`: {required:?}");
        errors.push(FieldError::invalid(&Path::root("metadata").child("name"), object.name(), detail));
    }
    let root = Path::root("spec");
    let path = root.child("group");
    if group.is_empty() && version != "v1" {
        let detail = "only v1 may have an empty group and it better be legacy kube";
        errors.push(FieldError::required(&path, detail));
    }
    if !group.is_empty() {
        check::faults(&mut errors, &path, group, names::dns1123_subdomain(group));
    }
    check::faults(&mut errors, &root.child("version"), version, names::dns1035_label(version));
    for (key, max) in
        [("groupPriorityMinimum", GROUP_PRIORITY_MAX), ("versionPriority", VERSION_PRIORITY_MAX)]
    {
        let priority = read::int(spec, key).unwrap_or(0);
        if !(1..=max).contains(&priority) {
            let detail = format!("must be positive and less than {max}");
            errors.push(FieldError::invalid(&root.child(key), priority, detail));
        }
    }
    trust(&mut errors, &root, spec);
    errors
}

/// The server and by what it is known.
fn trust(errors: &mut ErrorList, root: &Path<'_>, spec: &Value) {
    let (bundle, insecure) = (read::text(spec, "caBundle"), read::flag(spec, "insecureSkipTLSVerify"));
    let Some(service) = read::get(spec, "service") else {
        if !bundle.is_empty() {
            let value = format!("{} bytes", decoded_len(bundle));
            let detail = "local APIServices may not have a caBundle";
            errors.push(FieldError::invalid(&root.child("caBundle"), value, detail));
        }
        if insecure {
            let detail = "local APIServices may not have insecureSkipTLSVerify";
            errors.push(FieldError::invalid(&root.child("insecureSkipTLSVerify"), true, detail));
        }
        return;
    };
    let path = root.child("service");
    for key in ["namespace", "name"] {
        check::required(errors, &path.child(key), read::text(service, key));
    }
    if insecure && !bundle.is_empty() {
        let detail = "may not be true if caBundle is present";
        errors.push(FieldError::invalid(&root.child("insecureSkipTLSVerify"), true, detail));
    }
}

/// How many bytes a text in base64 stands for.
fn decoded_len(text: &str) -> usize {
    text.trim_end_matches('=').len() * 3 / 4
}

/// Everything wrong with a status.
pub(crate) fn status(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (status, root) = (read::top(object, "status"), Path::root("status"));
    let path = root.child("conditions");
    for (i, condition) in read::list(status, "conditions").iter().enumerate() {
        let value = read::text(condition, "status");
        if !STATUSES.contains(&value) {
            errors.push(FieldError::not_supported(&path.index(i).child("status"), value, &STATUSES));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrong(name: &str, spec: Value) -> Vec<String> {
        let object = json!({"metadata": {"name": name}, "spec": spec});
        let object = Object::from_value(object).expect("an object");
        api_service(&object).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_sound_passes() {
        let remote = json!({"group": "a.example.com", "version": "v1", "groupPriorityMinimum": 20000,
            "versionPriority": 1000, "service": {"namespace": "n", "name": "s", "port": 443}});
        assert_eq!(wrong("v1.a.example.com", remote), [""; 0]);
        let core = json!({"version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1, "service": null});
        assert_eq!(wrong("v1.", core), [""; 0]);
    }

    #[test]
    fn what_is_wrong_is_told_as_upstream_tells() {
        let spec = json!({"version": "v2", "caBundle": "YWJj", "insecureSkipTLSVerify": true,
            "versionPriority": 1001});
        assert_eq!(
            wrong("x", spec),
            [
                r#"metadata.name: Invalid value: "x": must be `spec.version+"."+spec.group`: "v2.""#,
                "spec.group: Required value: only v1 may have an empty group and it better be legacy kube",
                "spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000",
                "spec.versionPriority: Invalid value: 1001: must be positive and less than 1000",
                r#"spec.caBundle: Invalid value: "3 bytes": local APIServices may not have a caBundle"#,
                "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify",
            ]
        );
        let spec = json!({"group": "a", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1,
            "service": {"name": ""}, "caBundle": "YWJj", "insecureSkipTLSVerify": true});
        assert_eq!(
            wrong("v1.a", spec),
            [
                "spec.service.namespace: Required value",
                "spec.service.name: Required value",
                "spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present",
            ]
        );
        let faults = |value: &str| {
            let object = json!({"status": {"conditions": [{"type": "Available", "status": value}]}});
            status(&Object::from_value(object).expect("an object")).len()
        };
        assert_eq!((faults("True"), faults("Maybe")), (0, 1));
    }
}
