//! Deployments: annotations count as changes too, for their controller copies them.

use api::Object;

use super::status;

pub(super) fn prepare_update(new: &mut Object, old: &Object) {
    status::keep(new, old);
    let annotations = |o: &Object| o.metadata().and_then(|m| m.get("annotations")).cloned();
    if annotations(new) != annotations(old) {
        new.metadata_mut().insert("generation".into(), (old.generation() + 1).into());
    }
}

pub(super) fn prepare_status_update(new: &mut Object, old: &Object) {
    status::keep_all_but_status(new, old);
    status::keep_metadata(new, old, &["labels"]);
}
