//! [`Configuration`]: the file of `--encryption-provider-config`: which resources are encrypted, how and with which keys.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use crate::kms::{Kms, Socket};
use crate::provider::{Cipher, Key, Provider};

/// How long a key management service may take for an answer.
const KMS_TIMEOUT: Duration = Duration::from_secs(3);

/// A resource or several, as the file names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// `*.*`
    All,
    /// `*.apps`; `*.` is the core group.
    Group(String),
    /// `deployments.apps`, `secrets`
    Resource { group: String, plural: String },
}

/// Keys of the store that begin with one of these are encrypted alike.
#[derive(Clone)]
pub struct Covered {
    pub(crate) prefixes: Vec<String>,
    pub(crate) providers: Vec<Provider>,
}

/// What is encrypted: by default nothing. The first entry that covers a key counts.
#[derive(Clone, Default)]
pub struct Configuration {
    pub(crate) entries: Vec<Covered>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    #[serde(default)]
    resources: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    providers: Vec<WrittenProvider>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenProvider {
    aesgcm: Option<Keys>,
    aescbc: Option<Keys>,
    secretbox: Option<Keys>,
    identity: Option<Nothing>,
    kms: Option<WrittenKms>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(default)]
    keys: Vec<WrittenKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenKey {
    #[serde(default)]
    name: String,
    #[serde(default)]
    secret: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenKms {
    #[serde(rename = "apiVersion", default)]
    api_version: String,
    #[serde(default)]
    name: String,
    cachesize: Option<i64>,
    #[serde(default)]
    endpoint: String,
    timeout: Option<String>,
}

impl Configuration {
    /// Reads the file. `keys_of` tells with what the store's keys of a resource begin; none where there is no such
    /// resource.
    ///
    /// # Errors
    /// What is wrong: line and column where it cannot be read, else field by field. Secrets are not shown.
    pub fn parse(text: &str, keys_of: impl Fn(&Wanted) -> Vec<String>) -> Result<Self, String> {
        // No line of the file is shown: it holds keys.
        let options = serde_saphyr::options! { with_snippet: false };
        let written: Written = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let place = error.location();
            place.map_or_else(
                || "it is no EncryptionConfiguration".to_owned(),
                |place| {
                    format!(
                        "line {}, column {}: not as an EncryptionConfiguration has it",
                        place.line(),
                        place.column()
                    )
                },
            )
        })?;
        let named = (written.api_version.as_str(), written.kind.as_str());
        if named != ("apiserver.config.k8s.io/v1", "EncryptionConfiguration") {
            return Err(format!(
                "it is {} {}, not apiserver.config.k8s.io/v1 EncryptionConfiguration",
                named.0, named.1
            ));
        }
        let mut wrong = Vec::new();
        if written.resources.is_empty() {
            wrong.push("resources: Required value: at least one item is needed".to_owned());
        }
        let mut entries = Vec::new();
        let mut services = BTreeSet::new();
        for (i, entry) in written.resources.into_iter().enumerate() {
            let at = format!("resources[{i}]");
            if entry.resources.is_empty() {
                wrong.push(format!("{at}.resources: Required value: at least one item is needed"));
            }
            if entry.providers.is_empty() {
                wrong.push(format!("{at}.providers: Required value: at least one item is needed"));
            }
            let mut prefixes = Vec::new();
            for (n, name) in entry.resources.iter().enumerate() {
                let found = wanted(name).map(|wanted| keys_of(&wanted)).unwrap_or_default();
                if found.is_empty() {
                    wrong.push(format!(
                        "{at}.resources[{n}]: Invalid value: {name:?}: there is no such resource"
                    ));
                }
                prefixes.extend(found);
            }
            let providers = entry.providers.into_iter().enumerate();
            let providers = providers
                .filter_map(|(n, provider)| provider.read(&format!("{at}.providers[{n}]"), &mut wrong));
            let providers: Vec<Provider> = providers.collect();
            for provider in &providers {
                if let Provider::Kms(kms) = provider
                    && !services.insert(kms.name().to_owned())
                {
                    wrong.push(format!(
                        "{at}.providers: Invalid value: {:?}: duplicate provider name, names must be unique",
                        kms.name()
                    ));
                }
            }
            entries.push(Covered { prefixes, providers });
        }
        if wrong.is_empty() { Ok(Self { entries }) } else { Err(wrong.join("; ")) }
    }

    /// The key management services, each once, in the order of the file.
    pub fn key_services(&self) -> Vec<Arc<Kms>> {
        let all = self.entries.iter().flat_map(|entry| &entry.providers);
        let all = all.filter_map(|provider| match provider {
            Provider::Kms(kms) => Some(Arc::clone(kms)),
            _ => None,
        });
        all.collect()
    }

