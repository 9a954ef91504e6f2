//! Values that do not belong where they stand. Some cannot be held by a [`Value`] (a field given
//! twice, a number of a thousand digits): [`raw`] makes a value that [`text`] writes as it is.

use api::schema::Shape;
use serde_json::{Value, json};

use crate::random::Random;

const LONG: usize = 70_000;
const MARK: &str = "\u{e000}raw\u{e001}";

/// A value written into the text of a document as it is.
fn raw(text: &str) -> Value {
    Value::String(format!("{MARK}{text}{MARK}"))
}

/// The document's text.
pub fn text(document: &Value) -> String {
    let written = document.to_string();
    let quoted = format!("\"{MARK}");
    let Some((before, rest)) = written.split_once(&quoted) else { return written };
    let (inside, after) = rest.split_once(&format!("{MARK}\"")).expect("a mark ends");
    let inside: String = serde_json::from_str(&format!("\"{inside}\"")).expect("a text of a document");
    format!("{before}{inside}{after}")
}

/// What is done to a field.
#[derive(Debug, Clone)]
pub enum Damage {
    /// The field has another value.
    Value(Value),
    /// A field nobody knows stands in the object.
    Unknown(String),
}

const WORDS: [&str; 26] = [
    "",
    " ",
    "a",
    "-",
    "..",
    "/",
    "a/b/c",
    "../../etc/passwd",
    "A_b",
    "*",
    "%",
    "100%",
    "-5%",
    "99999999999999999999%",
    "1e400",
    "-1",
    "0x10",
    "null",
    "\0\u{1}\u{7f}\u{85}",
    "\u{202e}\u{feff}e\u{301}\u{1f600}",
    "a\nb\r\n\tc",
    "\"'`\\$(A)${B}{{}}",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:60+99:99",
    "999999999h",
    "::ffff:300.0.0.1/129",
];

/// Numbers as they may be written, most too large for any field.
const NUMBERS: [&str; 14] = [
    "-1",
    "0",
    "-0.0",
    "1.5",
    "65536",
    "2147483648",
    "-2147483649",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551616",
    "1e308",
    "1e999",
    "-1E-999",
];

/// Quantities at the edges of what they may be.
const QUANTITIES: [&str; 12] = [
    "",
    "-1",
    "1Ei",
    "9E",
    "9223372036854775807Ei",
    "1e999999",
    "0.0000000000001",
    ".",
    "1KiB",
    "1n",
    "+5",
    "00000000000000000000000000000001",
];

/// Something that is wrong for a field of this shape, most of the time.
pub fn damage(shape: &Shape, random: &mut Random) -> Damage {
    if random.once_in(12) {
        return Damage::Unknown(random.pick(&["zz", "", "a b", "\0", "metadata.x", "é\"\\\n"]).to_owned());
    }
    let value = match shape {
        Shape::Quantity if random.once_in(2) => random.pick(&QUANTITIES).into(),
        Shape::Int32 | Shape::Int64 | Shape::Float | Shape::IntOrString if random.once_in(2) => {
            raw(random.pick(&NUMBERS))
        }
        Shape::String | Shape::Bytes | Shape::Time | Shape::MicroTime | Shape::Duration
            if random.once_in(2) =>
        {
            random.pick(&WORDS).into()
        }
        Shape::List(_) if random.once_in(2) => elements(random),
        Shape::Map(_) if random.once_in(2) => entries(random),
        _ => anything(random),
    };
    Damage::Value(value)
}

/// Elements of the wrong type, the same ones twice, or very many.
fn elements(random: &mut Random) -> Value {
    match random.below(8) {
        0 => json!([null]),
        1 => json!([[]]),
        2 => json!([{}, {}]),
        3 => json!(["a", "a"]),
        4 => json!([1, "a", {}, null, true]),
        5 => json!([{"name": "a"}, {"name": "a"}, {"name": null}]),
        6 => vec![json!({}); 1_000].into(),
        _ => json!([{"$patch": "delete"}, {"$patch": 1}]),
    }
}

fn entries(random: &mut Random) -> Value {
    match random.below(7) {
        0 => json!({"": ""}),
        1 => json!({"a": null}),
        2 => json!({"a": {}}),
        3 => json!({"a/b/c": "x", "\0": "y", "é": "z"}),
        4 => json!({"k".repeat(300): "v".repeat(300)}),
        5 => json!({"$patch": "replace", "$retainKeys": 1, "$setElementOrder/x": {}}),
        _ => (0..500).map(|i| (format!("k{i}"), json!(i))).collect::<serde_json::Map<_, _>>().into(),
    }
}

fn anything(random: &mut Random) -> Value {
    match random.below(16) {
        0 => Value::Null,
        1 => true.into(),
        2 => raw(random.pick(&NUMBERS)),
        3 => random.pick(&WORDS).into(),
        4 => json!({}),
        5 => json!([]),
        6 => json!({"a": {"b": [1, {"c": null}]}}),
        7 => "x".repeat(LONG).into(),
        8 => raw(&format!("{}1{}", "[".repeat(90), "]".repeat(90))),
        9 => raw(&format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000))),
        10 => raw(&format!("{}1{}", "{\"a\":".repeat(90), "}".repeat(90))),
        11 => raw(&format!("{}1{}", "{\"a\":".repeat(5_000), "}".repeat(5_000))),
        12 => raw("{\"a\":1,\"a\":2,\"name\":\"x\",\"name\":\"y\"}"),
        13 => raw("\"\\ud800\""),
        14 => raw(&"9".repeat(1_000)),
        _ => entries(random),
    }
}
