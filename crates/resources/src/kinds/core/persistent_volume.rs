//! Volumes of the cluster.

use api::Object;
use api::field::ErrorList;
use serde_json::json;

use crate::columns::volume;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::status;
use crate::validation::storage;
use crate::validation::warnings;

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new("v1", "persistentvolumes", PersistentVolume)
        .short("pv")
        .returns_deleted()
        .printed(volume::VOLUME, volume::volume)
}

struct PersistentVolume;

impl Logic for PersistentVolume {
    fn default(&self, object: &mut Object) {
        defaults::persistent_volume(object);
    }

    fn prepare_create(&self, object: &mut Object) {
        let mut status = json!({"phase": "Pending"});
        if let Some(created) = object.at(&["metadata", "creationTimestamp"]) {
            status["lastPhaseTransitionTime"] = created.clone();
        }
        status::start(object, status);
    }

    fn date_status(&self, new: &mut Object, old: &Object, now: &str) {
        const TIME: [&str; 2] = ["status", "lastPhaseTransitionTime"];
        let phase = |volume: &Object| volume.at(&["status", "phase"]).cloned();
        let is_given = new.at(&TIME).is_some_and(|time| old.at(&TIME) != Some(time));
        if phase(new) != phase(old) && !is_given {
            new.set_at(&TIME, now.into());
        }
    }

    fn validate(&self, object: &Object) -> ErrorList {
        storage::volume(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&storage::volume_update)
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        warnings::volume(object)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn volume(status: Value) -> Object {
        let object =
            json!({"metadata": {"name": "v", "creationTimestamp": "2026-01-01T00:00:00Z"}, "status": status});
        Object::from_value(object).expect("an object")
    }

    #[test]
    fn the_time_of_the_last_phase_is_noted() {
        let time = |object: &Object| object.str_at(&["status", "lastPhaseTransitionTime"]).map(str::to_owned);
        let mut made = volume(json!({"phase": "Bound"}));
        PersistentVolume.prepare_create(&mut made);
        assert_eq!(time(&made).as_deref(), Some("2026-01-01T00:00:00Z"));
        let dated = |status: Value| {
            let mut new = volume(status);
            PersistentVolume.date_status(&mut new, &made, "2026-02-02T00:00:00Z");
            time(&new)
        };
        let same = json!({"phase": "Pending", "lastPhaseTransitionTime": "2026-01-01T00:00:00Z"});
        assert_eq!(dated(same).as_deref(), Some("2026-01-01T00:00:00Z"));
        let bound = json!({"phase": "Bound", "lastPhaseTransitionTime": "2026-01-01T00:00:00Z"});
        assert_eq!(dated(bound).as_deref(), Some("2026-02-02T00:00:00Z"));
        let given = json!({"phase": "Bound", "lastPhaseTransitionTime": "2026-01-09T00:00:00Z"});
        assert_eq!(dated(given).as_deref(), Some("2026-01-09T00:00:00Z"), "whoever writes may say when");
    }
}
