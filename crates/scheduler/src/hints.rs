//! Which additions and removals of other pods cause another attempt for a pod that fits nowhere: those after
//! which the pod might fit. Pure.
//!
//! A hint may be wrong in one direction only: it may be true for a change that does not help.

use crate::causes::{Cause, Causes};
use crate::nodes::{Departure, Nodes};
use crate::pod::Shape;
use crate::relations::{Audience, Identity, Namespaces, Term};

/// A pod was placed: whether one that waits for these causes can make use of it.
pub fn pod_came(waiting: &Shape, causes: Causes, other: &Identity, namespaces: &Namespaces) -> bool {
    let Some(wishes) = &waiting.wishes else { return false };
    let wanted = |terms: &[Term]| terms.iter().any(|term| term.audience.means(other, namespaces));
    // The emptiest place may be fuller by the pod.
    let evens = |audience: &Audience| audience.means_also_leaving(other, namespaces);
    causes.has(Cause::Near) && wanted(&wishes.near)
        || causes.has(Cause::Spread) && wishes.even.iter().any(|constraint| evens(&constraint.audience))
}

/// A pod left its node: the same, for what it was to others and what it wanted of them.
pub fn pod_left(waiting: &Shape, causes: Causes, gone: &Departure, nodes: &Nodes) -> bool {
    let (other, crowds) = (&gone.shape, &nodes.crowds);
    let namespaces = crowds.namespaces();
    if causes.has(Cause::Repelled) && repelled(waiting, other, namespaces) {
        return true;
    }
    let Some(wishes) = &waiting.wishes else { return false };
    let means = |audience: &Audience| audience.means_also_leaving(&other.identity, namespaces);
    let means_by = |term: &Term| means(&term.audience);
    // Those that are still in the way may have to go.
    let needs = &waiting.needs;
    let may_preempt = needs.can_preempt && nodes.left_by(gone).has_pods_below(needs.priority);
    let freed = |(number, term)| {
        means_by(term) && (may_preempt || crowds.is_freed(wishes, wishes.near.len() + number, gone.slot))
    };
    causes.has(Cause::Apart) && wishes.apart.iter().enumerate().any(freed)
        // With the last one gone, a pod that is of the sort it must be near to is the first.
        || causes.has(Cause::Near) && wishes.near.iter().any(means_by) && crowds.is_nobody_near(wishes)
        || causes.has(Cause::Spread) && wishes.even.iter().any(|constraint| means(&constraint.audience))
}

/// Whether the other pod must not be near to a pod of this identity.
fn repelled(waiting: &Shape, other: &Shape, namespaces: &Namespaces) -> bool {
    let unwelcome = |term: &Term| term.audience.means(&waiting.identity, namespaces);
    other.wishes.as_ref().is_some_and(|wishes| wishes.apart.iter().any(unwelcome))
}
