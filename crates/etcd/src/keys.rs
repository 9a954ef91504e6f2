//! Keys and ranges of keys, between the store's interface and etcd.

use std::sync::Arc;

use bytes::Bytes;

/// What ends the name of a key that only marks progress. No key of the store holds a zero byte.
const MARKER: &str = "\0progress";

/// Where in etcd the store's keys are.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    inside: String,
    outside: String,
}

impl Keys {
    /// Keys below `inside` are found below `outside`; slashes at the ends do not count.
    pub fn new((inside, outside): &(String, String)) -> Self {
        let whole = |text: &str| format!("/{}/", text.trim_matches('/')).replace("//", "/");
        let (inside, outside) = (whole(inside), whole(outside));
        if inside == outside {
            return Self { inside: String::new(), outside: String::new() };
        }
        Self { inside, outside }
    }

    pub fn outside(&self, key: &str) -> Bytes {
        match key.strip_prefix(&self.inside) {
            Some(rest) if !self.inside.is_empty() => Bytes::from(format!("{}{rest}", self.outside)),
            _ => Bytes::copy_from_slice(key.as_bytes()),
        }
    }

    /// `None`: no key of the store.
    pub fn inside(&self, key: &[u8]) -> Option<Arc<str>> {
        let key = std::str::from_utf8(key).ok()?;
        if self.inside.is_empty() {
            return Some(key.into());
        }
        match key.strip_prefix(&self.outside) {
            Some(rest) => Some(format!("{}{rest}", self.inside).into()),
            None => (!key.starts_with(&self.inside)).then(|| key.into()),
        }
    }

    /// The keys with this prefix, as etcd's `[key, range_end)`.
    pub fn range(&self, prefix: &str) -> (Bytes, Bytes) {
        let first = self.outside(prefix);
        if first.is_empty() {
            // Both zero: all keys.
            return (Bytes::from_static(b"\0"), Bytes::from_static(b"\0"));
        }
        let end = end_of(&first);
        (first, end)
    }

    /// The key whose change marks progress in the range of this prefix.
    pub fn marker(&self, prefix: &str) -> Bytes {
        self.outside(&format!("{prefix}{MARKER}"))
    }
}

pub(crate) fn is_marker(key: &[u8]) -> bool {
    key.ends_with(MARKER.as_bytes())
}

/// The key that follows `key` at once.
pub(crate) fn after(key: &[u8]) -> Bytes {
    [key, b"\0"].concat().into()
}

/// The first key behind all that begin with `prefix`.
fn end_of(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end.into();
        }
    }
    Bytes::from_static(b"\0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_move_below_another_prefix_and_back() {
        let keys = Keys::new(&("/registry".into(), "tenants/a/".into()));
        assert_eq!(keys.outside("/registry/pods/x"), "/tenants/a/pods/x");
        assert_eq!(keys.inside(b"/tenants/a/pods/x").as_deref(), Some("/registry/pods/x"));
        assert_eq!(keys.outside("compact_rev_key"), "compact_rev_key");
        assert_eq!(keys.inside(b"/registry/pods/x"), None, "another cluster's");
        assert_eq!(keys.inside(b"/tenants/a/\xff"), None);
        let same = Keys::new(&("/registry".into(), "/registry".into()));
        assert_eq!(same.outside("/registry/pods/x"), "/registry/pods/x");
        assert_eq!(same.inside(b"/registry/pods/x").as_deref(), Some("/registry/pods/x"));
    }

    #[test]
    fn ranges_hold_all_that_begins_with_the_prefix() {
        let keys = Keys::new(&(String::new(), String::new()));
        assert_eq!(keys.range("/pods/"), ("/pods/".into(), "/pods0".into()));
        assert_eq!(keys.range(""), ("\0".into(), "\0".into()));
        assert_eq!(end_of(b"a\xff\xff"), "b");
        assert_eq!(end_of(b"\xff"), "\0");
        let marker = keys.marker("/pods/");
        assert!(is_marker(&marker) && !is_marker(b"/pods/progress"));
        let (first, end) = keys.range("/pods/");
        assert!(first < marker && marker < end);
    }
}
