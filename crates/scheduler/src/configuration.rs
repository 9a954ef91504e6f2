//! [`Configuration`]: what of the scheduler can be set, as upstream's `KubeSchedulerConfiguration`
//! (`kubescheduler.config.k8s.io/v1`) says. What that file may say and this scheduler does not do is refused by name;
//! what has nothing to act on here is named in [`Configuration::without_effect`].

mod arguments;
mod plugins;

use std::time::Duration;

use base::backoff::Policy;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::profile::{DEFAULT_NAME, Profile, Profiles};
use crate::queue::BACKOFF;
use arguments::Argument;
use plugins::Plugins;

const API_VERSION: &str = "kubescheduler.config.k8s.io/v1";
const KIND: &str = "KubeSchedulerConfiguration";
/// A pod that rests longer is as good as forgotten.
const MAX_BACKOFF_SECONDS: i64 = 24 * 60 * 60;
/// How many profiles there may be: each decision looks its pod's up by name.
const MAX_PROFILES: usize = 64;

/// The scheduler's settings.
#[derive(Debug, Clone)]
pub struct Configuration {
    pub profiles: Profiles,
    /// How long a pod rests after a failure.
    pub backoff: Policy,
    /// Keys of the file that have no effect here.
    pub without_effect: Vec<String>,
}

