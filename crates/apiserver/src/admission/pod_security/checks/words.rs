//! How findings are told: upstream's `helpers.go`.

use super::super::subject::{Container, Subject};

/// `"a", "b"`.
pub(super) fn quoted<S: AsRef<str>>(items: &[S]) -> String {
    items.iter().map(|item| format!("\"{}\"", item.as_ref())).collect::<Vec<_>>().join(", ")
}

/// The word for one or for many.
pub(super) fn plural<'w>(one: &'w str, many: &'w str, count: usize) -> &'w str {
    if count == 1 { one } else { many }
}

/// `container "a"` or `containers "a", "b"`.
pub(super) fn containers<S: AsRef<str>>(names: &[S]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), quoted(names))
}

/// The names of the containers that a check finds fault with.
pub(super) fn names_where<'s>(
    subject: &'s Subject,
    mut bad: impl FnMut(&Container<'s>) -> bool,
) -> Vec<&'s str> {
    subject.containers().filter(|container| bad(container)).map(|container| container.name).collect()
}

/// Who sets something: `pod`, `container "a"`, or both; `None` where nobody does.
pub(super) fn setters(pod: bool, names: &[&str]) -> Option<String> {
    match (pod, names.is_empty()) {
        (false, true) => None,
        (true, true) => Some("pod".to_owned()),
        (false, false) => Some(containers(names)),
        (true, false) => Some(format!("pod and {}", containers(names))),
    }
}
