//! A body in protobuf: a byte that chooses the kind, then the message in its envelope.

#![no_main]

use api::codec::{Limits, protobuf, structure};
use libfuzzer_sys::fuzz_target;
use resources::builtin;

fuzz_target!(|input: &[u8]| {
    let Some((kind, body)) = input.split_first() else { return };
    let rows = builtin().rows().count();
    let row = builtin().rows().nth(usize::from(*kind) % rows).expect("below their number");
    let Some(messages) = row.schema.messages() else { return };
    let (types, id) = (row.schema.types(), row.schema.id());
    if let Ok(mut object) = protobuf::decode(types, messages, id, body, &Limits::default()) {
        let _ = structure::check(types, id, &mut object);
    }
});
