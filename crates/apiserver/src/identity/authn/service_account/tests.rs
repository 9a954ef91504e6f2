//! Tokens that are right, forged, stale, meant for others, and bound to what is gone.

use base::ManualClock;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::*;
use crate::identity::authn::Credentials;
use crate::identity::{BoundObject, IssuedToken, TokenDemand, TokenIssuer};
use crate::request::User;
use crate::testing::Fixture;

struct Setup {
    f: Fixture,
    clock: ManualClock,
    settings: TokenSettings,
    verifier: ServiceAccounts,
}

impl Setup {
    async fn new() -> Self {
        let f = Fixture::new().await;
        let clock = ManualClock::new(Timestamp::from_second(1_700_000_000).unwrap());
        let settings = TokenSettings {
            issuer: DEFAULT_ISSUER.to_owned(),
            keys: vec![SigningKey::generate().unwrap()].into(),
            clock: Arc::new(clock.clone()),
            lookup: f.lookup.clone(),
        };
        let account = json!({"metadata": {"name": "bot", "namespace": "a", "uid": "u1"}});
        f.put("serviceaccounts/a/bot", &account).await;
        let verifier = ServiceAccounts::new(settings.clone());
        Self { f, clock, settings, verifier }
    }

    fn demand(&self) -> TokenDemand {
        let account = json!({"metadata": {"name": "bot", "namespace": "a", "uid": "u1"}});
        TokenDemand {
            account: serde_json::from_value(account).unwrap(),
            audiences: Vec::new(),
            expiration_s: 600,
            bound: None,
        }
    }

    fn issue(&self, demand: &TokenDemand) -> IssuedToken {
        Issuer::new(self.settings.clone()).issue(demand).unwrap()
    }

    fn ask(&self, token: &str) -> Result<Option<Arc<User>>, api::Error> {
        self.verifier.user_of(&Credentials { bearer_token: Some(token), ..Credentials::default() })
    }

    fn refusal(&self, token: &str) -> String {
        assert_eq!(self.ask(token).unwrap_err().message, "Unauthorized");
        self.verifier.verify(token, &[]).unwrap_err()
    }
}

fn pod(uid: &str) -> BoundObject {
    BoundObject {
        api_version: "v1".into(),
        kind: "Pod".into(),
        name: "p".into(),
        uid: uid.into(),
        node: Some(("n1".into(), "nu".into())),
    }
}

#[tokio::test]
async fn a_token_is_its_account_until_it_expires() {
    let s = Setup::new().await;
    let issued = s.issue(&s.demand());
    assert_eq!(issued.expires.as_second(), 1_700_000_600);
    assert_eq!(issued.audiences, [DEFAULT_ISSUER]);
    let user = s.ask(&issued.token).unwrap().unwrap();
    assert_eq!((user.name.as_str(), user.uid.as_str()), ("system:serviceaccount:a:bot", "u1"));
    assert_eq!(user.groups, ["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"]);
    assert!(user.extra["authentication.kubernetes.io/credential-id"][0].starts_with("JTI="));
    assert_eq!(s.verifier.remembered(), 1);
    s.clock.advance(SignedDuration::from_secs(659));
    assert!(s.ask(&issued.token).is_ok());
    s.clock.advance(SignedDuration::from_secs(2));
    assert_eq!(s.refusal(&issued.token), "service account token has expired");
    assert_eq!(s.verifier.remembered(), 0);
    s.clock.advance(SignedDuration::from_hours(-1));
    assert_eq!(s.refusal(&issued.token), "service account token is not valid yet");
    s.f.stop().await;
}

