//! Who comes in and what is allowed when others are asked: issuers of tokens, webhooks of tokens and of authorization.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use apiserver::identity::authn::jwt::{AuthenticationConfiguration, Jwt};
use apiserver::identity::authn::{Anonymous, Authenticator, Credentials, TokenWebhook, Union, WebhookTokens};
use apiserver::identity::authz::{
    AccessWebhook, AuthorizationConfiguration, Authorizer, Decision, Mode, Webhook,
};
use apiserver::request::{Attributes, User};
use base::{Clock, Shutdown, Supervisor, SystemClock};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::harness::user;
use crate::https;
use crate::webhook_server::{Hook, Reply};

/// A key that an issuer signs with.
struct Key {
    id: &'static str,
    pair: rcgen::KeyPair,
}

impl Key {
    fn new(id: &'static str) -> Self {
        Self { id, pair: rcgen::KeyPair::generate().unwrap() }
    }

    fn jwk(&self) -> Value {
        let point = rcgen::PublicKeyData::der_bytes(&self.pair);
        let half = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.id,
            "x": half(&point[1..33]), "y": half(&point[33..65])})
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &self.encoding()).unwrap()
    }

    fn encoding(&self) -> EncodingKey {
        EncodingKey::from_ec_pem(self.pair.serialize_pem().as_bytes()).unwrap()
    }
}

/// An issuer that answers once it is told its URL, and the keys that it shows.
struct Provider {
    hook: Hook,
    url: String,
    keys: Arc<Mutex<Vec<Value>>>,
}

impl Provider {
    async fn start(keys: Vec<Value>) -> Self {
        let keys = Arc::new(Mutex::new(keys));
        let own = Arc::new(Mutex::new(String::new()));
        let (shown, at) = (Arc::clone(&keys), Arc::clone(&own));
        let hook = Hook::start(move |path, _| {
            let url = at.lock().unwrap().clone();
            match path {
                "/.well-known/openid-configuration" => {
                    Reply::Json(json!({"issuer": url, "jwks_uri": format!("{url}/keys")}))
                }
                _ => Reply::Json(json!({"keys": *shown.lock().unwrap()})),
            }
        })
        .await;
        let url = format!("https://127.0.0.1:{}", hook.port);
        own.lock().unwrap().clone_from(&url);
        Self { hook, url, keys }
    }

    fn claims(&self) -> Value {
        let now = SystemClock.now().as_second();
        json!({"iss": self.url, "aud": ["other", "k8s"], "exp": now + 60, "sub": "7", "email": "jane@example.com",
            "email_verified": true, "teams": ["dev", "ops"], "tenant": "blue"})
    }

    /// The authenticator, once the issuer has told its keys.
    async fn authenticator(&self, rest: &str, supervisor: &Supervisor, probe: &str) -> Jwt {
        let pem = self.hook.authority.pem.replace('\n', "\n      ");
        let text = format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- issuer:\n    url: {}\n    audiences: [k8s]\n    certificateAuthority: |\n      {pem}\n{rest}",
            self.url
        );
        let mut configuration = AuthenticationConfiguration::parse(&text).unwrap();
        let jwt = Jwt::start(configuration.issuers.remove(0), Arc::new(SystemClock), supervisor).unwrap();
        while known(&jwt, probe).await.is_err() {
            tokio::task::yield_now().await;
        }
        jwt
    }
}

async fn known(authenticator: &dyn Authenticator, token: &str) -> Result<Option<Arc<User>>, u16> {
    let credentials = Credentials { bearer_token: Some(token), ..Credentials::default() };
    authenticator.authenticate(&credentials).await.map_err(|error| error.code())
}

const MAPPINGS: &str = r#"
  claimMappings:
    username: {claim: email, prefix: "oidc:"}
    groups: {expression: "claims.teams.map(t, 'team:' + t)"}
    uid: {claim: sub}
    extra: [{key: example.com/tenant, valueExpression: claims.tenant}]
  claimValidationRules:
  - {expression: "claims.tenant != 'red'", message: red is not let in}
  userValidationRules:
  - {expression: "!user.username.startsWith('oidc:system')"}
"#;

