//! A create's body: YAML, of which JSON is a part, through all that happens to an object before it is written.

#![no_main]

use api::GroupVersion;
use api::codec::{self, Limits, structure};
use libfuzzer_sys::fuzz_target;
use resources::builtin;

fuzz_target!(|body: &[u8]| {
    let limits = Limits::default();
    let Ok(decoded) = codec::decode_json(body, &limits).or_else(|_| codec::decode_yaml(body, &limits)) else {
        return;
    };
    let mut object = decoded.object;
    let Some(GroupVersion { group, version }) = GroupVersion::parse(object.api_version()) else { return };
    let Some(row) = builtin().by_kind(&group, &version, object.kind()) else { return };
    let (types, id) = (row.schema.types(), row.schema.id());
    let _ = api::managed::typed::check(types, id, &object);
    if structure::check(types, id, &mut object).is_err() {
        return;
    }
    row.logic.default(&mut object);
    row.logic.prepare_create(&mut object);
    let _ = row.logic.validate(&object);
    let _ = row.logic.warnings_on_create(&object);
    codec::omit_empty(types, id, &mut object);
});
