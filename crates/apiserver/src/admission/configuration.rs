//! [`Configuration`]: the file of `--admission-control-config-file`: what plugins are told besides being on.
//!
//! Whatever is read acts: a plugin that takes no configuration here, or a field that nothing heeds, is refused by name.
//! Upstream: `k8s.io/apiserver/pkg/admission/config.go`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::pod_security::{Standards, Written as WrittenStandards};
use crate::webhook::Credentials;

/// See the module's documentation. By default plugins are told nothing.
#[derive(Debug, Default, Clone)]
pub struct Configuration {
    pub(super) pod_security: Arc<Standards>,
    /// As whom mutating webhooks are called, and validating ones.
    pub(super) mutating: Option<Arc<Credentials>>,
    pub(super) validating: Option<Arc<Credentials>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    api_version: String,
    kind: String,
    #[serde(default)]
    plugins: Vec<Plugin>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plugin {
    name: String,
    #[serde(default)]
    path: String,
    configuration: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WebhookAdmission {
    #[serde(default)]
    kube_config_file: String,
}

impl Configuration {
    /// Reads the file, and those that it names.
    ///
    /// # Errors
    /// What cannot be read, or not be heeded.
    pub fn read(file: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
        let written: Written = serde_saphyr::from_str(&text).map_err(|error| error.to_string())?;
        let named = (written.api_version.as_str(), written.kind.as_str());
        if named != ("apiserver.config.k8s.io/v1", "AdmissionConfiguration") {
            return Err(format!(
                "it is {} {}, not apiserver.config.k8s.io/v1 AdmissionConfiguration",
                named.0, named.1
            ));
        }
        let folder = file.parent().unwrap_or(Path::new(""));
        let mut read = Self::default();
        for plugin in written.plugins {
            let name = plugin.name.clone();
            read.tell(plugin, folder).map_err(|why| format!("the plugin {name:?}: {why}"))?;
        }
        Ok(read)
    }

    fn tell(&mut self, plugin: Plugin, folder: &Path) -> Result<(), String> {
        let told = match (plugin.configuration.filter(|told| !told.is_null()), plugin.path.as_str()) {
            (Some(told), _) => told,
            (None, "") => return Ok(()),
            (None, path) => {
                let path = within(folder, path);
                let text = std::fs::read_to_string(&path);
                let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
                serde_saphyr::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?
            }
        };
        match plugin.name.as_str() {
            "PodSecurity" => {
                let kind = ("pod-security.admission.config.k8s.io/v1", "PodSecurityConfiguration");
                self.pod_security = Arc::new(Standards::read(kinded::<WrittenStandards>(told, kind)?)?);
            }
            "MutatingAdmissionWebhook" | "ValidatingAdmissionWebhook" => {
                let kind = ("apiserver.config.k8s.io/v1", "WebhookAdmissionConfiguration");
                let told: WebhookAdmission = kinded(told, kind)?;
                let file = &told.kube_config_file;
                let read =
                    if file.is_empty() { None } else { Some(Credentials::read(&within(folder, file))?) };
                let place = match plugin.name.as_str() {
                    "MutatingAdmissionWebhook" => &mut self.mutating,
                    _ => &mut self.validating,
                };
                *place = read.map(Arc::new);
            }
            _ => return Err("it takes no configuration here".to_owned()),
        }
        Ok(())
    }
}

fn within(folder: &Path, path: &str) -> PathBuf {
    folder.join(path)
}

/// What is told, which has to name its kind.
fn kinded<T: DeserializeOwned>(mut told: Value, (version, kind): (&str, &str)) -> Result<T, String> {
    let fields = told.as_object_mut().ok_or("the configuration is no object")?;
    let named = [fields.remove("apiVersion"), fields.remove("kind")];
    if named != [Some(version.into()), Some(kind.into())] {
        return Err(format!("the configuration has to be {version} {kind}"));
    }
    serde_json::from_value(told).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(plugins: &str) -> Result<Configuration, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("admission.yaml");
        std::fs::write(folder.path().join("hooks"), "apiVersion: v1\nkind: Config\nusers: []\n")
            .expect("written");
        let text = format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins: {plugins}\n"
        );
        std::fs::write(&file, text).expect("written");
        Configuration::read(&file)
    }

    #[test]
    fn what_is_read_acts_or_is_refused_by_name() {
        let hooks = "{apiVersion: apiserver.config.k8s.io/v1, kind: WebhookAdmissionConfiguration, kubeConfigFile: hooks}";
        let known =
            read(&format!("[{{name: MutatingAdmissionWebhook, configuration: {hooks}}}]")).expect("read");
        assert!(known.mutating.is_some() && known.validating.is_none());
        let wrong = |plugins: &str| read(plugins).expect_err("refused");
        assert_eq!(
            wrong("[{name: EventRateLimit, configuration: {a: 1}}]"),
            "the plugin \"EventRateLimit\": it takes no configuration here"
        );
        assert!(
            wrong("[{name: PodSecurity, configuration: {kind: X}}]").contains("PodSecurityConfiguration")
        );
        assert!(wrong("[{name: PodSecurity, path: missing.yaml}]").contains("missing.yaml"));
        let odd =
            "{apiVersion: pod-security.admission.config.k8s.io/v1, kind: PodSecurityConfiguration, odd: 1}";
        assert!(
            wrong(&format!("[{{name: PodSecurity, configuration: {odd}}}]")).contains("unknown field `odd`")
        );
    }
}
