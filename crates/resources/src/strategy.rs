//! Per-kind logic: [`strategy_for`] picks a kind's [`Strategy`]; [`GENERIC`] serves the rest.

use api::Object;

use crate::row::Strategy;

/// What a kind without logic of its own gets: metadata rules only, status apart from spec.
pub const GENERIC: Strategy = Strategy {
    default: |_| {},
    prepare_create: |_| {},
    prepare_update: |_, _| {},
    prepare_status_update: keep_all_but_status,
    validate_create: |_| Vec::new(),
    validate_update: |_, _| Vec::new(),
    validate_status_update: |_, _| Vec::new(),
    warnings: |_| Vec::new(),
    has_generation: false,
    create_on_update: false,
    unconditional_update: true,
    grace_period_s: None,
    orphan_by_default: false,
    name_grammar: api::names::dns1123_subdomain,
};

/// The strategy of a built-in kind.
pub fn strategy_for(group: &str, kind: &str) -> Strategy {
    Strategy { name_grammar: name_grammar(group, kind), ..GENERIC }
}

/// Most names are DNS subdomains; some kinds are stricter, some take whatever fits in a URL.
fn name_grammar(group: &str, kind: &str) -> fn(&str) -> api::names::Faults {
    match (group, kind) {
        ("", "Namespace") => api::names::dns1123_label,
        ("", "Service") => api::names::dns1035_label,
        ("rbac.authorization.k8s.io", _) | ("networking.k8s.io", "IPAddress") => {
            |name| api::names::path_segment_name(name, false)
        }
        _ => api::names::dns1123_subdomain,
    }
}

/// A status update changes `status` alone (metadata is the machinery's business).
fn keep_all_but_status(new: &mut Object, old: &Object) {
    let status = new.0.remove("status");
    let metadata = new.0.remove("metadata");
    *new = old.clone();
    if let Some(metadata) = metadata {
        new.0.insert("metadata".into(), metadata);
    }
    match status {
        Some(status) => new.0.insert("status".into(), status),
        None => new.0.remove("status"),
    };
}
