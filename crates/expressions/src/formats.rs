//! The grammars of names and texts that Kubernetes has, by the names that expressions know them by.

use api::{formats, names};

/// A grammar: what is wrong with a text, in upstream's words.
pub(crate) type Check = fn(&str) -> names::Faults;

/// Name, grammar, and the length of the pattern by which upstream estimates what a check costs
/// (`k8s.io/apiserver/pkg/cel/library/format.go`).
const ALL: [(&str, Check, u64); 13] = [
    ("dns1123Label", names::dns1123_label, 30),
    ("dns1123Subdomain", names::dns1123_subdomain, 60),
    ("dns1035Label", names::dns1035_label, 30),
    ("qualifiedName", names::qualified_name, 60),
    ("dns1123LabelPrefix", |text| names::object_name(names::dns1123_label, text, true), 30),
    ("dns1123SubdomainPrefix", |text| names::object_name(names::dns1123_subdomain, text, true), 60),
    ("dns1035LabelPrefix", |text| names::object_name(names::dns1035_label, text, true), 30),
    ("labelValue", names::label_value, 40),
    ("uri", uri, 1_000),
    ("uuid", |text| held("uuid", text, "does not match the UUID format"), 80),
    ("byte", |text| held("byte", text, "invalid base64"), 70),
    ("date", |text| held("date", text, "invalid date"), 110),
    ("datetime", |text| held("datetime", text, "invalid datetime"), 110),
];

/// The name of a format; `None` where there is none.
pub(crate) fn known(name: &str) -> Option<&'static str> {
    ALL.iter().map(|(known, ..)| *known).find(|known| *known == name)
}

/// The grammar of a format, and the length of its pattern.
pub(crate) fn found(name: &str) -> Option<(Check, u64)> {
    ALL.iter().find(|(known, ..)| *known == name).map(|(_, check, length)| (*check, *length))
}

fn held(format: &str, text: &str, fault: &str) -> names::Faults {
    if formats::holds(format, text) { Vec::new() } else { vec![fault.to_owned()] }
}

fn uri(text: &str) -> names::Faults {
    if text.is_empty() {
        return vec!["parse \"\": empty url".to_owned()];
    }
    held("uri", text, &format!("parse {text:?}: invalid URI for request"))
}
