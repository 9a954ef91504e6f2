//! A container's environment variables, from all sources that a pod may name.
//!
//! Start with [`build`]: pure, it works on objects fetched before ([`references`] says which). The
//! rules are upstream's (`pkg/kubelet/kubelet_pods.go`): `envFrom` first, then `env` in order, each
//! able to use what stands before it, then what is left of the service variables.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, FileKeySelector, Pod, Secret, Service};

pub mod expansion;
pub mod fields;
pub mod files;
pub mod resource_fields;
pub mod services;
#[cfg(test)]
mod tests;

use fields::PodAddresses;
use resource_fields::Allocatable;

/// Why an environment cannot be made; the text is what the container's waiting message shows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    #[error("configmap \"{0}\" not found")]
    ConfigMapMissing(String),
    #[error("secret \"{0}\" not found")]
    SecretMissing(String),
    #[error("couldn't find key {key} in ConfigMap {namespace}/{name}")]
    ConfigMapKeyMissing { key: String, namespace: String, name: String },
    #[error("couldn't find key {key} in Secret {namespace}/{name}")]
    SecretKeyMissing { key: String, namespace: String, name: String },
    #[error("field label not supported: {0}")]
    FieldUnsupported(String),
    #[error("unsupported container resource : {0}")]
    ResourceUnsupported(String),
    #[error("container {0} not found")]
    ContainerMissing(String),
    #[error("quantity {0:?} cannot be parsed")]
    Quantity(String),
    #[error("cannot find the volume {0:?} referenced by FileKeyRef")]
    FileVolumeMissing(String),
    /// The file is not there, or not what such a file has to be.
    #[error("couldn't parse env file")]
    FileUnusable,
    #[error("environment variable key {key:?} not found in file {file:?}")]
    FileKeyMissing { key: String, file: String },
    /// The object could not be read for another reason than its absence.
    #[error("{0}")]
    Fetch(String),
}

/// The names of ConfigMaps and Secrets (of the pod's namespace), and the files, that environments refer to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct References {
    pub config_maps: BTreeSet<String>,
    pub secrets: BTreeSet<String>,
    pub files: BTreeSet<FileName>,
}

/// A file: the pod's volume, and the path in the volume.
pub type FileName = (String, String);

/// What `container`'s environment refers to.
pub fn references(container: &Container) -> References {
    let mut found = References::default();
    for source in container.env_from.iter().flatten() {
        if let Some(r) = &source.config_map_ref {
            found.config_maps.insert(r.name.clone());
        }
        if let Some(r) = &source.secret_ref {
            found.secrets.insert(r.name.clone());
        }
    }
    for source in container.env.iter().flatten().filter_map(|e| e.value_from.as_ref()) {
        if let Some(r) = &source.config_map_key_ref {
            found.config_maps.insert(r.name.clone());
        }
        if let Some(r) = &source.secret_key_ref {
            found.secrets.insert(r.name.clone());
        }
        if let Some(r) = &source.file_key_ref {
            found.files.insert((r.volume_name.clone(), r.path.clone()));
        }
    }
    found
}

/// Objects fetched for an environment. An absent entry means that the object does not exist.
#[derive(Debug, Default, Clone)]
pub struct Fetched {
    pub config_maps: HashMap<String, Arc<ConfigMap>>,
    pub secrets: HashMap<String, Arc<Secret>>,
    /// Absent where the pod has no such volume.
    pub files: HashMap<FileName, EnvFile>,
}

/// A file that variables come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvFile {
    /// Where the file is on the node, for messages.
    pub shown: String,
    /// What is in the file, or why it cannot be read.
    pub text: Result<String, String>,
}

/// Everything an environment is made from.
pub struct Inputs<'a> {
    pub pod: &'a Pod,
    pub container: &'a Container,
    pub fetched: &'a Fetched,
    /// All services the node knows; [`services::variables`] picks.
    pub services: &'a [Arc<Service>],
    pub addresses: &'a PodAddresses,
    pub allocatable: &'a Allocatable,
}

/// An environment in the order in which the variables were declared, each name once.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Environment {
    entries: Vec<(String, String)>,
    index: HashMap<String, usize>,
}

