//! [`AuthorizationConfiguration`]: who is asked whether a request is allowed, in which order, as the file of
//! `--authorization-config` says (`apiserver.config.k8s.io`) or upstream's older flags do.

use std::path::PathBuf;
use std::time::Duration;

use api::names;
use expressions::{Program, Type};
use serde::Deserialize;

const GROUP: &str = "apiserver.config.k8s.io/";
/// Upstream's limits and defaults.
const MAX_CONDITIONS: usize = 64;
const MAX_TIMEOUT: Duration = Duration::from_secs(30);
const ALLOWED_FOR: Duration = Duration::from_secs(5 * 60);
const REFUSED_FOR: Duration = Duration::from_secs(30);

/// Who is asked, in order. Members of `system:masters` may do everything before anybody is asked.
#[derive(Debug)]
pub struct AuthorizationConfiguration {
    pub modes: Vec<Mode>,
}

/// One who is asked.
#[derive(Debug)]
pub enum Mode {
    Node,
    Rbac,
    Webhook(Box<AccessWebhook>),
    AlwaysAllow,
    AlwaysDeny,
}

/// A server that is asked by a SubjectAccessReview.
#[derive(Debug)]
pub struct AccessWebhook {
    /// As messages and figures name it.
    pub name: String,
    /// A kubeconfig that names it.
    pub kubeconfig: PathBuf,
    /// The version of the review: `v1` or `v1beta1`.
    pub version: String,
    /// How long an answer counts that allows …
    pub allowed_for: Duration,
    /// … and one that does not.
    pub refused_for: Duration,
    pub timeout: Duration,
    /// Whether a request is refused when there is no answer; else the next is asked.
    pub fails_closed: bool,
    /// The server is asked only about requests for which all of these hold.
    pub(super) conditions: Vec<(String, Program)>,
}

impl AccessWebhook {
    /// One of upstream's flags, with their defaults.
    pub fn of_flags(kubeconfig: PathBuf) -> Self {
        Self {
            name: "default".to_owned(),
            kubeconfig,
            version: "v1beta1".to_owned(),
            allowed_for: ALLOWED_FOR,
            refused_for: REFUSED_FOR,
            timeout: MAX_TIMEOUT,
            fails_closed: false,
            conditions: Vec::new(),
        }
    }
}