impl Default for Configuration {
    fn default() -> Self {
        Self { profiles: Profiles::default(), backoff: BACKOFF, without_effect: Vec::new() }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    api_version: String,
    kind: String,
    #[serde(default)]
    profiles: Vec<WrittenProfile>,
    percentage_of_nodes_to_score: Option<i64>,
    pod_initial_backoff_seconds: Option<i64>,
    pod_max_backoff_seconds: Option<i64>,
    #[serde(default)]
    extenders: Vec<Value>,
    parallelism: Option<i64>,
    // What follows says how upstream's process runs, which is no process of its own here.
    leader_election: Option<Value>,
    client_connection: Option<Value>,
    enable_profiling: Option<bool>,
    enable_contention_profiling: Option<bool>,
    delay_cache_until_active: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct WrittenProfile {
    scheduler_name: Option<String>,
    percentage_of_nodes_to_score: Option<i64>,
    plugins: Plugins,
    plugin_config: Vec<Argument>,
}

impl Configuration {
    /// Reads a file of YAML or JSON.
    ///
    /// # Errors
    /// Names every field that is wrong, as upstream does.
    pub fn parse(text: &str) -> Result<Self, String> {
        let written: Written = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let mut faults = Faults::default();
        let configuration = written.understood(&mut faults);
        if faults.0.is_empty() { Ok(configuration) } else { Err(faults.0.join("; ")) }
    }
}

impl Written {
    fn understood(self, faults: &mut Faults) -> Configuration {
        if (self.api_version.as_str(), self.kind.as_str()) != (API_VERSION, KIND) {
            let (version, kind) = (&self.api_version, &self.kind);
            faults.0.push(format!(
                "apiVersion {version:?} and kind {kind:?}: {API_VERSION:?} and {KIND:?} are known"
            ));
        }
        if !self.extenders.is_empty() {
            faults.0.push("extenders: Forbidden: this scheduler asks no extenders".to_owned());
        }
        if self.parallelism.is_some_and(|parallelism| parallelism <= 0) {
            let value = self.parallelism.unwrap_or_default();
            faults.invalid("parallelism", value, "should be an integer value greater than zero");
        }
        let backoff = self.backoff(faults);
        let without_effect = self.without_effect();
        let percentage = percentage("percentageOfNodesToScore", self.percentage_of_nodes_to_score, faults);
        let profiles = profiles(self.profiles, percentage, faults);
        Configuration { profiles, backoff, without_effect }
    }

    fn backoff(&self, faults: &mut Faults) -> Policy {
        let seconds = |given: Option<i64>, default: Duration| {
            given.map_or(default, |given| Duration::from_secs(u64::try_from(given).unwrap_or(0)))
        };
        let initial = seconds(self.pod_initial_backoff_seconds, BACKOFF.initial);
        let max = seconds(self.pod_max_backoff_seconds, BACKOFF.max);
        for (key, given) in [
            ("podInitialBackoffSeconds", self.pod_initial_backoff_seconds),
            ("podMaxBackoffSeconds", self.pod_max_backoff_seconds),
        ] {
            if let Some(given) = given.filter(|given| *given > MAX_BACKOFF_SECONDS) {
                faults.invalid(key, given, &format!("must be at most {MAX_BACKOFF_SECONDS}"));
            }
        }
        if initial.is_zero() {
            let value = self.pod_initial_backoff_seconds.unwrap_or_default();
            faults.invalid("podInitialBackoffSeconds", value, "must be greater than 0");
        }
        if max < initial {
            let value =
                self.pod_max_backoff_seconds.unwrap_or_else(|| max.as_secs().try_into().unwrap_or(i64::MAX));
            let why = "must be greater than or equal to PodInitialBackoffSeconds";
            faults.invalid("podMaxBackoffSeconds", value, why);
        }
        Policy::new(initial, max)
    }

    fn without_effect(&self) -> Vec<String> {
        let said = [
            ("parallelism", self.parallelism.is_some()),
            ("leaderElection", self.leader_election.is_some()),
            ("clientConnection", self.client_connection.is_some()),
            ("enableProfiling", self.enable_profiling.is_some()),
            ("enableContentionProfiling", self.enable_contention_profiling.is_some()),
            ("delayCacheUntilActive", self.delay_cache_until_active.is_some()),
        ];
        said.into_iter().filter(|(_, said)| *said).map(|(key, _)| key.to_owned()).collect()
    }
}

/// Upstream's default profile where the file names none.
fn profiles(
    mut written: Vec<WrittenProfile>,
    percentage_of_all: Option<u8>,
    faults: &mut Faults,
) -> Profiles {
    if written.is_empty() {
        written.push(WrittenProfile::default());
    }
    if written.len() > MAX_PROFILES {
        faults
            .0
            .push(format!("profiles: Too many: {}: must have at most {MAX_PROFILES} items", written.len()));
        written.truncate(MAX_PROFILES);
    }
    if let [only] = written.as_mut_slice() {
        only.scheduler_name.get_or_insert_with(|| DEFAULT_NAME.to_owned());
    }
    let mut names: Vec<String> = Vec::new();
    let mut profiles = Vec::new();
    for (at, written) in written.into_iter().enumerate() {
        let path = format!("profiles[{at}]");
        let name = written.scheduler_name.unwrap_or_default();
        if name.is_empty() {
            faults.0.push(format!("{path}.schedulerName: Required value"));
        } else if let Some(first) = names.iter().position(|held| *held == name) {
            faults
                .0
                .push(format!("{path}.schedulerName: Duplicate value: \"profiles[{first}].schedulerName\""));
        }
        let own = written.percentage_of_nodes_to_score;
        let mut profile = Profile {
            scheduler_name: name.as_str().into(),
            percentage_of_nodes: match own {
                Some(_) => percentage(&format!("{path}.percentageOfNodesToScore"), own, faults),
                None => percentage_of_all,
            },
            ..Profile::default()
        };
        names.push(name);
        written.plugins.apply(&format!("{path}.plugins"), &mut profile, faults);
        arguments::apply(written.plugin_config, &format!("{path}.pluginConfig"), &mut profile, faults);
        profiles.push(profile);
    }
    Profiles::new(profiles).unwrap_or_default()
}

/// `None` for 0: the scheduler finds the share itself.
fn percentage(path: &str, given: Option<i64>, faults: &mut Faults) -> Option<u8> {
    let given = given?;
    match u8::try_from(given) {
        Ok(percentage) if percentage <= 100 => Some(percentage).filter(|percentage| *percentage > 0),
        _ => {
            faults.invalid(path, given, "not in valid range [0-100]");
            None
        }
    }
}

/// What is wrong in the file.
#[derive(Debug, Default)]
struct Faults(Vec<String>);

impl Faults {
    /// Upstream's sentence about a value; `value` is shown as JSON.
    fn invalid(&mut self, path: &str, value: impl Into<Value>, why: &str) {
        self.0.push(format!("{path}: Invalid value: {}: {why}", value.into()));
    }

    fn not_supported(&mut self, path: &str, value: &str, supported: &[&str]) {
        let supported: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
        self.0.push(format!(
            "{path}: Unsupported value: {value:?}: supported values: {}",
            supported.join(", ")
        ));
    }

    /// Decodes the part of the file at `path`; what it cannot be decoded from is a fault.
    fn decode<T: for<'de> Deserialize<'de> + Default>(
        &mut self,
        path: &str,
        written: Map<String, Value>,
    ) -> T {
        serde_json::from_value(Value::Object(written)).unwrap_or_else(|error| {
            self.0.push(format!("{path}: {error}"));
            T::default()
        })
    }
}

#[cfg(test)]
mod tests;