#[tokio::test]
async fn what_we_did_not_sign_is_refused() {
    let s = Setup::new().await;
    let token = s.issue(&s.demand()).token;
    let parts: Vec<&str> = token.split('.').collect();
    let encode = |text: &str| base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, text);
    let payload = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, parts[1]).unwrap();
    let admin = String::from_utf8(payload).unwrap().replace("bot", "adm");
    let other = TokenSettings { keys: vec![SigningKey::generate().unwrap()].into(), ..s.settings.clone() };
    let forged = Issuer::new(other).issue(&s.demand()).unwrap().token;
    let none = encode(r#"{"alg":"none"}"#);
    let symmetric = encode(r#"{"alg":"HS256"}"#);
    for bad in [
        forged,
        format!("{}.{}.{}", parts[0], encode(&admin), parts[2]),
        format!("{}.{}.{}", parts[0], parts[1], encode("nonsense")),
        format!("{none}.{}.", parts[1]),
        format!("{symmetric}.{}.{}", parts[1], parts[2]),
    ] {
        assert_eq!(s.refusal(&bad), "invalid bearer token", "{bad}");
    }
    // What is no token of ours is for others to judge.
    for foreign in ["", "x", "a.b.c", "a.b.c.d", &token[1..9], &"x".repeat(20_000)] {
        assert_eq!(s.ask(foreign).unwrap(), None, "{foreign}");
    }
    let foreign = TokenSettings { issuer: "https://other".into(), ..s.settings.clone() };
    let foreign = Issuer::new(foreign).issue(&s.demand()).unwrap().token;
    assert_eq!(s.ask(&foreign).unwrap(), None);
    assert_eq!(s.verifier.remembered(), 0);
    s.f.stop().await;
}

#[tokio::test]
async fn a_token_for_others_is_not_for_us() {
    let s = Setup::new().await;
    let token = s.issue(&TokenDemand { audiences: vec!["vault".into(), "x".into()], ..s.demand() }).token;
    assert!(s.refusal(&token).contains(r#"["vault" "x"]"#));
    let wanted = ["y".to_owned(), "vault".to_owned()];
    let reviewed = s.verifier.verify(&token, &wanted).unwrap().unwrap();
    assert_eq!(reviewed.audiences, ["vault"]);
    s.f.stop().await;
}

#[tokio::test]
async fn a_token_dies_with_its_account_and_its_pod() {
    let s = Setup::new().await;
    let free = s.issue(&s.demand()).token;
    let demand = TokenDemand { bound: Some(pod("p1")), expiration_s: 3607, ..s.demand() };
    let issued = s.issue(&demand);
    let bound = issued.token;
    assert_eq!(s.refusal(&bound), "service account token has been invalidated");
    let make = |uid: &str, deleted: Option<&str>| json!({"metadata": {"name": "p", "namespace": "a", "uid": uid, "deletionTimestamp": deleted}});
    s.f.put("pods/a/p", &make("p1", None)).await;
    let user = s.ask(&bound).unwrap().unwrap();
    assert_eq!(user.extra["authentication.kubernetes.io/pod-name"], ["p"]);
    assert_eq!(user.extra["authentication.kubernetes.io/node-uid"], ["nu"]);
    // Such a token lives longer than it says, for programs that read it only once.
    assert_eq!(issued.expires.as_second(), 1_700_003_607);
    s.clock.advance(SignedDuration::from_hours(24));
    assert!(s.ask(&bound).is_ok());
    assert_eq!(s.refusal(&free), "service account token has expired");

    s.f.put("pods/a/p", &make("p1", Some("2023-11-15T22:13:20Z"))).await;
    assert!(s.ask(&bound).is_ok(), "{}", s.settings.clock.now());
    s.clock.advance(SignedDuration::from_mins(2));
    assert_eq!(s.refusal(&bound), "service account token has been invalidated");
    s.f.put("pods/a/p", &make("p2", None)).await;
    assert_eq!(s.refusal(&bound), "pod UID (p2) does not match claim (p1)");
    s.f.put("pods/a/p", &make("p1", None)).await;
    assert!(s.ask(&bound).is_ok());
    s.f.delete("serviceaccounts/a/bot").await;
    assert_eq!(s.refusal(&bound), r#"serviceaccount "bot" not found"#);
    s.f.put("serviceaccounts/a/bot", &json!({"metadata": {"name": "bot", "namespace": "a", "uid": "u2"}}))
        .await;
    assert_eq!(s.refusal(&bound), "service account UID (u2) does not match claim (u1)");
    s.f.stop().await;
}

#[tokio::test]
async fn keys_can_be_kept_published_and_changed() {
    let s = Setup::new().await;
    let token = s.issue(&s.demand()).token;
    let kept = SigningKey::from_pem(s.settings.keys[0].to_pem()).unwrap();
    let keys = vec![SigningKey::generate().unwrap(), kept];
    let changed = TokenSettings { keys: keys.into(), ..s.settings.clone() };
    let verifier = ServiceAccounts::new(changed.clone());
    assert!(verifier.verify(&token, &[]).unwrap().is_some());
    let jwks = Issuer::new(changed.clone()).jwks();
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 2);
    let header = jsonwebtoken::decode_header(&token).unwrap();
    assert_eq!(jwks["keys"][1]["kid"].as_str(), header.kid.as_deref());
    // A third party can check the token with what is published.
    let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(jwks["keys"][1].clone()).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.validate_exp = false;
    validation.set_audience(&[DEFAULT_ISSUER]);
    let key = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
    let data = jsonwebtoken::decode::<serde_json::Value>(&token, &key, &validation).unwrap();
    assert_eq!(data.claims["kubernetes.io"]["serviceaccount"]["name"], "bot");
    assert_eq!(Issuer::new(changed).openid_configuration()["issuer"], DEFAULT_ISSUER);
    assert!(SigningKey::from_pem("x").is_err());
    let edwards = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    assert!(matches!(SigningKey::from_pem(&edwards), Err(KeyError::Algorithm)));
    s.f.stop().await;
}

fn in_secret(token: &str) -> serde_json::Value {
    let data = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, token);
    json!({"metadata": {"name": "s", "namespace": "a", "uid": "su"}, "data": {"token": data}})
}

#[tokio::test]
async fn a_token_in_a_secret_is_its_account_while_the_secret_holds_it() {
    let s = Setup::new().await;
    let account = s.demand().account;
    let token = Issuer::new(s.settings.clone()).issue_for_secret(&account, "s").unwrap();
    let verifier = SecretTokens::new(s.settings.clone());
    let refusal = |token: &str| verifier.verify(token, &[]).unwrap_err();
    assert_eq!(refusal(&token), "service account token has been invalidated", "it lies nowhere");
    s.f.put("secrets/a/s", &in_secret(&token)).await;
    s.clock.advance(SignedDuration::from_hours(100_000));
    for _ in 0..2 {
        let reviewed = verifier.verify(&token, &[]).unwrap().unwrap();
        assert_eq!(reviewed.user.name, "system:serviceaccount:a:bot");
        assert_eq!((reviewed.user.uid.as_str(), reviewed.user.extra.len()), ("u1", 0));
        assert_eq!(reviewed.audiences, [DEFAULT_ISSUER]);
    }
    assert!(verifier.verify(&token, &["vault".to_owned()]).is_err());
    // It is no token of the other sort, and theirs is none of this.
    assert_eq!(s.ask(&token).unwrap(), None);
    let bound = s.issue(&s.demand()).token;
    assert!(verifier.verify(&bound, &[]).unwrap().is_none());
    // Whoever may write secrets signs nothing by it.
    let other = TokenSettings { keys: vec![SigningKey::generate().unwrap()].into(), ..s.settings.clone() };
    let forged = Issuer::new(other).issue_for_secret(&account, "s").unwrap();
    s.f.put("secrets/a/s", &in_secret(&forged)).await;
    assert_eq!(refusal(&forged), "invalid bearer token");
    assert_eq!(refusal(&token), "service account token has been invalidated", "another one lies there");
    let mut marked = in_secret(&token);
    marked["metadata"]["labels"] = json!({"kubernetes.io/legacy-token-invalid-since": "2026-01-01"});
    s.f.put("secrets/a/s", &marked).await;
    assert!(refusal(&token).contains("has been marked invalid"), "{}", refusal(&token));
    s.f.put("secrets/a/s", &in_secret(&token)).await;
    assert!(verifier.verify(&token, &[]).unwrap().is_some());
    let again = json!({"metadata": {"name": "bot", "namespace": "a", "uid": "u2"}});
    s.f.put("serviceaccounts/a/bot", &again).await;
    assert_eq!(refusal(&token), "service account UID (u2) does not match claim (u1)");
    s.f.delete("serviceaccounts/a/bot").await;
    assert_eq!(refusal(&token), "serviceaccount \"bot\" not found");
    s.f.stop().await;
}
