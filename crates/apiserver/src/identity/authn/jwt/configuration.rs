//! [`AuthenticationConfiguration`]: what the file of `--authentication-config` says, and what upstream's older flags say
//! in its stead.

use jsonwebtoken::Algorithm;
use serde::Deserialize;

use super::mapping::{Check, Mapping, Source, Wanted, claims_expression, user_expression};

/// How many issuers there may be, as upstream.
const MAX_ISSUERS: usize = 64;
const GROUP: &str = "apiserver.config.k8s.io/";

/// Who may come in beside those whom the server knows itself.
#[derive(Debug, Default)]
pub struct AuthenticationConfiguration {
    pub issuers: Vec<JwtSettings>,
    pub anonymous: AnonymousSettings,
}

/// Whether requests without credentials are `system:anonymous`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnonymousSettings {
    pub enabled: bool,
    /// The only paths for which they are; all paths where there are none.
    pub paths: Vec<String>,
}

impl Default for AnonymousSettings {
    fn default() -> Self {
        Self { enabled: true, paths: Vec::new() }
    }
}

/// An issuer whose tokens are taken, and the user that its claims are.
#[derive(Debug)]
pub struct JwtSettings {
    pub(super) issuer: IssuerSettings,
    /// All where there are none.
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) required: Vec<(String, String)>,
    pub(super) claim_checks: Vec<Check>,
    pub(super) username: Mapping,
    pub(super) groups: Option<Mapping>,
    pub(super) uid: Option<Mapping>,
    pub(super) extra: Vec<(String, Mapping)>,
    pub(super) user_checks: Vec<Check>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct IssuerSettings {
    pub url: String,
    #[serde(rename = "discoveryURL")]
    pub discovery_url: String,
    /// PEM.
    pub certificate_authority: String,
    pub audiences: Vec<String>,
    audience_match_policy: String,
    egress_selector_type: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    #[serde(default)]
    jwt: Vec<WrittenJwt>,
    anonymous: Option<WrittenAnonymous>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenAnonymous {
    enabled: bool,
    #[serde(default)]
    conditions: Vec<OnPath>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OnPath {
    path: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct WrittenJwt {
    issuer: IssuerSettings,
    claim_validation_rules: Vec<ClaimRule>,
    claim_mappings: ClaimMappings,
    user_validation_rules: Vec<UserRule>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ClaimRule {
    claim: String,
    required_value: String,
    expression: String,
    message: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct UserRule {
    expression: String,
    message: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ClaimMappings {
    username: Claim,
    groups: Claim,
    uid: Claim,
    extra: Vec<Extra>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Claim {
    claim: String,
    prefix: Option<String>,
    expression: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Extra {
    key: String,
    value_expression: String,
}

/// Upstream's flags for one issuer.
#[derive(Debug, Clone, Default)]
pub struct OidcFlags {
    pub issuer_url: String,
    pub client_id: String,
    /// PEM.
    pub ca: String,
    pub username_claim: Option<String>,
    /// `-` for none.
    pub username_prefix: Option<String>,
    pub groups_claim: Option<String>,
    pub groups_prefix: Option<String>,
    pub required_claims: Vec<(String, String)>,
    pub signing_algs: Vec<String>,
}

impl AuthenticationConfiguration {
    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong: line and column where it cannot be read, else field by field in upstream's words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let written: Written = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let version = written.api_version.strip_prefix(GROUP);
        if !matches!(version, Some("v1" | "v1beta1" | "v1alpha1"))
            || written.kind != "AuthenticationConfiguration"
        {
            return Err(format!(
                "it is {} {}, not {GROUP}v1 AuthenticationConfiguration",
                written.api_version, written.kind
            ));
        }
        let mut wrong = Vec::new();
        if written.jwt.len() > MAX_ISSUERS {
            wrong
                .push(format!("jwt: Too many: {}: must have at most {MAX_ISSUERS} items", written.jwt.len()));
        }
        let mut issuers: Vec<JwtSettings> = Vec::new();
        for (i, jwt) in written.jwt.into_iter().enumerate() {
            let at = format!("jwt[{i}]");
            if issuers.iter().any(|other| other.issuer.url == jwt.issuer.url) {
                wrong.push(format!("{at}.issuer.url: Duplicate value: {:?}", jwt.issuer.url));
            }
            issuers.push(JwtSettings::read(jwt, &at, &mut wrong));
        }
        let anonymous = written.anonymous.map_or_else(AnonymousSettings::default, |anonymous| {
            if !anonymous.enabled && !anonymous.conditions.is_empty() {
                wrong.push(
                    "anonymous.conditions: Invalid value: enabled should be set to true when conditions are defined"
                        .to_owned(),
                );
            }
            let paths = anonymous.conditions.into_iter().map(|condition| condition.path).collect();
            AnonymousSettings { enabled: anonymous.enabled, paths }
        });
        if wrong.is_empty() { Ok(Self { issuers, anonymous }) } else { Err(wrong.join("; ")) }
    }

    /// What upstream's flags for one issuer say.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn of_flags(flags: OidcFlags) -> Result<Self, String> {
        if flags.client_id.is_empty() || flags.issuer_url.is_empty() {
            return Err(
                "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set"
                    .to_owned(),
            );
        }
        let algorithm = |name: &String| {
            let known = name.parse().ok().filter(|algorithm| super::ALGORITHMS.contains(algorithm));
            known.ok_or_else(|| format!("oidc: unsupported signing alg: {name:?}"))
        };
        let named = flags.signing_algs.iter().map(algorithm).collect::<Result<Vec<_>, _>>()?;
        let algorithms = if named.is_empty() { vec![Algorithm::RS256] } else { named };
        let claim = flags.username_claim.unwrap_or_else(|| "sub".to_owned());
        let prefix = match flags.username_prefix.as_deref() {
            Some("-") => String::new(),
            Some(prefix) => prefix.to_owned(),
            None if claim == "email" => String::new(),
            None => format!("{}#", flags.issuer_url),
        };
        let groups = flags.groups_claim.unwrap_or_default();
        let groups_prefix = (!groups.is_empty()).then(|| flags.groups_prefix.unwrap_or_default());
        let rule = |(claim, required_value)| ClaimRule { claim, required_value, ..ClaimRule::default() };
        let jwt = WrittenJwt {
            issuer: IssuerSettings {
                url: flags.issuer_url,
                certificate_authority: flags.ca,
                audiences: vec![flags.client_id],
                ..IssuerSettings::default()
            },
            claim_validation_rules: flags.required_claims.into_iter().map(rule).collect(),
            claim_mappings: ClaimMappings {
                username: Claim { claim, prefix: Some(prefix), ..Claim::default() },
                groups: Claim { claim: groups, prefix: groups_prefix, ..Claim::default() },
                ..ClaimMappings::default()
            },
            ..WrittenJwt::default()
        };
        let mut wrong = Vec::new();
        let issuer = JwtSettings { algorithms, ..JwtSettings::read(jwt, "jwt[0]", &mut wrong) };
        if !wrong.is_empty() {
            return Err(wrong.join("; "));
        }
        Ok(Self { issuers: vec![issuer], anonymous: AnonymousSettings::default() })
    }
}

impl JwtSettings {
    /// What the issuer's tokens say that they are of.
    pub fn url(&self) -> &str {
        &self.issuer.url
    }

    fn read(written: WrittenJwt, at: &str, wrong: &mut Vec<String>) -> Self {
        written.issuer.check(&format!("{at}.issuer"), wrong);
        let WrittenJwt { issuer, claim_validation_rules, claim_mappings, user_validation_rules } = written;
        email_is_verified(&claim_mappings, &claim_validation_rules, at, wrong);
        let (mut required, mut claim_checks) = (Vec::new(), Vec::new());
        for (i, rule) in claim_validation_rules.into_iter().enumerate() {
            rule.read(&format!("{at}.claimValidationRules[{i}]"), &mut required, &mut claim_checks, wrong);
        }
        let at_mappings = format!("{at}.claimMappings");
        let username =
            claim_mappings.username.read(&format!("{at_mappings}.username"), true, Wanted::Text, wrong);
        if username.is_none() {
            wrong.push(format!("{at_mappings}.username: Required value: claim or expression is required"));
        }
        let groups = claim_mappings.groups.read(&format!("{at_mappings}.groups"), true, Wanted::Texts, wrong);
        let uid = claim_mappings.uid.read(&format!("{at_mappings}.uid"), false, Wanted::Text, wrong);
        let extra = extras(claim_mappings.extra, &format!("{at_mappings}.extra"), wrong);
        let mut user_checks = Vec::new();
        for (i, rule) in user_validation_rules.into_iter().enumerate() {
            match user_expression(&rule.expression) {
                Ok(program) => user_checks.push(Check { program, message: rule.message }),
                Err(why) => wrong.push(format!(
                    "{at}.userValidationRules[{i}].expression: Invalid value: {:?}: {why}",
                    rule.expression
                )),
            }
        }
        let username =
            username.unwrap_or(Mapping { source: Source::Claim("sub".to_owned()), prefix: String::new() });
        let algorithms = Vec::new();
        Self { issuer, algorithms, required, claim_checks, username, groups, uid, extra, user_checks }
    }
}

impl IssuerSettings {
    fn check(&self, at: &str, wrong: &mut Vec<String>) {
        https(&self.url, &format!("{at}.url"), wrong);
        if !self.discovery_url.is_empty() {
            https(&self.discovery_url, &format!("{at}.discoveryURL"), wrong);
            if self.discovery_url.trim_end_matches('/') == self.url.trim_end_matches('/') {
                wrong.push(format!(
                    "{at}.discoveryURL: Invalid value: {:?}: discoveryURL must be different from URL",
                    self.discovery_url
                ));
            }
        }
        if self.audiences.is_empty() {
            wrong.push(format!(
                "{at}.audiences: Required value: at least one jwt[].issuer.audiences is required"
            ));
        }
        for (i, audience) in self.audiences.iter().enumerate().filter(|(_, audience)| audience.is_empty()) {
            wrong.push(format!("{at}.audiences[{i}]: Required value: audience can't be empty{audience}"));
        }
        let policy = self.audience_match_policy.as_str();
        if self.audiences.len() > 1 && policy != "MatchAny" {
            wrong.push(format!(
                "{at}.audienceMatchPolicy: Invalid value: {policy:?}: audienceMatchPolicy must be MatchAny for multiple audiences"
            ));
        }
        if !matches!(policy, "" | "MatchAny") && self.audiences.len() <= 1 {
            wrong.push(format!(
                "{at}.audienceMatchPolicy: Invalid value: {policy:?}: audienceMatchPolicy must be empty or MatchAny for single audience"
            ));
        }
        if !self.egress_selector_type.is_empty() {
            wrong.push(format!("{at}.egressSelectorType: Forbidden: there are no egress selectors here"));
        }
    }
}

fn https(url: &str, at: &str, wrong: &mut Vec<String>) {
    if url.is_empty() {
        wrong.push(format!("{at}: Required value: URL is required"));
        return;
    }
    let mut invalid = |why: &str| wrong.push(format!("{at}: Invalid value: {url:?}: {why}"));
    let Ok(uri) = url.parse::<http::Uri>() else { return invalid("URL cannot be parsed") };
    if uri.scheme_str() != Some("https") {
        invalid("URL scheme must be https");
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        invalid("URL must not contain a username or password");
    }
    if uri.query().is_some() {
        invalid("URL must not contain a query");
    }
    if url.contains('#') {
        invalid("URL must not contain a fragment");
    }
}

impl ClaimRule {
    fn read(
        self,
        at: &str,
        required: &mut Vec<(String, String)>,
        checks: &mut Vec<Check>,
        wrong: &mut Vec<String>,
    ) {
        match (self.claim.is_empty(), self.expression.is_empty()) {
            (true, true) => wrong.push(format!("{at}: Required value: claim or expression is required")),
            (false, false) => wrong.push(format!(
                "{at}: Invalid value: {:?}: claim and expression can't both be set",
                self.claim
            )),
            (false, true) if !self.message.is_empty() => wrong.push(format!(
                "{at}.message: Invalid value: {:?}: message can't be set when claim is set",
                self.message
            )),
            (false, true) => required.push((self.claim, self.required_value)),
            (true, false) if !self.required_value.is_empty() => wrong.push(format!(
                "{at}.requiredValue: Invalid value: {:?}: requiredValue can't be set when expression is set",
                self.required_value
            )),
            (true, false) => match claims_expression(&self.expression, Wanted::Bool) {
                Ok(program) => checks.push(Check { program, message: self.message }),
                Err(why) => {
                    wrong.push(format!("{at}.expression: Invalid value: {:?}: {why}", self.expression));
                }
            },
        }
    }
}

impl Claim {
    /// `None` where it says nothing.
    fn read(self, at: &str, prefixed: bool, wanted: Wanted, wrong: &mut Vec<String>) -> Option<Mapping> {
        if !self.expression.is_empty() {
            if !self.claim.is_empty() {
                wrong.push(format!("{at}: Invalid value: \"\": claim and expression can't both be set"));
            }
            if self.prefix.is_some() {
                wrong.push(format!("{at}.prefix: Invalid value: prefix can't be set when expression is set"));
            }
            return match claims_expression(&self.expression, wanted) {
                Ok(program) => Some(Mapping { source: Source::Expression(program), prefix: String::new() }),
                Err(why) => {
                    wrong.push(format!("{at}.expression: Invalid value: {:?}: {why}", self.expression));
                    None
                }
            };
        }
        if self.claim.is_empty() {
            if self.prefix.is_some_and(|prefix| !prefix.is_empty()) {
                wrong.push(format!(
                    "{at}: Required value: non-empty claim name is required when prefix is set"
                ));
            }
            return None;
        }
        if prefixed && self.prefix.is_none() {
            wrong.push(format!(
                "{at}.prefix: Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing"
            ));
        }
        Some(Mapping { source: Source::Claim(self.claim), prefix: self.prefix.unwrap_or_default() })
    }
}

fn extras(written: Vec<Extra>, at: &str, wrong: &mut Vec<String>) -> Vec<(String, Mapping)> {
    let mut out: Vec<(String, Mapping)> = Vec::new();
    for (i, Extra { key, value_expression }) in written.into_iter().enumerate() {
        let at = format!("{at}[{i}]");
        let domain = key.split('/').next().unwrap_or_default();
        if key.is_empty() {
            wrong.push(format!("{at}.key: Required value"));
        } else if !key.contains('/') || !api::names::is_dns1123_subdomain(domain) {
            wrong.push(format!(
                "{at}.key: Invalid value: {key:?}: must be a domain-prefixed path (such as \"acme.io/foo\")"
            ));
        } else if key != key.to_lowercase() {
            wrong.push(format!("{at}.key: Invalid value: {key:?}: key must be lowercase"));
        } else if ["kubernetes.io", "k8s.io"]
            .iter()
            .any(|own| domain == *own || domain.ends_with(&format!(".{own}")))
        {
            wrong.push(format!(
                "{at}.key: Invalid value: {key:?}: k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use"
            ));
        }
        if out.iter().any(|(known, _)| *known == key) {
            wrong.push(format!("{at}.key: Duplicate value: {key:?}"));
        }
        match claims_expression(&value_expression, Wanted::Texts) {
            Ok(program) => {
                out.push((key, Mapping { source: Source::Expression(program), prefix: String::new() }));
            }
            Err(why) => {
                wrong.push(format!("{at}.valueExpression: Invalid value: {value_expression:?}: {why}"))
            }
        }
    }
    out
}

/// A name that is an address which the issuer has not verified could be anybody's.
fn email_is_verified(mappings: &ClaimMappings, rules: &[ClaimRule], at: &str, wrong: &mut Vec<String>) {
    let speaks_of_email = |text: &str| {
        text.match_indices("claims.email").any(|(start, found)| {
            !text[start + found.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        })
    };
    let verifies = |text: &str| text.contains("claims.email_verified");
    let mut others = rules.iter().map(|rule| rule.expression.as_str());
    let mut extras = mappings.extra.iter().map(|extra| extra.value_expression.as_str());
    let username = mappings.username.expression.as_str();
    if speaks_of_email(username) && !verifies(username) && !others.any(verifies) && !extras.any(verifies) {
        wrong.push(format!(
            "{at}.claimMappings.username.expression: Invalid value: {username:?}: claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n";

    fn wrong(jwt: &str) -> String {
        AuthenticationConfiguration::parse(&format!("{HEAD}jwt:\n- {jwt}")).expect_err("faults")
    }

    #[test]
    fn a_whole_configuration_is_read() {
        let text = r#"
jwt:
- issuer:
    url: https://issuer.example.com
    discoveryURL: https://internal.example.com/.well-known/openid-configuration
    audiences: [a, b]
    audienceMatchPolicy: MatchAny
  claimValidationRules:
  - {claim: hd, requiredValue: example.com}
  - {expression: "claims.exp - claims.nbf <= 86400", message: too long}
  claimMappings:
    username: {expression: "claims.email_verified ? claims.email : claims.sub"}
    groups: {claim: groups, prefix: "oidc:"}
    uid: {claim: sub}
    extra: [{key: example.com/tenant, valueExpression: claims.tenant}]
  userValidationRules:
  - {expression: "!user.username.startsWith('system:')", message: reserved}
anonymous: {enabled: true, conditions: [{path: /livez}]}
"#;
        let read = AuthenticationConfiguration::parse(&format!("{HEAD}{text}")).expect("a configuration");
        let [issuer] = &read.issuers[..] else { panic!("one") };
        assert_eq!((issuer.required.len(), issuer.claim_checks.len(), issuer.user_checks.len()), (1, 1, 1));
        assert_eq!((issuer.extra.len(), issuer.groups.is_some(), issuer.uid.is_some()), (1, true, true));
        assert_eq!(read.anonymous, AnonymousSettings { enabled: true, paths: vec!["/livez".to_owned()] });
    }

    #[test]
    fn faults_are_named_by_field() {
        let bare = wrong("{}");
        for part in [
            "jwt[0].issuer.url: Required value: URL is required",
            "jwt[0].issuer.audiences: Required value",
            "jwt[0].claimMappings.username: Required value: claim or expression is required",
        ] {
            assert!(bare.contains(part), "{part} is missing in {bare}");
        }
        let issuer = "issuer: {url: 'https://a', audiences: [x]}";
        let prefix = wrong(&format!("{{{issuer}, claimMappings: {{username: {{claim: sub}}}}}}"));
        assert!(
            prefix.starts_with("jwt[0].claimMappings.username.prefix: Required value: prefix is required")
        );
        let email =
            wrong(&format!("{{{issuer}, claimMappings: {{username: {{expression: claims.email}}}}}}"));
        assert!(email.contains("claims.email_verified must be used"), "{email}");
        let number = wrong(&format!("{{{issuer}, claimMappings: {{username: {{expression: '1'}}}}}}"));
        assert!(number.contains("must evaluate to string"), "{number}");
        let plain = wrong("{issuer: {url: 'http://a?b', audiences: [x, y]}}");
        assert!(plain.contains("URL scheme must be https") && plain.contains("must not contain a query"));
        assert!(plain.contains("audienceMatchPolicy must be MatchAny for multiple audiences"));
        let unknown = AuthenticationConfiguration::parse(&format!("{HEAD}jwts: []")).expect_err("a fault");
        assert!(unknown.contains("jwts"), "{unknown}");
    }

    #[test]
    fn flags_have_upstreams_defaults() {
        let flags = OidcFlags {
            issuer_url: "https://a".to_owned(),
            client_id: "k8s".to_owned(),
            groups_claim: Some("groups".to_owned()),
            ..OidcFlags::default()
        };
        let read = AuthenticationConfiguration::of_flags(flags.clone()).expect("a configuration");
        let [issuer] = &read.issuers[..] else { panic!("one") };
        assert_eq!(issuer.username.prefix, "https://a#");
        assert!(matches!(&issuer.username.source, Source::Claim(claim) if claim == "sub"));
        assert_eq!(issuer.algorithms, [Algorithm::RS256]);
        let email = OidcFlags { username_claim: Some("email".to_owned()), ..flags.clone() };
        let read = AuthenticationConfiguration::of_flags(email).expect("a configuration");
        assert_eq!(read.issuers[0].username.prefix, "");
        let algorithm = OidcFlags { signing_algs: vec!["HS256".to_owned()], ..flags.clone() };
        let fault = AuthenticationConfiguration::of_flags(algorithm).expect_err("a fault");
        assert_eq!(fault, "oidc: unsupported signing alg: \"HS256\"");
        let nobody = OidcFlags { client_id: String::new(), ..flags };
        AuthenticationConfiguration::of_flags(nobody).expect_err("no audience");
    }
}
