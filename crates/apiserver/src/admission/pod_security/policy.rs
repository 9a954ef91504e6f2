//! [`Policy`]: what the labels of a namespace demand, by mode. Upstream: `pod-security-admission/api/helpers.go`.

use std::fmt;

use api::field::{ErrorList, FieldError, Path};

/// What all labels begin with.
pub(super) const PREFIX: &str = "pod-security.kubernetes.io/";

/// How much is allowed, the most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Privileged,
    Baseline,
    Restricted,
}

impl Level {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "privileged" => Some(Self::Privileged),
            "baseline" => Some(Self::Baseline),
            "restricted" => Some(Self::Restricted),
            _ => None,
        }
    }
}

/// Of which minor version of Kubernetes the rules are; `None` for the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version(pub Option<u32>);

impl Version {
    pub const LATEST: Self = Self(None);

    fn parse(text: &str) -> Option<Self> {
        if text == "latest" {
            return Some(Self::LATEST);
        }
        let minor = text.strip_prefix("v1.")?;
        let plain = !minor.is_empty()
            && minor.bytes().all(|b| b.is_ascii_digit())
            && (minor == "0" || !minor.starts_with('0'));
        if plain { minor.parse().ok().map(|minor| Self(Some(minor))) } else { None }
    }

    /// Whether rules that came with a minor version hold.
    pub fn includes(self, minor: u32) -> bool {
        self.0.is_none_or(|version| version >= minor)
    }
}

/// A level by the rules of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LevelVersion {
    pub level: Level,
    pub version: Version,
}

impl LevelVersion {
    const NOTHING: Self = Self { level: Level::Privileged, version: Version::LATEST };

    /// Reads a level and a version, either of which may not be given.
    ///
    /// # Errors
    /// What is none.
    pub fn read(level: Option<&str>, version: Option<&str>) -> Result<Self, String> {
        let level = level.map(|text| {
            Level::parse(text)
                .ok_or_else(|| format!("{text:?} must be one of privileged, baseline, restricted"))
        });
        let version = version.map(|text| {
            Version::parse(text).ok_or_else(|| format!(r#"{text:?} must be "latest" or "v1.x""#))
        });
        Ok(Self {
            level: level.transpose()?.unwrap_or(Level::Privileged),
            version: version.transpose()?.unwrap_or(Version::LATEST),
        })
    }

    /// Whether pods that were allowed before may not be any more.
    pub fn tightens(&self, before: &Self) -> bool {
        self != before
            && self.level != Level::Privileged
            && (self.version != before.version || self.level > before.level)
    }
}

/// As labels and messages have it: `restricted:v1.25`.
impl fmt::Display for LevelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        })?;
        match self.version.0 {
            None => f.write_str(":latest"),
            Some(minor) => write!(f, ":v1.{minor}"),
        }
    }
}

/// What is refused, recorded and warned of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Policy {
    pub enforce: LevelVersion,
    pub audit: LevelVersion,
    pub warn: LevelVersion,
}

impl Policy {
    /// The policy of these labels, and what is wrong with them. What they do not say the defaults say. What cannot be read is enforced as `restricted`, and
    /// neither recorded nor warned of. Without a level of its own, warnings follow what is enforced.
    pub fn of<'l>(labels: impl Iterator<Item = (&'l str, &'l str)>, defaults: &Self) -> (Self, ErrorList) {
        let labels: Vec<(&str, &str)> =
            labels.filter_map(|(label, value)| Some((label.strip_prefix(PREFIX)?, value))).collect();
        let mut faults = ErrorList::new();
        let mode = |name: &str, default: LevelVersion, otherwise: Level, faults: &mut ErrorList| {
            let value = |label: &str| labels.iter().find(|(l, _)| *l == label).map(|(_, value)| *value);
            let level = value(name).map(|text| {
                Level::parse(text).ok_or_else(|| {
                    faults.push(fault(name, text, "must be one of privileged, baseline, restricted"));
                })
            });
            let label = format!("{name}-version");
            let version = value(&label).and_then(|text| {
                Version::parse(text).or_else(|| {
                    faults.push(fault(&label, text, r#"must be "latest" or "v1.x""#));
                    None
                })
            });
            let named = matches!(level, Some(Ok(_)));
            let mode = LevelVersion {
                level: level.map_or(default.level, |level| level.unwrap_or(otherwise)),
                version: version.unwrap_or(default.version),
            };
            (mode, named, level.is_some())
        };
        let (enforce, enforced, _) = mode("enforce", defaults.enforce, Level::Restricted, &mut faults);
        let (audit, ..) = mode("audit", defaults.audit, Level::Privileged, &mut faults);
        let (mut warn, _, warned) = mode("warn", defaults.warn, Level::Privileged, &mut faults);
        if !warned && enforced && enforce.level > warn.level {
            warn = enforce;
        }
        (Self { enforce, audit, warn }, faults)
    }

    /// Whether any mode asks for more than `privileged`; of what is never refused, only the others count.
    pub fn demands_anything(&self, enforce: bool) -> bool {
        let privileged = |mode: &LevelVersion| mode.level == Level::Privileged;
        !(privileged(&self.audit) && privileged(&self.warn) && (!enforce || privileged(&self.enforce)))
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self { enforce: LevelVersion::NOTHING, audit: LevelVersion::NOTHING, warn: LevelVersion::NOTHING }
    }
}

fn fault(label: &str, value: &str, detail: &str) -> FieldError {
    let (metadata, label) = (Path::root("metadata"), format!("{PREFIX}{label}"));
    FieldError::invalid(&metadata.child("labels").key(&label), value, detail)
}
