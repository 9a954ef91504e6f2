use expressions::Program;
use serde_json::{Value, json};

use super::super::{Structural, extents, rules};

/// What a rule costs at most for a value of a schema.
fn worst(schema: &Value, rule: &str) -> u64 {
    let structural = Structural::read(schema);
    let of = rules::declared(&structural, false);
    let (extent, _) = extents::of(&structural, false);
    let program = Program::compile(rule, &[("self", &of), ("oldSelf", &of)]).expect("a rule");
    program.worst_cost(&[&of, &of], &extent)
}

fn array(of: Value) -> Value {
    json!({"type": "array", "items": of})
}

fn map(of: Value) -> Value {
    json!({"type": "object", "additionalProperties": of})
}

/// The figures of upstream's `TestCostEstimation`: without limits, and with one.
#[test]
fn costs_are_upstreams() {
    let (number, text, flag) =
        (json!({"type": "number"}), json!({"type": "string"}), json!({"type": "boolean"}));
    let either = json!({"x-kubernetes-int-or-string": true});
    let object = json!({"type": "object", "required": ["required"], "properties": {"required": text, "optional": text}});
    let all = "self.all(x, true)";
    let cases: [(Value, &str, u64, u64, u64); 22] = [
        (array(number.clone()), all, 4_718_591, 10, 32),
        (array(text.clone()), all, 3_145_727, 20, 62),
        (array(flag.clone()), all, 1_887_437, 5, 17),
        (array(array(number.clone())), all, 3_145_727, 100, 302),
        (array(object.clone()), all, 555_128, 50, 152),
        (map(number.clone()), all, 1_348_169, 10, 32),
        (map(text.clone()), all, 1_179_647, 3, 11),
        (map(flag), all, 943_718, 100, 302),
        (text.clone(), "self.contains('test')", 314_574, 10, 5),
        (text.clone(), "self.startsWith('test')", 2, 15, 2),
        (text.clone(), r#"size(self + "hello") > size("hello")"#, 314_578, 4, 7),
        (array(number.clone()), "self[1] == 0.0", 2, 5000, 2),
        (array(text.clone()), "self[1] == self[1]", 314_577, 8, 314_577),
        (text.clone(), r#"self.matches("x")"#, 314_574, 50, 22),
        (text.clone(), r#""".matches("(((((((((())))))))))[0-9]")"#, 7, 10, 7),
        (text.clone(), r#"self.matches("")"#, 1, 100, 1),
        (map(text.clone()), "self.all(x, x.contains(self[x]))", 2_752_507, 10, 62 + 10),
        (text, r#"self == "x""#, 2, 0, 1),
        (array(number.clone()), "self.all(x, x == 0.0)", 6_291_454, 3 * 1024 * 2048, 25_165_826),
        (array(map(object)), r#"self.all(x, x["y"].required == "z")"#, 7_340_027, 10, 72),
        (array(either.clone()), all, 4_718_591, 10, 32),
        (array(either), "self[0] == 5", 3, 10, 3),
    ];
    for (mut schema, rule, free, limit, limited) in cases {
        assert_eq!(worst(&schema, rule), free, "{rule} of {schema}");
        let key = match schema["type"].as_str() {
            Some("array") => "maxItems",
            Some("object") => "maxProperties",
            _ => "maxLength",
        };
        schema[key] = json!(limit);
        assert_eq!(worst(&schema, rule), limited, "{rule} of {schema}");
    }
    let numbers = json!({"type": "array", "items": number, "maxItems": 10});
    assert_eq!(worst(&numbers, "self.all(x, self.all(y, true))"), 352);
    assert_eq!(worst(&numbers, "self.all(x, self.all(y, self.all(z, true)))"), 3552);
}
