//! The scheduler's own settings: as flags, and as keys below `scheduler` in the settings file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use scheduler::Configuration;
use serde::{Deserialize, Serialize};

/// What of the scheduler can be set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[command(next_help_heading = "Scheduler")]
pub struct SchedulerFlags {
    /// Which rules decide about pods, and how much they count: a file with a KubeSchedulerConfiguration
    #[arg(id = "scheduler-config", long = "scheduler-config", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl SchedulerFlags {
    /// These, and where they say nothing, what the file says.
    pub fn over(&self, file: &Self) -> Self {
        Self { config: self.config.clone().or_else(|| file.config.clone()) }
    }

    /// # Errors
    /// When the file cannot be read or says something wrong.
    pub fn configuration(&self) -> Result<Configuration> {
        let Some(path) = &self.config else { return Ok(Configuration::default()) };
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        Configuration::parse(&text).map_err(|why| anyhow!("in {}: {why}", path.display()))
    }

    /// The flags that say the same to another process, with whole paths.
    ///
    /// # Errors
    /// When a path cannot be made whole.
    pub fn arguments(&self) -> Result<Vec<OsString>> {
        let whole = |path: &Path| {
            let whole = std::path::absolute(path).with_context(|| format!("finding {}", path.display()))?;
            let mut argument = OsString::from("--scheduler-config=");
            argument.push(whole);
            Ok(argument)
        };
        self.config.as_deref().map(whole).into_iter().collect()
    }
}
