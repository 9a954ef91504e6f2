//! Names of kinds and resources: group, version, kind, plural.

use std::fmt;

/// An API group and version; the core group is the empty string.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersion {
    pub group: String,
    pub version: String,
}

impl GroupVersion {
    pub fn new(group: &str, version: &str) -> Self {
        Self { group: group.to_owned(), version: version.to_owned() }
    }

    /// Parses an `apiVersion` (`v1`, `apps/v1`). `None` when it has more than one slash or is empty.
    pub fn parse(api_version: &str) -> Option<Self> {
        let mut parts = api_version.split('/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(version), None, _) if !version.is_empty() => Some(Self::new("", version)),
            (Some(group), Some(version), None) if !version.is_empty() => Some(Self::new(group, version)),
            _ => None,
        }
    }
}

impl fmt::Display for GroupVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            f.write_str(&self.version)
        } else {
            write!(f, "{}/{}", self.group, self.version)
        }
    }
}

macro_rules! triple {
    ($(#[$doc:meta])* $name:ident, $last:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name {
            pub group: String,
            pub version: String,
            pub $last: String,
        }

        impl $name {
            pub fn new(group: &str, version: &str, $last: &str) -> Self {
                Self { group: group.to_owned(), version: version.to_owned(), $last: $last.to_owned() }
            }

            pub fn group_version(&self) -> GroupVersion {
                GroupVersion::new(&self.group, &self.version)
            }
        }
    };
}

macro_rules! pair {
    ($(#[$doc:meta])* $name:ident, $last:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name {
            pub group: String,
            pub $last: String,
        }

        impl $name {
            pub fn new(group: &str, $last: &str) -> Self {
                Self { group: group.to_owned(), $last: $last.to_owned() }
            }
        }

        /// As upstream writes it: `deployments.apps`, or the bare name in the core group.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if self.group.is_empty() { f.write_str(&self.$last) } else { write!(f, "{}.{}", self.$last, self.group) }
            }
        }
    };
}

triple!(
    /// Group, version and kind (`apps`, `v1`, `Deployment`).
    GroupVersionKind, kind);
triple!(
    /// Group, version and plural resource name (`apps`, `v1`, `deployments`).
    GroupVersionResource, resource);
/// As upstream writes it: `apps/v1, Kind=Deployment`, in the core group `/v1, Kind=Pod`.
impl fmt::Display for GroupVersionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}, Kind={}", self.group, self.version, self.kind)
    }
}

pair!(
    /// Group and kind, as error messages name an object's type.
    GroupKind, kind);
pair!(
    /// Group and plural resource name, as error messages name a resource.
    GroupResource, resource);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_versions_parse() {
        assert_eq!(GroupVersion::parse("v1"), Some(GroupVersion::new("", "v1")));
        assert_eq!(GroupVersion::parse("apps/v1").map(|g| g.to_string()).as_deref(), Some("apps/v1"));
        assert_eq!(GroupVersion::parse("a/b/c"), None);
        assert_eq!(GroupVersion::parse(""), None);
        assert_eq!(GroupResource::new("apps", "deployments").to_string(), "deployments.apps");
        assert_eq!(GroupVersionKind::new("", "v1", "Pod").to_string(), "/v1, Kind=Pod");
    }
}
