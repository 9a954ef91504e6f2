//! A patch of each kind: a line, an object as stored, a line of three dashes, the patch.

#![no_main]

use api::codec::{self, Limits, structure};
use api::managed::{self, Writer};
use api::{GroupVersion, Object, patch};
use libfuzzer_sys::fuzz_target;
use resources::{Schema, builtin};
use serde_json::Value;

const BETWEEN: &[u8] = b"\n---\n";

fuzz_target!(|input: &[u8]| {
    let Some(at) = input.windows(BETWEEN.len()).position(|window| window == BETWEEN) else { return };
    let (stored, change) = (&input[..at], &input[at + BETWEEN.len()..]);
    let limits = Limits::default();
    let Ok(decoded) = codec::decode_json(stored, &limits) else { return };
    let mut old = decoded.object;
    let Some(GroupVersion { group, version }) = GroupVersion::parse(old.api_version()) else { return };
    let Some(row) = builtin().by_kind(&group, &version, old.kind()) else { return };
    let schema = &row.schema;
    if structure::check(schema.types(), schema.id(), &mut old).is_err() {
        return;
    }
    row.logic.default(&mut old);
    if let Ok(patched) = patch::json(&old.clone().into_value(), change, &limits) {
        sound(patched, schema);
    }
    let Ok((value, _)) = codec::decode_json_value(change, &limits) else { return };
    let mut merged = old.clone().into_value();
    patch::merge(&mut merged, &value);
    sound(merged, schema);
    let Some(change) = Object::from_value(value) else { return };
    if let Ok(patched) = patch::strategic(schema.types(), schema.id(), &old, &change) {
        sound(patched.into_value(), schema);
    }
    apply(&old, change, schema);
});

/// What a patch led to is checked as a body is.
fn sound(patched: Value, schema: &Schema) {
    if let Some(mut object) = Object::from_value(patched) {
        let _ = structure::check(schema.types(), schema.id(), &mut object);
    }
}

/// Server-side apply: of a new object, over what is there, and over what it made itself.
fn apply(old: &Object, mut config: Object, schema: &Schema) {
    let (types, id) = (schema.types(), schema.id());
    config.0.insert("apiVersion".to_owned(), old.api_version().into());
    config.0.insert("kind".to_owned(), old.kind().into());
    if managed::typed::check(types, id, &config).is_err() || structure::check(types, id, &mut config).is_err()
    {
        return;
    }
    let api_version = old.api_version();
    let writer = Writer { manager: "fuzz", api_version, subresource: "", now: jiff::Timestamp::UNIX_EPOCH };
    let _ = managed::apply(types, id, None, config.clone(), false, &writer);
    let Ok(mut applied) = managed::apply(types, id, Some(old), config.clone(), true, &writer) else { return };
    let _ = managed::apply(types, id, Some(&applied), config, false, &writer);
    managed::update(types, id, Some(old), &mut applied, &writer);
}
