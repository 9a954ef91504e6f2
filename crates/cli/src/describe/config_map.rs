//! ConfigMap.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::events::{self, About};
use super::fields::Fields as _;
use super::metadata;
use super::related::DescribeError;
use super::text::{Text, put};
use super::view::View;

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let map = view.object;
    metadata::head(text, map);
    put!(text, 0, "\nData\n====");
    for (key, value) in map.entries("data") {
        put!(text, 0, "{key}:\n----");
        put!(text, 0, "{}", value.as_str().unwrap_or_default());
        put!(text, 0, "");
    }
    put!(text, 0, "\nBinaryData\n====");
    for (key, value) in map.entries("binaryData") {
        put!(text, 0, "{key}: {} bytes", decoded(value).len());
    }
    put!(text, 0, "");
    if view.show_events {
        let found = events::search(view, About::of(map))?;
        events::table(view, text, found);
    }
    Ok(())
}

/// The bytes of a value in base64.
pub fn decoded(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default()
}
