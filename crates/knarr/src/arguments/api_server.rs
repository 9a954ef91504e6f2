//! The API server's own settings, under upstream's names: as flags, and as keys below `apiServer` in the settings file.

mod token_file;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use apiserver::admission::{Choice, Configuration};
use apiserver::audit::{Batches, FileSettings, Policy, Rotation, Settings, WebhookSettings};
use apiserver::identity::authn::jwt::{AnonymousSettings, AuthenticationConfiguration, OidcFlags};
use apiserver::identity::authn::{StaticTokens, TokenWebhook};
use apiserver::identity::authz::{AccessWebhook, AuthorizationConfiguration, Mode};
use apiserver::security::SecurityConfig;
use clap::Args;
use encryption::Wanted;
use resources::{Builtin, KindTable, ResourceSource};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// What of the API server can be set. `auditPolicyFile` in the settings file is `--audit-policy-file`.
#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[command(next_help_heading = "API server")]
pub struct ApiServer {
    /// Which requests are written down, and how much of them: a file with an audit.k8s.io/v1 Policy
    /// [default: each once it is answered, without its objects]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_policy_file: Option<PathBuf>,
    /// Write audit events to this file, an event a line; "-" means standard output
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_log_path: Option<PathBuf>,
    /// Remove audit logs that were put aside more days ago [default: never]
    #[arg(long, value_name = "DAYS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_log_maxage: Option<u32>,
    /// Keep no more audit logs that were put aside [default: all]
    #[arg(long, value_name = "COUNT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_log_maxbackup: Option<usize>,
    /// Put the audit log aside before it gets larger, in megabytes [default: 100]
    #[arg(long, value_name = "MEGABYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_log_maxsize: Option<u32>,
    /// Compress audit logs that are put aside (gzip)
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_log_compress: Option<bool>,
    /// Send audit events to the server that this kubeconfig names
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_webhook_config_file: Option<PathBuf>,
    /// Audit events that may wait for the webhook; what comes beyond is lost [default: 10000]
    #[arg(long, value_name = "EVENTS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_webhook_batch_buffer_size: Option<usize>,
    /// Audit events that the webhook gets at a time [default: 400]
    #[arg(long, value_name = "EVENTS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_webhook_batch_max_size: Option<usize>,
    /// How long audit events wait until the webhook gets them together [default: 30s]
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_webhook_batch_max_wait: Option<Span>,
    /// How long to wait before audit events are sent to the webhook again [default: 10s]
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_webhook_initial_backoff: Option<Span>,
    /// Whose tokens are taken and who anonymous users are: a file with an AuthenticationConfiguration
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication_config: Option<PathBuf>,
    /// Whether requests without credentials are system:anonymous [default: true]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous_auth: Option<bool>,
    /// Ask the server that this kubeconfig names about tokens that nobody else knows
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication_token_webhook_config_file: Option<PathBuf>,
    /// The version of the TokenReview, v1 or v1beta1 [default: v1beta1]
    #[arg(long, value_name = "VERSION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication_token_webhook_version: Option<String>,
    /// How long an answer about a token counts [default: 2m]
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication_token_webhook_cache_ttl: Option<Span>,
    /// Tokens that are taken, a line each: token,user,uid,"group1,group2"
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_auth_file: Option<PathBuf>,
    /// Take the tokens of this OpenID Connect issuer, an https URL
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oidc_issuer_url: Option<String>,
    /// The audience that the issuer's tokens have to be for
    #[arg(long, value_name = "ID")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oidc_client_id: Option<String>,
    /// The authorities of the issuer's certificate [default: the machine's]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oidc_ca_file: Option<PathBuf>,
    /// The claim that is the user's name [default: sub]
    #[arg(long, value_name = "CLAIM")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oidc_username_claim: Option<String>,
    /// What stands before users' names; "-" for nothing [default: the issuer's URL and "#"; nothing before email]
    #[arg(long, value_name = "PREFIX", allow_hyphen_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oidc_username_prefix: Option<String>,
    /// The claim that is the user's groups
    #[arg(long, value_name = "CLAIM")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oidc_groups_claim: Option<String>,
    /// What stands before groups' names
    #[arg(long, value_name = "PREFIX")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oidc_groups_prefix: Option<String>,
    /// Claims that tokens must have, with these values
    #[arg(long, value_name = "CLAIM=VALUE", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oidc_required_claim: Option<Vec<String>>,
    /// What the issuer may sign with [default: RS256]
    #[arg(long, value_name = "ALGORITHM", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oidc_signing_algs: Option<Vec<String>>,
    /// Who is asked whether a request is allowed: a file with an AuthorizationConfiguration
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_config: Option<PathBuf>,
    /// Who is asked, in order: Node, RBAC, Webhook, AlwaysAllow, AlwaysDeny [default: Node,RBAC]
    #[arg(long, value_name = "MODE", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_mode: Option<Vec<String>>,
    /// For mode Webhook: the kubeconfig that names the server
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_webhook_config_file: Option<PathBuf>,
    /// The version of the SubjectAccessReview, v1 or v1beta1 [default: v1beta1]
    #[arg(long, value_name = "VERSION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_webhook_version: Option<String>,
    /// How long the webhook's answer counts that allows [default: 5m]
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_webhook_cache_authorized_ttl: Option<Span>,
    /// How long the webhook's answer counts that does not allow [default: 30s]
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_webhook_cache_unauthorized_ttl: Option<Span>,
    /// What admission plugins are told: a file with an AdmissionConfiguration
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admission_control_config_file: Option<PathBuf>,
    /// Admission plugins to turn on that are off by default
    #[arg(long, value_name = "PLUGIN", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_admission_plugins: Option<Vec<String>>,
    /// Admission plugins to turn off that are on by default
    #[arg(long, value_name = "PLUGIN", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_admission_plugins: Option<Vec<String>>,
    /// What is encrypted where objects are stored, and with which keys: a file with an EncryptionConfiguration
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption_provider_config: Option<PathBuf>,
}

