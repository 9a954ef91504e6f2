//! Containers and sandboxes of earlier attempts: the newest container and the one before it are
//! kept (for `logs --previous` and the last state), older ones and unused sandboxes are removed.

use std::collections::BTreeMap;

use super::action::Action;
use super::context::Context;

/// Plans the removal of what a living pod no longer needs.
pub fn plan(ctx: &mut Context<'_>) {
    let runtime = &ctx.seen.runtime;
    let mut kept_by_name: BTreeMap<&str, u32> = BTreeMap::new();
    let mut kept_by_sandbox: BTreeMap<&str, u32> = BTreeMap::new();
    for record in &runtime.containers {
        let kept = kept_by_name.entry(record.name.as_str()).or_default();
        if *kept < 2 || record.is_running() {
            *kept += 1;
            *kept_by_sandbox.entry(record.sandbox_id.as_str()).or_default() += 1;
        } else {
            ctx.act(Action::RemoveContainer { id: record.id.clone() });
        }
    }
    for sandbox in runtime.sandboxes.iter().skip(1) {
        if !kept_by_sandbox.contains_key(sandbox.id.as_str()) {
            ctx.act(Action::RemoveSandbox { id: sandbox.id.clone() });
        }
    }
}
