//! Tokens, their Secrets and signatures, with upstream's own values.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn token(text: &str) -> Token {
    Token::parse(text).expect("a token")
}

fn stored(data: &[(&str, &str)]) -> Secret {
    let data: serde_json::Map<String, Value> = data
        .iter()
        .map(|(key, value)| {
            (
                (*key).to_owned(),
                serde_json::to_value(k8s_openapi::ByteString(value.as_bytes().to_vec())).expect("a text"),
            )
        })
        .collect();
    serde_json::from_value(json!({
        "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
        "type": SECRET_TYPE, "data": data,
    }))
    .expect("a Secret")
}

fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().expect("a time")
}

#[test]
fn a_token_has_an_id_and_a_secret() {
    let known = token("abcdef.0123456789abcdef");
    assert_eq!((known.id.as_str(), known.secret.as_str()), ("abcdef", "0123456789abcdef"));
    assert_eq!(
        (known.to_string(), known.secret_name()),
        ("abcdef.0123456789abcdef".into(), "bootstrap-token-abcdef".into())
    );
    assert!(!format!("{known:?}").contains("0123456789abcdef"), "logs do not show the secret");
    for bad in [
        "",
        "abcdef",
        "abcdef.",
        "ABCDEF.0123456789abcdef",
        "abcdef.0123456789abcde",
        "abcdef.0123456789abcdef0",
        "abcde.0123456789abcdef",
        "abcdef.0123456789abcde\n",
        "abcdef.0123456789.bcdef",
    ] {
        assert_eq!(Token::parse(bad), None, "{bad:?}");
    }
    let (one, other) = (Token::generate(), Token::generate());
    assert_eq!(Token::parse(&one.to_string()), Some(one.clone()));
    assert_ne!(one, other);
}

#[test]
fn groups_begin_as_those_of_bootstrappers() {
    let groups = |extra: &str| Stored(&stored(&[(key::EXTRA_GROUPS, extra)])).groups();
    assert_eq!(groups("").expect("fine"), [GROUP]);
    assert_eq!(
        groups("system:bootstrappers:b,system:bootstrappers:a").expect("fine"),
        [GROUP, "system:bootstrappers:a", "system:bootstrappers:b"]
    );
    for bad in [
        "system:masters",
        "system:bootstrappers",
        "system:bootstrappers:",
        "system:bootstrappers:A",
        "system:bootstrappers:a,",
        "x\nsystem:bootstrappers:a",
    ] {
        let why = groups(bad).expect_err(bad);
        assert!(
            why.ends_with(r"is invalid (must match \Asystem:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]\z)"),
            "{why}"
        );
    }
}

#[test]
fn a_time_that_cannot_be_read_has_passed() {
    let expiration = |at: &str| Stored(&stored(&[(key::EXPIRATION, at)])).expiration(now());
    assert_eq!(expiration(""), Expiration::Never);
    assert_eq!(expiration("2026-06-01T14:00:01+02:00"), Expiration::In(SignedDuration::from_secs(1)));
    for past in ["2026-06-01T12:00:00Z", "2020-01-01T00:00:00Z", "soon"] {
        assert_eq!(expiration(past), Expiration::Past, "{past}");
    }
}

#[test]
fn only_what_is_meant_for_it_signs() {
    let whole = [(key::ID, "abcdef"), (key::SECRET, "0123456789abcdef"), ("usage-bootstrap-signing", "true")];
    assert_eq!(Stored(&stored(&whole)).for_signing(now()), Some(token("abcdef.0123456789abcdef")));
    for missing in 0..whole.len() {
        let rest: Vec<_> =
            whole.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, pair)| *pair).collect();
        assert_eq!(Stored(&stored(&rest)).for_signing(now()), None, "without {:?}", whole[missing]);
    }
    let mut expired = whole.to_vec();
    expired.push((key::EXPIRATION, "2026-06-01T12:00:00Z"));
    assert_eq!(Stored(&stored(&expired)).for_signing(now()), None);
    let mut other = stored(&whole);
    other.metadata.name = Some("bootstrap-token-fedcba".into());
    assert_eq!(Stored(&other).for_signing(now()), None, "the name has another id");
    let mut opaque = stored(&whole);
    opaque.type_ = Some("Opaque".into());
    assert_eq!(Stored(&opaque).for_signing(now()), None);
}

/// The value is that of upstream's own test (`cluster-bootstrap/token/jws/jws_test.go`).
#[test]
fn a_signature_is_upstreams() {
    let signer = Token { id: "joshua".into(), secret: "my voice is my passcode".into() };
    let content = "Hello from the other side. I must have called a thousand times.";
    let signature = detached(content, &signer);
    assert_eq!(
        signature,
        "eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..VShe2taLd-YTrmWuRkcL_8QTNDHYxQIEBsAYYiIj1_8"
    );
    assert!(signature::is_valid(&signature, content, &signer));
    assert!(!signature::is_valid(&signature, "Hello.", &signer));
    assert!(!signature::is_valid(&signature, content, &Token { secret: "another".into(), ..signer.clone() }));
    assert!(!signature::is_valid(&signature, content, &Token { id: "joshub".into(), ..signer }));
}

use signature::detached;

proptest! {
    #[test]
    fn any_text_is_no_valid_signature(text in "\\PC{0,80}|[a-zA-Z0-9_-]{0,40}\\.\\.[a-zA-Z0-9_-]{0,43}") {
        prop_assert!(!signature::is_valid(&text, "content", &token("abcdef.0123456789abcdef")));
        prop_assert!(Token::parse(&text).is_none());
    }
}
