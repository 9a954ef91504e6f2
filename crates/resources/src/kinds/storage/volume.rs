//! Attachments of volumes to nodes, and classes of their attributes.

use api::Object;
use api::field::ErrorList;

use crate::columns::basic;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::validation::{csi, storage};

pub(in crate::kinds) fn attachment() -> Kind {
    Kind::new("storage.k8s.io/v1", "volumeattachments", Attachment)
        .updated_by_version()
        .returns_deleted()
        .columns(basic::VOLUME_ATTACHMENT)
}

struct Attachment;

impl Logic for Attachment {
    fn validate(&self, object: &Object) -> ErrorList {
        csi::attachment(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&csi::attachment_update)
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        csi::attachment_update(new, old)
    }
}

struct AttributesClass;

impl Logic for AttributesClass {
    fn validate(&self, object: &Object) -> ErrorList {
        storage::attributes_class(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&storage::attributes_class_update)
    }
}

pub(in crate::kinds) fn attributes_class() -> Kind {
    Kind::new("storage.k8s.io/v1", "volumeattributesclasses", AttributesClass)
        .short("vac")
        .returns_deleted()
        .columns(basic::ATTRIBUTES_CLASS)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_a_class_of_attributes_says_stays() {
        let class = |driver: &str, parameters: Value| {
            let class = json!({"metadata": {"name": "c"}, "driverName": driver, "parameters": parameters});
            Object::from_value(class).expect("an object")
        };
        let told = |errors: ErrorList| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
        let gold = class("x.io", json!({"iops": "1"}));
        assert_eq!(told(AttributesClass.validate(&gold)), [""; 0]);
        assert_eq!(
            told(AttributesClass.validate(&class("", json!({})))),
            [
                "driverName: Required value",
                "parameters: Required value: must contain at least one key/value pair",
            ]
        );
        assert_eq!(
            told(storage::attributes_class_update(&class("y.io", json!({"iops": "2"})), &gold)),
            [
                "driverName: Forbidden: updates to driverName are forbidden.",
                "parameters: Forbidden: updates to parameters are forbidden.",
            ]
        );
    }
}