impl Default for AuthorizationConfiguration {
    fn default() -> Self {
        Self { modes: vec![Mode::Node, Mode::Rbac] }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    #[serde(default)]
    authorizers: Vec<WrittenMode>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMode {
    r#type: String,
    #[serde(default)]
    name: String,
    webhook: Option<WrittenWebhook>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct WrittenWebhook {
    #[serde(rename = "authorizedTTL")]
    authorized_ttl: String,
    #[serde(rename = "unauthorizedTTL")]
    unauthorized_ttl: String,
    timeout: String,
    subject_access_review_version: String,
    match_condition_subject_access_review_version: String,
    failure_policy: String,
    connection_info: ConnectionInfo,
    match_conditions: Vec<Condition>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ConnectionInfo {
    r#type: String,
    kube_config_file: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    expression: String,
}

impl AuthorizationConfiguration {
    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong: line and column where it cannot be read, else field by field in upstream's words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let written: Written = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let version = written.api_version.strip_prefix(GROUP);
        if !matches!(version, Some("v1" | "v1beta1" | "v1alpha1"))
            || written.kind != "AuthorizationConfiguration"
        {
            return Err(format!(
                "it is {} {}, not {GROUP}v1 AuthorizationConfiguration",
                written.api_version, written.kind
            ));
        }
        let (mut wrong, mut modes, mut names) = (Vec::new(), Vec::new(), Vec::new());
        if written.authorizers.is_empty() {
            wrong.push(
                "authorizers: Required value: at least one authorization mode must be defined".to_owned(),
            );
        }
        for (i, mode) in written.authorizers.into_iter().enumerate() {
            let at = format!("authorizers[{i}]");
            if mode.name.is_empty() {
                wrong.push(format!("{at}.name: Required value"));
            } else if !names::is_dns1123_subdomain(&mode.name) {
                wrong.push(format!("{at}.name: Invalid value: {:?}: authorizer name is invalid", mode.name));
            } else if names.contains(&mode.name) {
                wrong.push(format!("{at}.name: Duplicate value: {:?}", mode.name));
            }
            names.push(mode.name.clone());
            let kind = mode.r#type.clone();
            match mode.read(&at) {
                Ok(mode) => {
                    let once = !matches!(mode, Mode::Webhook(_));
                    let same = |other: &Mode| std::mem::discriminant(other) == std::mem::discriminant(&mode);
                    if once && modes.iter().any(same) {
                        wrong.push(format!("{at}.type: Duplicate value: {kind:?}"));
                    }
                    modes.push(mode);
                }
                Err(faults) => wrong.extend(faults),
            }
        }
        if wrong.is_empty() { Ok(Self { modes }) } else { Err(wrong.join("; ")) }
    }

    /// The modes of upstream's `--authorization-mode`.
    ///
    /// # Errors
    /// When one is not known, is there twice, or needs a webhook that is not given.
    pub fn of_modes(names: &[String], webhook: Option<AccessWebhook>) -> Result<Self, String> {
        let mut webhook = webhook;
        let mut modes: Vec<Mode> = Vec::new();
        for (i, name) in names.iter().enumerate() {
            if names[..i].contains(name) {
                return Err(format!("--authorization-mode {names:?} has mode specified more than once"));
            }
            modes.push(match name.as_str() {
                "Webhook" => Mode::Webhook(Box::new(
                    webhook
                        .take()
                        .ok_or("--authorization-mode Webhook needs --authorization-webhook-config-file")?,
                )),
                other => named(other)
                    .ok_or_else(|| format!("--authorization-mode {other:?} is not a valid mode"))?,
            });
        }
        if webhook.is_some() {
            return Err("cannot specify --authorization-webhook-config-file without mode Webhook".to_owned());
        }
        Ok(Self { modes })
    }
}

fn named(mode: &str) -> Option<Mode> {
    Some(match mode {
        "Node" => Mode::Node,
        "RBAC" => Mode::Rbac,
        "AlwaysAllow" => Mode::AlwaysAllow,
        "AlwaysDeny" => Mode::AlwaysDeny,
        _ => return None,
    })
}

impl WrittenMode {
    fn read(self, at: &str) -> Result<Mode, Vec<String>> {
        match (self.r#type.as_str(), self.webhook) {
            ("Webhook", Some(webhook)) => {
                webhook.read(self.name, &format!("{at}.webhook")).map(|webhook| Mode::Webhook(Box::new(webhook)))
            }
            ("Webhook", None) => Err(vec![format!("{at}.webhook: Required value: required when type=Webhook")]),
            (_, Some(_)) => {
                Err(vec![format!("{at}.webhook: Invalid value: null: may only be specified when type=Webhook")])
            }
            ("", None) => Err(vec![format!("{at}.type: Required value")]),
            (other, None) => named(other).ok_or_else(|| {
                vec![format!(
                    "{at}.type: Unsupported value: {other:?}: supported values: \"AlwaysAllow\", \"AlwaysDeny\", \"Node\", \"RBAC\", \"Webhook\""
                )]
            }),
        }
    }
}

impl WrittenWebhook {
    fn read(self, name: String, at: &str) -> Result<AccessWebhook, Vec<String>> {
        let mut wrong = Vec::new();
        let mut span = |field: &str, text: &str, usual: Option<Duration>| match (text, usual) {
            ("", Some(usual)) => usual,
            ("", None) => {
                wrong.push(format!("{at}.{field}: Required value"));
                Duration::ZERO
            }
            (text, _) => {
                match text.parse::<jiff::SignedDuration>().ok().and_then(|d| Duration::try_from(d).ok()) {
                    Some(span) => span,
                    None => {
                        wrong.push(format!("{at}.{field}: Invalid value: {text:?}: must be a duration"));
                        Duration::ZERO
                    }
                }
            }
        };
        let allowed_for = span("authorizedTTL", &self.authorized_ttl, Some(ALLOWED_FOR));
        let refused_for = span("unauthorizedTTL", &self.unauthorized_ttl, Some(REFUSED_FOR));
        let timeout = span("timeout", &self.timeout, None);
        if timeout > MAX_TIMEOUT {
            wrong.push(format!("{at}.timeout: Invalid value: {:?}: must be <= 30s", self.timeout));
        }
        let version = self.subject_access_review_version;
        one_of(&format!("{at}.subjectAccessReviewVersion"), &version, &["v1", "v1beta1"], &mut wrong);
        let of_conditions = self.match_condition_subject_access_review_version;
        if !self.match_conditions.is_empty() || !of_conditions.is_empty() {
            let at = format!("{at}.matchConditionSubjectAccessReviewVersion");
            one_of(&at, &of_conditions, &["v1"], &mut wrong);
        }
        one_of(&format!("{at}.failurePolicy"), &self.failure_policy, &["NoOpinion", "Deny"], &mut wrong);
        // The server does not ask itself.
        one_of(
            &format!("{at}.connectionInfo.type"),
            &self.connection_info.r#type,
            &["KubeConfigFile"],
            &mut wrong,
        );
        let file = self.connection_info.kube_config_file;
        if file.is_empty() {
            wrong.push(format!("{at}.connectionInfo.kubeConfigFile: Required value"));
        } else if !file.starts_with('/') {
            wrong.push(format!(
                "{at}.connectionInfo.kubeConfigFile: Invalid value: {file:?}: must be an absolute path"
            ));
        }
        let conditions = conditions(self.match_conditions, &format!("{at}.matchConditions"), &mut wrong);
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(AccessWebhook {
            name,
            kubeconfig: file.into(),
            version,
            allowed_for,
            refused_for,
            timeout,
            fails_closed: self.failure_policy == "Deny",
            conditions,
        })
    }
}

fn one_of(at: &str, value: &str, supported: &[&str], wrong: &mut Vec<String>) {
    if value.is_empty() {
        wrong.push(format!("{at}: Required value"));
    } else if !supported.contains(&value) {
        let supported: Vec<_> = supported.iter().map(|one| format!("{one:?}")).collect();
        wrong.push(format!("{at}: Unsupported value: {value:?}: supported values: {}", supported.join(", ")));
    }
}

fn conditions(written: Vec<Condition>, at: &str, wrong: &mut Vec<String>) -> Vec<(String, Program)> {
    if written.len() > MAX_CONDITIONS {
        wrong.push(format!("{at}: Too many: {}: must have at most {MAX_CONDITIONS} items", written.len()));
        return Vec::new();
    }
    let mut out: Vec<(String, Program)> = Vec::new();
    for (i, Condition { expression }) in written.into_iter().enumerate() {
        let at = format!("{at}[{i}].expression");
        let expression = expression.trim().to_owned();
        if expression.is_empty() {
            wrong.push(format!("{at}: Required value"));
            continue;
        }
        if out.iter().any(|(other, _)| *other == expression) {
            wrong.push(format!("{at}: Duplicate value: {expression:?}"));
            continue;
        }
        match Program::compile(&expression, &[("request", &Type::Dyn)]) {
            Ok(program) if matches!(program.result_type(), Type::Bool | Type::Dyn) => {
                out.push((expression, program))
            }
            Ok(_) => wrong.push(format!("{at}: Invalid value: {expression:?}: must evaluate to bool")),
            Err(why) => wrong.push(format!("{at}: Invalid value: {expression:?}: compilation failed: {why}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\n";
        AuthorizationConfiguration::parse(&format!("{head}{text}")).expect_err("faults")
    }

    #[test]
    fn the_order_of_the_file_is_kept() {
        let text = r#"
apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers:
- {type: Node, name: node}
- type: Webhook
  name: opa
  webhook:
    unauthorizedTTL: 1m30s
    timeout: 3s
    subjectAccessReviewVersion: v1
    matchConditionSubjectAccessReviewVersion: v1
    failurePolicy: Deny
    connectionInfo: {type: KubeConfigFile, kubeConfigFile: /etc/opa.kubeconfig}
    matchConditions:
    - expression: has(request.resourceAttributes) && request.resourceAttributes.namespace == 'prod'
- {type: RBAC, name: rbac}
"#;
        let read = AuthorizationConfiguration::parse(text).expect("a configuration");
        let [Mode::Node, Mode::Webhook(opa), Mode::Rbac] = &read.modes[..] else {
            panic!("{:?}", read.modes)
        };
        assert_eq!((opa.allowed_for, opa.refused_for), (ALLOWED_FOR, Duration::from_secs(90)));
        assert!(opa.fails_closed && opa.conditions.len() == 1);
    }

    #[test]
    fn faults_are_named_by_field() {
        assert_eq!(
            wrong("authorizers: []"),
            "authorizers: Required value: at least one authorization mode must be defined"
        );
        let twice = wrong("authorizers: [{type: RBAC, name: a}, {type: RBAC, name: a}]");
        assert_eq!(
            twice,
            "authorizers[1].name: Duplicate value: \"a\"; authorizers[1].type: Duplicate value: \"RBAC\""
        );
        let bare = wrong("authorizers: [{type: Webhook, name: a, webhook: {timeout: 31s}}]");
        for part in [
            "authorizers[0].webhook.timeout: Invalid value: \"31s\": must be <= 30s",
            "authorizers[0].webhook.subjectAccessReviewVersion: Required value",
            "authorizers[0].webhook.failurePolicy: Required value",
            "authorizers[0].webhook.connectionInfo.kubeConfigFile: Required value",
        ] {
            assert!(bare.contains(part), "{part} is missing in {bare}");
        }
        assert!(wrong("authorizers: [{type: ABAC, name: a}]").contains("Unsupported value: \"ABAC\""));
    }

    #[test]
    fn flags_name_modes_once_and_webhooks_with_their_file() {
        let modes = |names: &[&str], webhook: Option<AccessWebhook>| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            AuthorizationConfiguration::of_modes(&names, webhook)
        };
        let hook = || Some(AccessWebhook::of_flags("/etc/hook".into()));
        assert_eq!(modes(&["Node", "RBAC", "Webhook"], hook()).expect("modes").modes.len(), 3);
        assert!(
            modes(&["Webhook"], None).expect_err("no file").contains("--authorization-webhook-config-file")
        );
        assert!(modes(&["RBAC"], hook()).expect_err("no mode").contains("without mode Webhook"));
        assert!(modes(&["RBAC", "RBAC"], None).expect_err("twice").contains("more than once"));
    }
}
