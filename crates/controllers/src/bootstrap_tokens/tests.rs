//! Tokens that expire, and what is signed with the others.

use std::sync::Arc;
use std::time::Duration;

use informer::{Action, Controller};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use resources::bootstrap_token::{Token, signature};
use serde_json::json;

use super::cleaner::TokenCleanerController;
use super::signer::{BootstrapSignerController, Observed};

const CONTENT: &str = "apiVersion: v1\nkind: Config\n";

fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().expect("a time")
}

/// A token's Secret that may sign, with more data.
fn secret(id: &str, more: &[(&str, &str)]) -> Arc<Secret> {
    let mut secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": format!("bootstrap-token-{id}"), "namespace": "kube-system", "uid": "u"},
        "type": "bootstrap.kubernetes.io/token",
    }))
    .expect("a Secret");
    let data = [("token-id", id), ("token-secret", "0123456789abcdef"), ("usage-bootstrap-signing", "true")];
    secret.data = Some(
        data.iter()
            .chain(more)
            .map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())))
            .collect(),
    );
    Arc::new(secret)
}

fn map(data: &[(&str, &str)]) -> Arc<ConfigMap> {
    let data = data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let mut map: ConfigMap = serde_json::from_value(json!({
        "metadata": {"name": "cluster-info", "namespace": "kube-public", "resourceVersion": "7"},
    }))
    .expect("a ConfigMap");
    map.data = Some(data);
    Arc::new(map)
}

fn valid(id: &str) -> String {
    let token = Token { id: id.into(), secret: "0123456789abcdef".into() };
    signature::detached(CONTENT, &token)
}

#[test]
fn an_expired_token_is_deleted_and_another_when_its_time_comes() {
    let expired = secret("abcdef", &[("expiration", "2026-06-01T12:00:00Z")]);
    let plan = TokenCleanerController::reconcile(&expired, now());
    let [Action::Delete { target, policy }] = plan.actions.as_slice() else { panic!("{plan:?}") };
    assert_eq!(target.path(), "/api/v1/namespaces/kube-system/secrets/bootstrap-token-abcdef");
    assert_eq!(policy.uid.as_deref(), Some("u"));
    let later = secret("abcdef", &[("expiration", "2026-06-01T13:00:00Z")]);
    let plan = TokenCleanerController::reconcile(&later, now());
    assert_eq!((plan.actions.len(), plan.again_after), (0, Some(Duration::from_millis(3_600_001))));
    let forever = TokenCleanerController::reconcile(&secret("abcdef", &[]), now());
    assert_eq!((forever.actions.len(), forever.again_after), (0, None));
}

#[test]
fn every_token_signs_and_signatures_of_others_go() {
    let map = map(&[
        ("kubeconfig", CONTENT),
        ("jws-kubeconfig-gone00", "old"),
        ("jws-kubeconfig-abcdef", "of another content"),
        ("else", "stays"),
    ]);
    let secrets = vec![
        secret("abcdef", &[]),
        secret("fedcba", &[("expiration", "2026-06-01T12:01:00Z")]),
        secret("past00", &[("expiration", "2026-06-01T11:00:00Z")]),
        secret("login0", &[("usage-bootstrap-signing", "false")]),
    ];
    let plan =
        BootstrapSignerController::reconcile(&Observed { map: map.clone(), secrets: secrets.clone() }, now());
    let [Action::Update { target, object }] = plan.actions.as_slice() else { panic!("{plan:?}") };
    assert_eq!(target.path(), "/api/v1/namespaces/kube-public/configmaps/cluster-info");
    assert_eq!(object.resource_version(), "7");
    assert_eq!(
        object.0["data"],
        json!({"kubeconfig": CONTENT, "else": "stays",
            "jws-kubeconfig-abcdef": valid("abcdef"), "jws-kubeconfig-fedcba": valid("fedcba")})
    );
    assert_eq!(plan.again_after, Some(Duration::from_millis(60_001)), "when the first of them expires");

    let mut signed = ConfigMap::clone(&map);
    signed.data = serde_json::from_value(object.0["data"].clone()).expect("texts");
    let plan = BootstrapSignerController::reconcile(&Observed { map: Arc::new(signed), secrets }, now());
    assert!(plan.actions.is_empty(), "what is signed is not written again");
}

#[test]
fn without_a_kubeconfig_nothing_is_signed() {
    let observed = Observed { map: map(&[("else", "stays")]), secrets: vec![secret("abcdef", &[])] };
    assert!(BootstrapSignerController::reconcile(&observed, now()).actions.is_empty());
}
