//! [`Standards`]: what holds where labels say nothing, and whom nothing holds for. Upstream:
//! `pod-security-admission/admission/api/types.go`.

use serde::Deserialize;

use super::policy::{LevelVersion, Policy};

/// By default everything is allowed, and nobody is exempt.
#[derive(Debug, Default)]
pub struct Standards {
    pub(super) defaults: Policy,
    pub(super) exempt: Exempt,
}

/// Whom nothing holds for.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Exempt {
    #[serde(default)]
    pub usernames: Vec<String>,
    #[serde(default)]
    pub namespaces: Vec<String>,
    #[serde(default)]
    pub runtime_classes: Vec<String>,
}

/// A `PodSecurityConfiguration`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admission) struct Written {
    #[serde(default)]
    defaults: Defaults,
    #[serde(default)]
    exemptions: Exempt,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Defaults {
    enforce: Option<String>,
    enforce_version: Option<String>,
    audit: Option<String>,
    audit_version: Option<String>,
    warn: Option<String>,
    warn_version: Option<String>,
}

impl Standards {
    /// Takes what was written.
    ///
    /// # Errors
    /// A level or version that is none.
    pub(in crate::admission) fn read(written: Written) -> Result<Self, String> {
        let of = written.defaults;
        let mode = |name: &str, level: Option<String>, version: Option<String>| {
            LevelVersion::read(level.as_deref(), version.as_deref())
                .map_err(|why| format!("defaults.{name}: {why}"))
        };
        Ok(Self {
            defaults: Policy {
                enforce: mode("enforce", of.enforce, of.enforce_version)?,
                audit: mode("audit", of.audit, of.audit_version)?,
                warn: mode("warn", of.warn, of.warn_version)?,
            },
            exempt: written.exemptions,
        })
    }
}