macro_rules! given {
    ($settings:expr, $($field:ident),+) => { [$(($settings.$field.is_some(), stringify!($field))),+] };
}

impl ApiServer {
    /// These, and where they say nothing, what the file says.
    ///
    /// # Errors
    /// Never of settings that were read.
    pub fn over(&self, file: &Self) -> Result<Self> {
        let mut all = file.fields()?;
        all.extend(self.fields()?);
        serde_json::from_value(Value::Object(all)).context("putting settings together")
    }

    /// The flags that say the same to another process, with whole paths.
    ///
    /// # Errors
    /// When a path is not UTF-8 or cannot be made whole.
    pub fn arguments(&self) -> Result<Vec<OsString>> {
        let fields = self.whole()?.fields()?;
        let flag = |(key, value): (String, Value)| {
            let value = match value {
                Value::String(text) => text,
                Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
                other => other.to_string(),
            };
            OsString::from(format!("--{}={value}", kebab(&key)))
        };
        Ok(fields.into_iter().map(flag).collect())
    }

    /// Whether all files can be read and say what they should, before anything is made.
    ///
    /// # Errors
    /// As those who use them.
    pub fn check(&self) -> Result<()> {
        self.audit()?;
        self.encryption()?;
        self.plugins()?;
        self.admission()?;
        self.authentication()?;
        self.authorization()?;
        if let Some(path) = &self.token_auth_file {
            token_file::read(&read(path)?, &mut StaticTokens::default())
                .with_context(|| format!("in {}", path.display()))?;
        }
        Ok(())
    }

    /// What is to be written down, and where; `None` when nothing is.
    ///
    /// # Errors
    /// When the policy cannot be read or is none.
    pub fn audit(&self) -> Result<Option<Settings>> {
        let policy = self.audit_policy_file.as_ref().map(|path| {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
            Policy::parse(&text).map_err(|why| anyhow!("{} is no audit policy: {why}", path.display()))
        });
        let file = self.audit_log_path.clone().map(|path| FileSettings { path, rotation: self.rotation() });
        let webhook = self.audit_webhook_config_file.clone();
        let webhook = webhook.map(|kubeconfig| WebhookSettings { kubeconfig, batches: self.batches() });
        let settings = Settings { policy: policy.transpose()?, file, webhook };
        Ok((settings.file.is_some() || settings.webhook.is_some()).then_some(settings))
    }

