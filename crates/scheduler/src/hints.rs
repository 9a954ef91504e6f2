//! Which comings and goings of other pods are worth another try for a pod that fits nowhere: those after which it
//! might fit. Pure.
//!
//! A hint may be wrong in one direction only: it may say yes to a change that does not help.

use crate::causes::{Cause, Causes};
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
pub fn pod_left(waiting: &Shape, causes: Causes, other: &Shape, namespaces: &Namespaces) -> bool {
    let means = |audience: &Audience| audience.means_also_leaving(&other.identity, namespaces);
    let terms = |terms: &[Term]| terms.iter().any(|term| means(&term.audience));
    let wishes = |gains: &dyn Fn(&crate::relations::Wishes) -> bool| {
        waiting.wishes.as_ref().is_some_and(|wishes| gains(wishes))
    };
    causes.has(Cause::Apart) && wishes(&|wishes| terms(&wishes.apart))
        // With the last one gone, a pod that is of the sort it must be near to is the first.
        || causes.has(Cause::Near) && wishes(&|wishes| terms(&wishes.near))
        || causes.has(Cause::Spread)
            && wishes(&|wishes| wishes.even.iter().any(|constraint| means(&constraint.audience)))
        || causes.has(Cause::Repelled) && repelled(waiting, other, namespaces)
}

/// Whether the other one must not be near to a pod like this.
fn repelled(waiting: &Shape, other: &Shape, namespaces: &Namespaces) -> bool {
    let unwelcome = |term: &Term| term.audience.means(&waiting.identity, namespaces);
    other.wishes.as_ref().is_some_and(|wishes| wishes.apart.iter().any(unwelcome))
}