impl Environment {
    fn set(&mut self, name: String, value: String) {
        match self.index.get(&name) {
            Some(at) => self.entries[*at].1 = value,
            None => {
                self.index.insert(name.clone(), self.entries.len());
                self.entries.push((name, value));
            }
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.index.get(name).map(|at| self.entries[*at].1.as_str())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// `text` with `$(VAR)` replaced from this environment.
    pub fn expand(&self, text: &str) -> String {
        expansion::expand(text, |name| self.get(name))
    }
}

/// Makes the environment.
///
/// # Errors
/// When a reference that is not optional leads nowhere.
pub fn build(inputs: &Inputs<'_>) -> Result<Environment, EnvironmentError> {
    let namespace = inputs.pod.metadata.namespace.as_deref().unwrap_or_default();
    let links = inputs.pod.spec.as_ref().and_then(|s| s.enable_service_links).unwrap_or(true);
    let from_services = services::variables(namespace, links, inputs.services);
    let mut env = Environment::default();
    add_env_from(inputs, &mut env)?;
    for variable in inputs.container.env.iter().flatten() {
        if let Some(value) = value_of(inputs, namespace, variable, &env, &from_services)? {
            env.set(variable.name.clone(), value);
        }
    }
    for (name, value) in from_services {
        if env.get(&name).is_none() {
            env.set(name, value);
        }
    }
    Ok(env)
}

fn add_env_from(inputs: &Inputs<'_>, env: &mut Environment) -> Result<(), EnvironmentError> {
    for source in inputs.container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        if let Some(r) = &source.config_map_ref {
            match inputs.fetched.config_maps.get(&r.name) {
                Some(map) => {
                    for (key, value) in map.data.iter().flatten() {
                        env.set(format!("{prefix}{key}"), value.clone());
                    }
                }
                None if r.optional == Some(true) => {}
                None => return Err(EnvironmentError::ConfigMapMissing(r.name.clone())),
            }
        } else if let Some(r) = &source.secret_ref {
            match inputs.fetched.secrets.get(&r.name) {
                Some(secret) => {
                    for (key, value) in secret.data.iter().flatten() {
                        env.set(format!("{prefix}{key}"), String::from_utf8_lossy(&value.0).into_owned());
                    }
                }
                None if r.optional == Some(true) => {}
                None => return Err(EnvironmentError::SecretMissing(r.name.clone())),
            }
        }
    }
    Ok(())
}

/// The variable's value; `None` when an optional source is absent and the variable is not set.
fn value_of(
    inputs: &Inputs<'_>,
    namespace: &str,
    variable: &EnvVar,
    env: &Environment,
    from_services: &BTreeMap<String, String>,
) -> Result<Option<String>, EnvironmentError> {
    if let Some(value) = variable.value.as_deref().filter(|v| !v.is_empty()) {
        let look_up = |name: &str| env.get(name).or_else(|| from_services.get(name).map(String::as_str));
        return Ok(Some(expansion::expand(value, look_up)));
    }
    let Some(source) = &variable.value_from else {
        return Ok(Some(String::new()));
    };
    if let Some(field) = &source.field_ref {
        return fields::value(inputs.pod, inputs.addresses, &field.field_path).map(Some);
    }
    if let Some(resource) = &source.resource_field_ref {
        return resource_fields::value(inputs.pod, Some(inputs.container), resource, inputs.allocatable)
            .map(Some);
    }
    if let Some(r) = &source.config_map_key_ref {
        let optional = r.optional == Some(true);
        let Some(map) = inputs.fetched.config_maps.get(&r.name) else {
            return if optional { Ok(None) } else { Err(EnvironmentError::ConfigMapMissing(r.name.clone())) };
        };
        return match map.data.as_ref().and_then(|d| d.get(&r.key)) {
            Some(value) => Ok(Some(value.clone())),
            None if optional => Ok(None),
            None => Err(EnvironmentError::ConfigMapKeyMissing {
                key: r.key.clone(),
                namespace: namespace.to_owned(),
                name: r.name.clone(),
            }),
        };
    }
    if let Some(r) = &source.secret_key_ref {
        let optional = r.optional == Some(true);
        let Some(secret) = inputs.fetched.secrets.get(&r.name) else {
            return if optional { Ok(None) } else { Err(EnvironmentError::SecretMissing(r.name.clone())) };
        };
        return match secret.data.as_ref().and_then(|d| d.get(&r.key)) {
            Some(value) => Ok(Some(String::from_utf8_lossy(&value.0).into_owned())),
            None if optional => Ok(None),
            None => Err(EnvironmentError::SecretKeyMissing {
                key: r.key.clone(),
                namespace: namespace.to_owned(),
                name: r.name.clone(),
            }),
        };
    }
    match &source.file_key_ref {
        Some(file) => from_file(inputs, file),
        None => Ok(Some(String::new())),
    }
}

/// The value in a file of a volume; as upstream, `optional` is about the key alone.
fn from_file(inputs: &Inputs<'_>, source: &FileKeySelector) -> Result<Option<String>, EnvironmentError> {
    let name = (source.volume_name.clone(), source.path.clone());
    let Some(file) = inputs.fetched.files.get(&name) else {
        return Err(EnvironmentError::FileVolumeMissing(name.0));
    };
    let unusable = |why: &str| {
        let pod = inputs.pod.metadata.name.as_deref().unwrap_or_default();
        tracing::warn!(pod, file = file.shown, why, "a file of environment variables is of no use");
        EnvironmentError::FileUnusable
    };
    let text = file.text.as_ref().map_err(|why| unusable(why))?;
    match files::value(text, &source.key).map_err(|why| unusable(&why.to_string()))? {
        Some(value) => Ok(Some(value)),
        None if source.optional == Some(true) => Ok(None),
        None => Err(EnvironmentError::FileKeyMissing { key: source.key.clone(), file: file.shown.clone() }),
    }
}