    /// Who may come in and who is asked what they may do.
    ///
    /// # Errors
    /// When a file cannot be read or settings contradict each other; it says which.
    pub fn security(&self, mut config: SecurityConfig) -> Result<SecurityConfig> {
        if let Some(path) = &self.token_auth_file {
            let text = read(path)?;
            token_file::read(&text, &mut config.static_tokens)
                .with_context(|| format!("in {}", path.display()))?;
        }
        config.authentication = self.authentication()?;
        for issuer in &config.authentication.issuers {
            ensure!(
                issuer.url() != config.issuer,
                "the issuer {:?} of service account tokens cannot be configured as another one: URL must not overlap with disallowed issuers",
                config.issuer
            );
        }
        config.token_webhook = self.authentication_token_webhook_config_file.clone().map(|kubeconfig| {
            let version = self.authentication_token_webhook_version.clone();
            let ttl = self.authentication_token_webhook_cache_ttl;
            TokenWebhook {
                kubeconfig,
                version: version.unwrap_or_else(|| "v1beta1".to_owned()),
                ttl: ttl.map_or(Duration::from_secs(120), |span| span.0),
            }
        });
        config.plugins = self.plugins()?;
        config.admission = self.admission()?;
        config.authorization = self.authorization()?;
        let open = config.authorization.modes.iter().any(|mode| matches!(mode, Mode::AlwaysAllow));
        if open && config.authentication.anonymous.enabled {
            tracing::warn!(
                "anonymous requests are refused, since AlwaysAllow would let anybody do everything"
            );
            config.authentication.anonymous.enabled = false;
        }
        Ok(config)
    }

    /// What admission plugins are told.
    ///
    /// # Errors
    /// When the file cannot be read or says something that nothing heeds.
    fn admission(&self) -> Result<Configuration> {
        let Some(path) = &self.admission_control_config_file else { return Ok(Configuration::default()) };
        Configuration::read(path).map_err(|why| anyhow!("{}: {why}", path.display()))
    }

    /// Which admission plugins are on.
    ///
    /// # Errors
    /// When there is no such plugin, or one is to be on and off.
    fn plugins(&self) -> Result<Choice> {
        let names = |given: &Option<Vec<String>>| given.clone().unwrap_or_default();
        let (on, off) = (names(&self.enable_admission_plugins), names(&self.disable_admission_plugins));
        Choice::read(&on, &off).map_err(|why| anyhow!(why))
    }

    /// How objects are encrypted where they are stored.
    ///
    /// # Errors
    /// When the file cannot be read or says something wrong.
    pub fn encryption(&self) -> Result<encryption::Configuration> {
        let Some(path) = &self.encryption_provider_config else {
            return Ok(encryption::Configuration::default());
        };
        let table = Builtin.table();
        let read = encryption::Configuration::parse(&read(path)?, |wanted| keys_of(&table, wanted));
        read.map_err(|why| anyhow!("{}: {why}", path.display()))
    }

    fn authentication(&self) -> Result<AuthenticationConfiguration> {
        let oidc = given!(
            self,
            oidc_issuer_url,
            oidc_client_id,
            oidc_ca_file,
            oidc_username_claim,
            oidc_username_prefix,
            oidc_groups_claim,
            oidc_groups_prefix,
            oidc_required_claim,
            oidc_signing_algs
        );
        if let Some(path) = &self.authentication_config {
            refuse(&oidc, "authentication-config")?;
            let read = AuthenticationConfiguration::parse(&read(path)?);
            let mut read = read.map_err(|why| anyhow!("{}: {why}", path.display()))?;
            if let Some(enabled) = self.anonymous_auth {
                ensure!(
                    read.anonymous == AnonymousSettings::default(),
                    "--anonymous-auth flag cannot be set when anonymous field is configured in authentication configuration file"
                );
                read.anonymous.enabled = enabled;
            }
            return Ok(read);
        }
        let mut configuration = match oidc.iter().any(|(given, _)| *given) {
            true => AuthenticationConfiguration::of_flags(self.oidc()?).map_err(|why| anyhow!("{why}"))?,
            false => AuthenticationConfiguration::default(),
        };
        configuration.anonymous.enabled = self.anonymous_auth.unwrap_or(true);
        Ok(configuration)
    }