#[tokio::test]
async fn tokens_of_an_issuer_are_users_as_the_configuration_says() {
    let key = Key::new("one");
    let provider = Provider::start(vec![key.jwk()]).await;
    let supervisor = Supervisor::new(Shutdown::new());
    let good = key.sign(&provider.claims());
    let jwt = provider.authenticator(MAPPINGS, &supervisor, &good).await;
    let jane = known(&jwt, &good).await.unwrap().unwrap();
    assert_eq!((jane.name.as_str(), jane.uid.as_str()), ("oidc:jane@example.com", "7"));
    assert_eq!(jane.groups, ["team:dev", "team:ops", "system:authenticated"]);
    assert_eq!(jane.extra["example.com/tenant"], ["blue"]);

    let but = |field: &str, value: Value| {
        let mut claims = provider.claims();
        claims[field] = value;
        claims
    };
    let past = SystemClock.now().as_second() - 1;
    for (what, claims) in [
        ("another audience", but("aud", json!("other"))),
        ("expired", but("exp", json!(past))),
        ("without end", but("exp", Value::Null)),
        ("not yet", but("nbf", json!(past + 600))),
        ("unverified", but("email_verified", json!(false))),
        ("no name", but("email", Value::Null)),
        ("a rule about claims", but("tenant", json!("red"))),
        ("a rule about users", but("email", json!("system:admin"))),
        ("groups of numbers", but("teams", json!([1]))),
    ] {
        assert_eq!(known(&jwt, &key.sign(&claims)).await, Err(401), "{what}");
    }
    assert_eq!(known(&jwt, &key.sign(&but("iss", json!("https://elsewhere")))).await, Ok(None));
    assert_eq!(
        known(&jwt, &Key::new("one").sign(&provider.claims())).await,
        Err(401),
        "a stranger's signature"
    );
    let critical = json!({"alg": "ES256", "kid": "one", "crit": ["b64"], "b64": false}).to_string();
    let signed = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(critical), good.split('.').nth(1).unwrap());
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key.encoding(), Algorithm::ES256).unwrap();
    assert_eq!(known(&jwt, &format!("{signed}.{signature}")).await, Err(401), "critical parts");
    let (head, rest) = good.split_once('.').unwrap();
    let none = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    assert_eq!(
        known(&jwt, &format!("{none}.{}.", rest.split('.').next().unwrap())).await,
        Err(401),
        "{head}"
    );
}

#[tokio::test]
async fn an_issuers_new_keys_are_asked_for_when_a_token_needs_them() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let provider = Provider::start(vec![old.jwk()]).await;
    let supervisor = Supervisor::new(Shutdown::new());
    let token = old.sign(&provider.claims());
    let rest = "  claimMappings: {username: {claim: sub, prefix: ''}}";
    let jwt = provider.authenticator(rest, &supervisor, &token).await;
    *provider.keys.lock().unwrap() = vec![new.jwk()];
    assert!(known(&jwt, &token).await.unwrap().is_some(), "still known");
    assert_eq!(known(&jwt, &new.sign(&provider.claims())).await.unwrap().unwrap().name, "7");
    assert_eq!(known(&jwt, &token).await, Err(401), "gone with its key");
    // Not every token that no key fits is a reason to ask.
    let before = provider.hook.asked().len();
    for _ in 0..20 {
        assert_eq!(known(&jwt, &Key::new("x").sign(&provider.claims())).await, Err(401));
    }
    assert!(provider.hook.asked().len() <= 2, "{before} before");
}

#[tokio::test]
async fn a_webhook_knows_tokens_for_a_while() {
    let hook = Hook::start(|_, review| {
        let status = match review["spec"]["token"].as_str() {
            Some("good") => json!({"authenticated": true, "user": {
                "username": "jane", "uid": "7", "groups": ["dev"], "extra": {"a": ["b"]}}}),
            Some("vaults") => {
                json!({"authenticated": true, "audiences": ["vault"], "user": {"username": "jane"}})
            }
            Some("odd") => json!({"authenticated": false, "error": "odd token"}),
            Some("down") => return Reply::Status(500, "down"),
            _ => json!({"authenticated": false}),
        };
        Reply::Json(
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status}),
        )
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = hook.kubeconfig(dir.path(), "/tokens");
    let settings = TokenWebhook { kubeconfig, version: "v1".to_owned(), ttl: Duration::from_secs(600) };
    let webhook = WebhookTokens::open(settings, vec!["api".to_owned()]).await.unwrap();
    for _ in 0..3 {
        let jane = known(&webhook, "good").await.unwrap().unwrap();
        assert_eq!((jane.name.as_str(), jane.extra["a"].as_slice()), ("jane", &["b".to_owned()][..]));
        assert_eq!(jane.groups, ["dev", "system:authenticated"]);
        assert_eq!(known(&webhook, "bad").await, Ok(None));
    }
    let asked = hook.asked();
    assert_eq!(asked.len(), 2, "each token once: {asked:?}");
    assert_eq!(asked[0].0, "/tokens");
    assert_eq!(asked[0].1["apiVersion"], "authentication.k8s.io/v1");
    assert_eq!(known(&webhook, "odd").await, Err(401));
    assert_eq!(known(&webhook, "down").await, Err(401));
    let review = async |token: &'static str, audience: &str| {
        let reviewed = webhook.review_token(token, &[audience.to_owned()]).await.unwrap();
        reviewed.map(|reviewed| reviewed.audiences)
    };
    assert_eq!(review("good", "vault").await, None, "the server did not speak of the audience");
    assert_eq!(review("good", "api").await, Some(vec!["api".to_owned()]));
    assert_eq!(known(&webhook, "vaults").await, Ok(None), "a token for somebody else");
    assert_eq!(review("vaults", "vault").await, Some(vec!["vault".to_owned()]));
}

