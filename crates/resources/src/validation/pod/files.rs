//! The files of a volume that shows keys of an object, or fields of the pod.

use api::field::{ErrorList, FieldError, Path};
use serde_json::Value;

use super::env;
use crate::validation::{check, read};

/// Fields of the pod a file may show.
const FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

pub(super) fn keys_to_paths(errors: &mut ErrorList, path: &Path<'_>, source: &Value) {
    for (i, item) in read::list(source, "items").iter().enumerate() {
        let at = path.index(i);
        check::required(errors, &at.child("key"), read::text(item, "key"));
        let file = read::text(item, "path");
        check::required(errors, &at.child("path"), file);
        check::non_reserved_path(errors, &at.child("path"), file);
        check::file_mode(errors, &at.child("mode"), read::int(item, "mode"));
    }
}

pub(super) fn downward_file(errors: &mut ErrorList, path: &Path<'_>, file: &Value) {
    let name = read::text(file, "path");
    check::required(errors, &path.child("path"), name);
    check::non_reserved_path(errors, &path.child("path"), name);
    let resource = read::get(file, "resourceFieldRef");
    match (read::get(file, "fieldRef"), resource) {
        (Some(field), other) => {
            env::field_ref(errors, &path.child("fieldRef"), field, &FIELDS);
            if other.is_some() {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(FieldError::invalid(path, "resource", detail));
            }
        }
        (None, Some(resource)) => {
            env::resource_ref(errors, &path.child("resourceFieldRef"), resource, true);
        }
        (None, None) => {
            errors.push(FieldError::required(path, "one of fieldRef and resourceFieldRef is required"));
        }
    }
    check::file_mode(errors, &path.child("mode"), read::int(file, "mode"));
}
