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
};

/// The strategy of a built-in kind.
pub fn strategy_for(group: &str, kind: &str) -> Strategy {
    let _ = (group, kind);
    GENERIC
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