    /// How the values of a key are encrypted; `None` where they are not.
    pub(crate) fn providers(&self, key: &str) -> Option<&[Provider]> {
        let covers = |entry: &&Covered| entry.prefixes.iter().any(|prefix| key.starts_with(prefix.as_str()));
        self.entries.iter().find(covers).map(|entry| entry.providers.as_slice())
    }
}

fn wanted(name: &str) -> Option<Wanted> {
    let (plural, group) = name.split_once('.').unwrap_or((name, ""));
    match (plural, group) {
        ("*", "*") => Some(Wanted::All),
        ("*", group) if name.contains('.') && !group.contains('*') => Some(Wanted::Group(group.to_owned())),
        (plural, group) if plural.contains('*') || group.contains('*') || plural.is_empty() => None,
        (plural, group) => Some(Wanted::Resource { group: group.to_owned(), plural: plural.to_owned() }),
    }
}

impl WrittenProvider {
    fn read(self, at: &str, wrong: &mut Vec<String>) -> Option<Provider> {
        let given = [
            self.aesgcm.map(|keys| (Cipher::AesGcm, keys)),
            self.aescbc.map(|keys| (Cipher::AesCbc, keys)),
            self.secretbox.map(|keys| (Cipher::Secretbox, keys)),
        ];
        let mut given: Vec<_> = given.into_iter().flatten().collect();
        let others = usize::from(self.identity.is_some()) + usize::from(self.kms.is_some());
        if given.len() + others != 1 {
            wrong.push(format!("{at}: Required value: exactly one provider has to stand in each item"));
            return None;
        }
        if let Some(kms) = self.kms {
            return kms.read(&format!("{at}.kms"), wrong).map(|kms| Provider::Kms(Arc::new(kms)));
        }
        match given.pop() {
            Some((cipher, keys)) => Some(Provider::Keys(keys.read(cipher, at, wrong))),
            None => Some(Provider::Identity),
        }
    }
}

impl WrittenKms {
    fn read(self, at: &str, wrong: &mut Vec<String>) -> Option<Kms> {
        let before = wrong.len();
        let name = &self.name;
        if name.is_empty() {
            wrong.push(format!("{at}.name: Required value: name is a required field"));
        }
        if name.contains(':') {
            wrong.push(format!(
                "{at}.name: Invalid value: {name:?}: KMS provider name should not contain ':'"
            ));
        }
        match self.api_version.as_str() {
            "v2" => {}
            "" | "v1" => wrong.push(format!(
                "{at}.apiVersion: Invalid value: {:?}: KMSv1 is deprecated and will only receive security updates going \
                 forward. Use KMSv2 instead",
                self.api_version
            )),
            other => wrong.push(format!(
                "{at}.apiVersion: Invalid value: {other:?}: unsupported apiVersion for KMS provider, only v2 is supported"
            )),
        }
        if self.cachesize.is_some() {
            wrong.push(format!("{at}.cachesize: Invalid value: cachesize is not supported in v2"));
        }
        let timeout = match self.timeout.as_deref().map(str::parse::<jiff::SignedDuration>) {
            None => Some(KMS_TIMEOUT),
            Some(read) => read.ok().and_then(|read| Duration::try_from(read).ok()),
        };
        let timeout = timeout.filter(|timeout| !timeout.is_zero());
        if timeout.is_none() {
            wrong
                .push(format!("{at}.timeout: Invalid value: {:?}: should be a positive value", self.timeout));
        }
        let socket = socket(&self.endpoint);
        if let Err(why) = &socket {
            wrong.push(format!("{at}.endpoint: Invalid value: {:?}: {why}", self.endpoint));
        }
        let (socket, timeout) = (socket.ok()?, timeout?);
        (wrong.len() == before).then(|| Kms::new(&self.name, socket, timeout))
    }
}

/// The socket of an endpoint; `unix:///@name` is one of the abstract namespace.
fn socket(endpoint: &str) -> Result<Socket, String> {
    let path = match endpoint.split_once("://") {
        Some(("unix", path)) => path,
        Some((scheme, _)) => {
            return Err(format!("unsupported scheme {scheme:?} for KMS provider, only unix is supported"));
        }
        None if endpoint.is_empty() => return Err("endpoint is a required field".to_owned()),
        None => return Err("invalid endpoint for kms provider, error: no scheme".to_owned()),
    };
    match path.strip_prefix("/@") {
        Some(name) => Ok(Socket::Abstract(name.to_owned())),
        None if path.starts_with('/') => Ok(Socket::File(path.into())),
        None => Err("invalid endpoint for kms provider, error: the path has to begin with '/'".to_owned()),
    }
}

