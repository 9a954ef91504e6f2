//! What the rules of custom resources cost at most.

use serde_json::{Value, json};

use super::{created, updated};

const PLURAL: &str = "customresourcedefinitions";

fn definition(spec: &Value) -> Value {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": spec}}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "boats.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "boats", "singular": "boat", "kind": "Boat", "listKind": "BoatList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

const SCHEMA: &str = "spec.versions[0].schema.openAPIV3Schema";
const SIMPLIFY: &str = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";

/// The examples of upstream's documentation.
#[test]
fn rules_without_limits_are_refused_and_with_limits_taken() {
    let rules = json!([{"rule": "self.all(x, x.contains('a string'))"}]);
    let free =
        json!({"foo": {"type": "array", "items": {"type": "string"}, "x-kubernetes-validations": rules}});
    let at = format!("{SCHEMA}.properties[spec].properties[foo].x-kubernetes-validations[0].rule");
    assert_eq!(
        created(PLURAL, &definition(&free)),
        [
            format!(
                "{at}: Forbidden: estimated rule cost exceeds budget by factor of more than 100x {SIMPLIFY}"
            ),
            format!(
                "{at}: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
            ),
            format!(
                "{SCHEMA}: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x {SIMPLIFY}"
            ),
        ]
    );
    let limited = json!({"foo": {"type": "array", "maxItems": 25, "items": {"type": "string", "maxLength": 10},
        "x-kubernetes-validations": rules}});
    assert_eq!(created(PLURAL, &definition(&limited)), [""; 0]);
    let within = json!({"foo": {"type": "array", "maxItems": 25, "items": {"type": "string", "maxLength": 10,
        "x-kubernetes-validations": [{"rule": "self.contains('a string')"}]}}});
    assert_eq!(created(PLURAL, &definition(&within)), [""; 0]);
}

/// Texts of numbers have no known length, so what is made of them has no limit.
#[test]
fn expressions_of_messages_are_counted_too() {
    let spec = json!({"workers": {"type": "object", "properties": {"min": {"type": "integer"}, "max": {"type": "integer"}},
        "x-kubernetes-validations": [{"rule": "self.min <= self.max",
            "messageExpression": "'min (' + string(self.min) + ') above max (' + string(self.max) + ')'"}]}});
    let told = created(PLURAL, &definition(&spec));
    let at = format!(
        "{SCHEMA}.properties[spec].properties[workers].x-kubernetes-validations[0].messageExpression"
    );
    assert_eq!(
        told[0],
        format!(
            "{at}: Forbidden: estimated messageExpression cost exceeds budget by factor of more than 100x {SIMPLIFY}"
        )
    );
}

/// The rule of an item counts as often as there can be items.
#[test]
fn how_often_a_value_can_be_counts() {
    let spec = |items: u64| {
        json!({"foo": {"type": "array", "maxItems": items, "items": {"type": "string", "maxLength": 100,
            "x-kubernetes-validations": [{"rule": "self.matches('^[a-z]+$')"}]}}})
    };
    // A pattern of 8 over at most 401 characters: 41 × 2, and one for the name.
    assert_eq!(created(PLURAL, &definition(&spec(120_000))), [""; 0]);
    let told = created(PLURAL, &definition(&spec(130_000)));
    let at = format!("{SCHEMA}.properties[spec].properties[foo].items.x-kubernetes-validations[0].rule");
    assert_eq!(
        told,
        [format!("{at}: Forbidden: estimated rule cost exceeds budget by factor of 1.079000x {SIMPLIFY}")]
    );
}

#[test]
fn a_schema_that_was_there_is_not_counted_again() {
    let rules = json!([{"rule": "self.all(x, x.contains('a string'))"}]);
    let spec =
        json!({"foo": {"type": "array", "items": {"type": "string"}, "x-kubernetes-validations": rules}});
    let old = definition(&spec);
    let mut new = old.clone();
    new["spec"]["names"]["shortNames"] = json!(["bo"]);
    assert_eq!(updated(PLURAL, &new, &old), [""; 0]);
    new["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["bar"] =
        json!({"type": "string"});
    assert_eq!(updated(PLURAL, &new, &old).len(), 3);
}
