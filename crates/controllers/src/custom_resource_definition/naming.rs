//! Which definition of a group has which names, and whether it is served. Pure.

use std::collections::BTreeSet;

use super::Known;
use super::status::{Definition, Names, Status};

const APPROVED: &str = "api-approved.kubernetes.io";

/// The names that are taken in a group.
#[derive(Default)]
struct Taken {
    resources: BTreeSet<String>,
    kinds: BTreeSet<String>,
}

impl Taken {
    fn take(&mut self, names: &Names) {
        let resources = [&names.plural, &names.singular].into_iter().chain(&names.short_names);
        self.resources.extend(resources.cloned());
        self.kinds.extend([names.kind.clone(), names.list_kind.clone()]);
    }
}

/// The definitions of a group with the status that each is to have. Who has a name keeps it; of those who want it
/// the oldest gets it.
pub(super) fn settled(known: &[Known], now: jiff::Timestamp) -> Vec<(&Known, Status)> {
    let mut taken = Taken::default();
    known.iter().for_each(|known| taken.take(&known.definition.status.accepted_names));
    let mut order: Vec<&Known> = known.iter().collect();
    order.sort_by_key(|known| (&known.definition.metadata.creation_timestamp, &known.name));
    let mut settled = Vec::with_capacity(order.len());
    for known in order {
        let status = status(&known.definition, &mut taken, now);
        settled.push((known, status));
    }
    settled
}

fn status(definition: &Definition, taken: &mut Taken, now: jiff::Timestamp) -> Status {
    let mut status = definition.status.clone();
    let conflict = accept(&definition.spec.names, &mut status.accepted_names, taken);
    taken.take(&status.accepted_names);
    match &conflict {
        Some((reason, message)) => status.set("NamesAccepted", "False", reason, message, now),
        None => status.set("NamesAccepted", "True", "NoConflicts", "no conflicts found", now),
    }
    if !status.is_true("Established") {
        if conflict.is_none() {
            let message = "the initial names have been accepted";
            status.set("Established", "True", "InitialNamesAccepted", message, now);
        } else {
            status.set("Established", "False", "NotAccepted", "not all names are accepted", now);
        }
    }
    approve(definition, &mut status, now);
    status
}

/// Gives the names that are free. The reason and message of the last that is not.
fn accept(wanted: &Names, accepted: &mut Names, taken: &Taken) -> Option<(&'static str, String)> {
    let mut conflict = None;
    let free = |name: &str, own: &str, taken: &BTreeSet<String>| name == own || !taken.contains(name);
    let in_use = |name: &str| format!("{name:?} is already in use");
    let mut give = |name: &str, own: &mut String, taken: &BTreeSet<String>, reason| {
        if free(name, own, taken) {
            name.clone_into(own);
        } else {
            conflict = Some((reason, in_use(name)));
        }
    };
    give(&wanted.plural, &mut accepted.plural, &taken.resources, "PluralConflict");
    give(&wanted.singular, &mut accepted.singular, &taken.resources, "SingularConflict");
    if wanted.short_names != accepted.short_names {
        let own = |name: &String| {
            accepted.short_names.contains(name) || *name == accepted.plural || *name == accepted.singular
        };
        let foreign: Vec<String> = wanted
            .short_names
            .iter()
            .filter(|name| !own(name) && taken.resources.contains(*name))
            .map(|name| in_use(name))
            .collect();
        match foreign.as_slice() {
            [] => accepted.short_names.clone_from(&wanted.short_names),
            [only] => conflict = Some(("ShortNamesConflict", only.clone())),
            many => conflict = Some(("ShortNamesConflict", format!("[{}]", many.join(", ")))),
        }
    }
    let mut give = |name: &str, own: &mut String, reason| {
        if free(name, own, &taken.kinds) {
            name.clone_into(own);
        } else {
            conflict = Some((reason, in_use(name)));
        }
    };
    give(&wanted.kind, &mut accepted.kind, "KindConflict");
    give(&wanted.list_kind, &mut accepted.list_kind, "ListKindConflict");
    accepted.categories.clone_from(&wanted.categories);
    conflict
}

/// Says of a group that belongs to the project itself whether its definition is approved.
fn approve(definition: &Definition, status: &mut Status, now: jiff::Timestamp) {
    let group = &definition.spec.group;
    if !["k8s.io", "kubernetes.io"].iter().any(|of| group == of || group.ends_with(&format!(".{of}"))) {
        return;
    }
    let given = definition.metadata.annotations.get(APPROVED).map_or("", String::as_str);
    let (is, reason, message) = if given.is_empty() {
        let message = format!(
            "protected groups must have approval annotation {APPROVED:?}, see https://github.com/kubernetes/enhancements/pull/1111"
        );
        ("False", "MissingAnnotation", message)
    } else if given.starts_with("unapproved") {
        ("False", "UnapprovedAnnotation", format!("not approved: {given:?}"))
    } else {
        ("True", "ApprovedAnnotation", format!("approved in {given}"))
    };
    status.set("KubernetesAPIApprovalPolicyConformant", is, reason, &message, now);
}