impl Keys {
    fn read(self, cipher: Cipher, at: &str, wrong: &mut Vec<String>) -> Vec<Key> {
        let at = format!("{at}.{}.keys", cipher.name());
        if self.keys.is_empty() {
            wrong.push(format!("{at}: Required value: at least one key is needed"));
        }
        let mut names: Vec<String> = Vec::new();
        let mut out = Vec::new();
        for (i, WrittenKey { name, secret }) in self.keys.into_iter().enumerate() {
            if name.is_empty() || name.contains(':') {
                wrong.push(format!("{at}[{i}].name: Invalid value: {name:?}: must be a name without ':'"));
            }
            if names.contains(&name) {
                wrong.push(format!("{at}[{i}].name: Duplicate value: {name:?}"));
            }
            match BASE64_STANDARD.decode(&secret) {
                Ok(bytes) if cipher.key_sizes().contains(&bytes.len()) => out.push(Key::new(cipher, &name, bytes)),
                Ok(bytes) => wrong.push(format!(
                    "{at}[{i}].secret: Invalid value: \"REDACTED\": secret is not of the expected length, got {}, expected one of {:?}",
                    bytes.len(),
                    cipher.key_sizes()
                )),
                Err(_) => wrong.push(format!(
                    "{at}[{i}].secret: Invalid value: \"REDACTED\": secrets must be base64 encoded"
                )),
            }
            names.push(name);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n";

    fn keys_of(wanted: &Wanted) -> Vec<String> {
        match wanted {
            Wanted::All => vec!["/registry/".to_owned()],
            Wanted::Group(group) => vec![format!("/registry/{group}/")],
            Wanted::Resource { plural, .. } if plural == "unknown" => Vec::new(),
            Wanted::Resource { plural, .. } => vec![format!("/registry/{plural}/")],
        }
    }

    fn parse(rest: &str) -> Result<Configuration, String> {
        Configuration::parse(&format!("{HEAD}{rest}"), keys_of)
    }

    #[test]
    fn the_first_entry_that_covers_a_key_counts() {
        let secret = BASE64_STANDARD.encode([7; 32]);
        let read = parse(&format!(
            r#"
resources:
- resources: [secrets]
  providers: [{{aesgcm: {{keys: [{{name: a, secret: {secret}}}]}}}}, {{identity: {{}}}}]
- resources: [configmaps]
  providers: [{{identity: {{}}}}]
- resources: ["*.*"]
  providers: [{{secretbox: {{keys: [{{name: b, secret: {secret}}}]}}}}, {{identity: {{}}}}]
"#
        ))
        .unwrap_or_else(|why| panic!("{why}"));
        let kinds = |key: &str| -> Vec<bool> {
            let providers = read.providers(key).expect("covered");
            providers.iter().map(|provider| matches!(provider, Provider::Keys(_))).collect()
        };
        assert_eq!(kinds("/registry/secrets/a/b"), [true, false]);
        assert_eq!(kinds("/registry/configmaps/a/b"), [false]);
        assert_eq!(kinds("/registry/pods/a/b"), [true, false]);
        assert!(read.providers("/elsewhere").is_none());
    }

    #[test]
    fn faults_are_named_and_secrets_are_not_shown() {
        let wrong = |rest: &str| parse(rest).err().expect("faults");
        assert_eq!(wrong("resources: []"), "resources: Required value: at least one item is needed");
        let of = |provider: &str| {
            wrong(&format!("resources: [{{resources: [secrets], providers: [{provider}]}}]"))
        };
        assert!(of("{}").contains("exactly one provider"));
        assert!(
            of("{aescbc: {keys: [{name: a, secret: AAAA}]}}")
                .ends_with("got 3, expected one of [16, 24, 32]")
        );
        let text = of("{secretbox: {keys: [{name: a, secret: pass-word!}]}}");
        assert!(text.contains("must be base64") && !text.contains("pass-word"), "{text}");
        let text = of("{aescbc: {keys: [{name: a, secrets: c2VjcmV0}]}}");
        assert!(text.starts_with("line 3") && !text.contains("c2VjcmV0"), "{text}");
        let of_kms = |rest: &str| of(&format!("{{kms: {{name: vault, {rest}}}}}"));
        assert!(of_kms("apiVersion: v1, endpoint: 'unix:///x'").contains("Use KMSv2 instead"));
        assert!(of_kms("apiVersion: v2, endpoint: 'tcp://x'").contains("only unix is supported"));
        assert!(of_kms("apiVersion: v2, endpoint: 'unix:///x', timeout: 0s").contains("positive"));
        assert!(
            of_kms("apiVersion: v2, endpoint: 'unix:///x', cachesize: 3").contains("not supported in v2")
        );
        let twice = "kms: {apiVersion: v2, name: vault, endpoint: 'unix:///@x', timeout: 5s}";
        assert!(of(&format!("{{{twice}}}, {{{twice}}}")).contains("duplicate provider name"));
        assert!(
            wrong("resources: [{resources: [unknown], providers: [{identity: {}}]}]")
                .contains("no such resource")
        );
        assert!(
            wrong("resources: [{resources: ['*'], providers: [{identity: {}}]}]")
                .contains("no such resource")
        );
    }
}