#[tokio::test]
async fn anonymous_requests_are_let_in_where_the_configuration_says() {
    let https = https::start_made_of(|deps| {
        let anonymous = Anonymous::on(vec!["/version".to_owned()]);
        deps.authenticator = Arc::new(Union(vec![Arc::new(anonymous)]));
    })
    .await;
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(https.exchange(&ask("/version"), "gitVersion").await.contains("200 OK"));
    assert!(https.exchange(&ask("/api"), "Unauthorized").await.contains("401 Unauthorized"));
}

fn asks(name: &str, namespace: &str) -> Attributes {
    Attributes {
        user: user(name),
        verb: "get".to_owned(),
        is_resource: true,
        version: "v1".to_owned(),
        resource: "pods".to_owned(),
        namespace: namespace.to_owned(),
        ..Attributes::default()
    }
}

/// The webhook that a configuration file names.
async fn webhook(hook: &Hook, policy: &str) -> (Webhook, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = hook.kubeconfig(dir.path(), "/authorize");
    let text = format!(
        r#"
apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers:
- type: Webhook
  name: hook
  webhook:
    timeout: 3s
    subjectAccessReviewVersion: v1
    matchConditionSubjectAccessReviewVersion: v1
    failurePolicy: {policy}
    connectionInfo: {{type: KubeConfigFile, kubeConfigFile: {}}}
    matchConditions:
    - expression: has(request.resourceAttributes)
    - expression: request.resourceAttributes.namespace != 'kube-system'
"#,
        kubeconfig.display()
    );
    let mut modes = AuthorizationConfiguration::parse(&text).unwrap().modes;
    let Some(Mode::Webhook(settings)) = modes.pop() else { panic!("a webhook") };
    (Webhook::open(*settings).await.unwrap(), dir)
}

#[tokio::test]
async fn a_webhook_allows_refuses_or_leaves_it_to_the_next() {
    let hook = Hook::start(|_, review| {
        let status = match review["spec"]["user"].as_str() {
            Some("jane") => json!({"allowed": true}),
            Some("eve") => json!({"allowed": false, "denied": true, "reason": "eve is not welcome"}),
            Some("down") => return Reply::Status(400, "no"),
            _ => json!({"allowed": false, "reason": "who?"}),
        };
        Reply::Json(json!({"kind": "SubjectAccessReview", "status": status}))
    })
    .await;
    let (webhook_closed, _dir) = webhook(&hook, "Deny").await;
    for _ in 0..2 {
        assert_eq!(webhook_closed.authorize(&asks("jane", "a")).await, Decision::Allow);
        assert_eq!(
            webhook_closed.authorize(&asks("eve", "a")).await,
            Decision::Deny("eve is not welcome".to_owned())
        );
        assert_eq!(webhook_closed.authorize(&asks("bob", "a")).await, Decision::NoOpinion("who?".to_owned()));
    }
    let asked = hook.asked();
    assert_eq!(asked.len(), 3, "each once: {asked:?}");
    assert_eq!(
        asked[0].1["spec"],
        json!({"user": "jane", "groups": ["system:authenticated"], "resourceAttributes":
            {"namespace": "a", "verb": "get", "version": "v1", "resource": "pods"}})
    );
    let nothing = Decision::NoOpinion(String::new());
    assert_eq!(webhook_closed.authorize(&asks("eve", "kube-system")).await, nothing);
    let path = Attributes { is_resource: false, path: "/metrics".to_owned(), ..asks("eve", "") };
    assert_eq!(webhook_closed.authorize(&path).await, nothing);
    assert_eq!(hook.asked().len(), 0, "conditions kept it from being asked");
    assert_eq!(webhook_closed.authorize(&asks("down", "a")).await, Decision::Deny(String::new()));
    let (webhook_open, _dir) = webhook(&hook, "NoOpinion").await;
    assert_eq!(webhook_open.authorize(&asks("down", "a")).await, nothing);
}

#[tokio::test]
async fn the_older_version_of_the_review_has_its_own_name_for_groups() {
    let hook = Hook::start(|_, _| Reply::Json(json!({"status": {"allowed": true}}))).await;
    let dir = tempfile::tempdir().unwrap();
    let settings = AccessWebhook::of_flags(hook.kubeconfig(dir.path(), "/"));
    let webhook = Webhook::open(settings).await.unwrap();
    assert_eq!(webhook.authorize(&asks("jane", "a")).await, Decision::Allow);
    let asked = hook.asked();
    assert_eq!(asked[0].1["apiVersion"], "authorization.k8s.io/v1beta1");
    assert_eq!(asked[0].1["spec"]["group"], json!(["system:authenticated"]));
    assert_eq!(asked[0].1["spec"]["groups"], Value::Null);
}