    fn oidc(&self) -> Result<OidcFlags> {
        let required = self.oidc_required_claim.iter().flatten().map(|pair| {
            let pair = pair.split_once('=').map(|(claim, value)| (claim.to_owned(), value.to_owned()));
            pair.context("--oidc-required-claim: must be claim=value")
        });
        Ok(OidcFlags {
            issuer_url: self.oidc_issuer_url.clone().unwrap_or_default(),
            client_id: self.oidc_client_id.clone().unwrap_or_default(),
            ca: self.oidc_ca_file.as_deref().map(read).transpose()?.unwrap_or_default(),
            username_claim: self.oidc_username_claim.clone(),
            username_prefix: self.oidc_username_prefix.clone(),
            groups_claim: self.oidc_groups_claim.clone(),
            groups_prefix: self.oidc_groups_prefix.clone(),
            required_claims: required.collect::<Result<_>>()?,
            signing_algs: self.oidc_signing_algs.clone().unwrap_or_default(),
        })
    }

    fn authorization(&self) -> Result<AuthorizationConfiguration> {
        let flags = given!(
            self,
            authorization_mode,
            authorization_webhook_config_file,
            authorization_webhook_version,
            authorization_webhook_cache_authorized_ttl,
            authorization_webhook_cache_unauthorized_ttl
        );
        if let Some(path) = &self.authorization_config {
            refuse(&flags, "authorization-config")?;
            let read = AuthorizationConfiguration::parse(&read(path)?);
            return read.map_err(|why| anyhow!("{}: {why}", path.display()));
        }
        let webhook = self.authorization_webhook_config_file.clone().map(|kubeconfig| {
            let mut webhook = AccessWebhook::of_flags(kubeconfig);
            if let Some(version) = &self.authorization_webhook_version {
                webhook.version.clone_from(version);
            }
            if let Some(span) = self.authorization_webhook_cache_authorized_ttl {
                webhook.allowed_for = span.0;
            }
            if let Some(span) = self.authorization_webhook_cache_unauthorized_ttl {
                webhook.refused_for = span.0;
            }
            webhook
        });
        match &self.authorization_mode {
            Some(modes) => {
                AuthorizationConfiguration::of_modes(modes, webhook).map_err(|why| anyhow!("{why}"))
            }
            None if webhook.is_some() => {
                bail!("cannot specify --authorization-webhook-config-file without mode Webhook")
            }
            None => Ok(AuthorizationConfiguration::default()),
        }
    }

    fn rotation(&self) -> Rotation {
        let usual = Rotation::default();
        // Upstream takes 0 for its default, too.
        let megabytes = self.audit_log_maxsize.filter(|size| *size > 0);
        Rotation {
            max_bytes: megabytes.map_or(usual.max_bytes, |size| u64::from(size) << 20),
            max_age_days: self.audit_log_maxage.unwrap_or(usual.max_age_days),
            max_backups: self.audit_log_maxbackup.unwrap_or(usual.max_backups),
            compress: self.audit_log_compress.unwrap_or(usual.compress),
        }
    }

    fn batches(&self) -> Batches {
        let usual = Batches::default();
        Batches {
            buffer: self.audit_webhook_batch_buffer_size.unwrap_or(usual.buffer),
            max_events: self.audit_webhook_batch_max_size.unwrap_or(usual.max_events),
            max_wait: self.audit_webhook_batch_max_wait.map_or(usual.max_wait, |span| span.0),
            initial_backoff: self.audit_webhook_initial_backoff.map_or(usual.initial_backoff, |span| span.0),
        }
    }

    /// The same with paths from the root.
    fn whole(&self) -> Result<Self> {
        let mut whole = self.clone();
        for path in whole.paths() {
            if path.as_os_str() != "-" {
                *path = std::path::absolute(&*path).with_context(|| format!("finding {}", path.display()))?;
            }
        }
        Ok(whole)
    }

    fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        [
            &mut self.audit_policy_file,
            &mut self.audit_log_path,
            &mut self.audit_webhook_config_file,
            &mut self.authentication_config,
            &mut self.authentication_token_webhook_config_file,
            &mut self.token_auth_file,
            &mut self.oidc_ca_file,
            &mut self.authorization_config,
            &mut self.authorization_webhook_config_file,
            &mut self.encryption_provider_config,
            &mut self.admission_control_config_file,
        ]
        .into_iter()
        .flatten()
    }

    fn fields(&self) -> Result<Map<String, Value>> {
        match serde_json::to_value(self).context("a path is not UTF-8")? {
            Value::Object(fields) => Ok(fields),
            _ => Ok(Map::new()),
        }
    }
}

/// With what the store's keys of resources begin. Those that are no built-in ones may be defined at any time.
fn keys_of(table: &KindTable, wanted: &Wanted) -> Vec<String> {
    let rows = table.rows();
    match wanted {
        Wanted::All => vec!["/registry/".to_owned()],
        Wanted::Group(group) => {
            let custom = (!group.is_empty()).then(|| format!("/registry/{group}/"));
            let built_in = rows.filter(|row| row.group == *group);
            built_in.map(|row| format!("/registry/{}/", row.storage_prefix)).chain(custom).collect()
        }
        Wanted::Resource { group, plural } => {
            let mut built_in = rows.filter(|row| row.group == *group && row.plural == *plural);
            match built_in.next() {
                Some(row) => vec![format!("/registry/{}/", row.storage_prefix)],
                None if group.is_empty() => Vec::new(),
                None => vec![format!("/registry/{group}/{plural}/")],
            }
        }
    }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// A file takes the place of flags, which cannot be there beside it.
fn refuse(flags: &[(bool, &str)], file: &str) -> Result<()> {
    match flags.iter().find(|(given, _)| *given) {
        Some((_, flag)) => bail!("--{file} and --{} cannot be given together", flag.replace('_', "-")),
        None => Ok(()),
    }
}

/// `auditLogPath` is `audit-log-path`.
fn kebab(key: &str) -> String {
    let mut out = String::with_capacity(key.len() + 4);
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            out.push('-');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// A duration as Go writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        super::duration(text).map(Self)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{}s", self.0.as_secs_f64()))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        api_server: ApiServer,
    }

    fn flags(line: &[&str]) -> ApiServer {
        let line = std::iter::once("knarr").chain(line.iter().copied());
        Line::try_parse_from(line).expect("flags").api_server
    }

    #[test]
    fn flags_win_over_the_file_and_are_handed_on() {
        let given = flags(&[
            "--audit-log-path=a.log",
            "--audit-log-compress",
            "--audit-webhook-batch-max-wait=1m30s",
        ]);
        let file: ApiServer = serde_json::from_str(
            r#"{"auditLogPath": "/b.log", "auditLogMaxsize": 7, "auditLogMaxbackup": 2}"#,
        )
        .expect("settings");
        let all = given.over(&file).expect("put together");
        assert_eq!(all.audit_log_path.as_deref(), Some(std::path::Path::new("a.log")));
        let audit = all.audit().expect("settings").expect("an audit");
        let rotation = audit.file.expect("a file").rotation;
        assert_eq!((rotation.max_bytes, rotation.max_backups, rotation.compress), (7 << 20, 2, true));
        let handed = all.arguments().expect("flags");
        let handed: Vec<_> = handed.iter().map(|flag| flag.to_str().expect("UTF-8")).collect();
        let again = flags(&handed);
        let cwd = std::env::current_dir().expect("a folder");
        assert_eq!(again.audit_log_path, Some(cwd.join("a.log")));
        assert_eq!(again.audit_webhook_batch_max_wait, Some(Span(Duration::from_secs(90))));
        assert_eq!(ApiServer { audit_log_path: all.audit_log_path.clone(), ..again }, all);
    }

    #[test]
    fn a_policy_that_is_none_is_refused_by_name() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("policy.yaml");
        std::fs::write(&path, "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []\n").expect("a file");
        let settings = ApiServer { audit_policy_file: Some(path), ..ApiServer::default() };
        let error = settings.audit().expect_err("refused").to_string();
        assert!(
            error.ends_with("policy.yaml is no audit policy: loaded illegal policy with 0 rules"),
            "{error}"
        );
    }
}
