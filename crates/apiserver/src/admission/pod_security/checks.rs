//! The checks: a function each, in the table of its level with the versions it holds from.
//!
//! Start with [`evaluate`]. Upstream: `pod-security-admission/policy/check_*.go` of v1.36.

mod baseline;
mod restricted;
mod words;

use super::policy::{Level, LevelVersion};
use super::subject::Subject;

/// What a check found.
pub(super) struct Finding {
    reason: String,
    detail: String,
}

impl Finding {
    fn new(reason: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { reason: reason.into(), detail: detail.into() }
    }
}

/// One check by the rules of one version.
struct Check {
    /// Upstream's name; findings come in the order of names, those of `baseline` first.
    id: &'static str,
    /// The minor version from which these rules hold, until the next of the same name.
    since: u32,
    judge: fn(&Subject) -> Option<Finding>,
    /// The check of `baseline` that this one takes the place of.
    instead_of: Option<&'static str>,
}

impl Check {
    const fn new(id: &'static str, since: u32, judge: fn(&Subject) -> Option<Finding>) -> Self {
        Self { id, since, judge, instead_of: None }
    }

    const fn instead_of(mut self, id: &'static str) -> Self {
        self.instead_of = Some(id);
        self
    }
}

/// All that is wrong with a pod.
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The reasons alone.
    pub fn reasons(&self) -> String {
        self.0.iter().map(|finding| finding.reason.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Each reason with its detail.
    pub fn details(&self) -> String {
        let told = self.0.iter().map(|finding| match finding.detail.as_str() {
            "" => finding.reason.clone(),
            detail => format!("{} ({detail})", finding.reason),
        });
        told.collect::<Vec<_>>().join(", ")
    }
}

/// Judges a pod.
pub(super) fn evaluate(asked: &LevelVersion, subject: &Subject) -> Findings {
    let at = |table: &'static [Check]| {
        let mut current: Vec<&'static Check> = Vec::new();
        for check in table.iter().filter(|check| asked.version.includes(check.since)) {
            current.retain(|held| held.id != check.id);
            current.push(check);
        }
        current.sort_by_key(|check| check.id);
        current
    };
    let mut checks = match asked.level {
        Level::Privileged => Vec::new(),
        Level::Baseline | Level::Restricted => at(baseline::CHECKS),
    };
    if asked.level == Level::Restricted {
        let more = at(restricted::CHECKS);
        checks.retain(|check| !more.iter().any(|stricter| stricter.instead_of == Some(check.id)));
        checks.extend(more);
    }
    Findings(checks.iter().filter_map(|check| (check.judge)(subject)).collect())
}
