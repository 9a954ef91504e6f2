//! Every pod runs as a service account: a default one, the account's pull secrets, and the volume with its token.

use std::time::Duration;

use api::{Error, Object};
use serde_json::{Map, Value, json};

use super::plugin::{Admission, Operation, Review};
use crate::cache::lookup::Lookup;
use crate::eventual::Eventual;

const DEFAULT_ACCOUNT: &str = "default";
const VOLUME_PREFIX: &str = "kube-api-access-";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
/// How long a pod waits for the `default` account of its namespace, which a controller makes: as long as upstream's
/// ten attempts take at most.
const DEFAULT_PATIENCE: Duration = Duration::from_millis(1800);
/// The token's lifetime in seconds. The odd figure marks tokens that admission asked for.
const TOKEN_EXPIRATION_S: i64 = 3607;

/// The plugin `ServiceAccount`.
pub struct ServiceAccount {
    lookup: Lookup,
}

impl ServiceAccount {
    pub fn new(lookup: Lookup) -> Self {
        Self { lookup }
    }

    fn account(&self, review: &Review<'_>, pod: &Object, name: &str) -> Result<Object, Error> {
        let namespace = &review.attributes.namespace;
        self.lookup.object("", "serviceaccounts", namespace, name).ok_or_else(|| {
            review.forbid(
                Some(pod),
                format!(
                    "error looking up service account {namespace}/{name}: serviceaccount {name:?} not found"
                ),
            )
        })
    }
}

fn concerns(review: &Review<'_>) -> bool {
    review.operation == Operation::Create && review.is_about_whole("", "pods")
}

impl Admission for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    /// Waits for the default account of a new namespace; answers all else at once.
    fn admit<'a>(
        &'a self,
        review: &'a Review<'_>,
        object: Option<&'a mut Object>,
    ) -> Eventual<'a, Result<(), Error>> {
        let Some(pod) = object.filter(|_| concerns(review)) else { return Ok(()).into() };
        // A mirror pod shows what runs already; changing it would make it another pod.
        if pod.annotation(MIRROR_ANNOTATION).is_some() {
            return Ok(()).into();
        }
        let named = pod.str_at(&["spec", "serviceAccountName"]).unwrap_or_default();
        let name = if named.is_empty() { DEFAULT_ACCOUNT } else { named }.to_owned();
        match self.account(review, pod, &name) {
            Ok(account) => {
                assign(pod, &name, &account);
                Ok(()).into()
            }
            Err(_) if name == DEFAULT_ACCOUNT => Eventual::later(async move {
                self.lookup
                    .awaited("", "serviceaccounts", &review.attributes.namespace, &name, DEFAULT_PATIENCE)
                    .await;
                let account = self.account(review, pod, &name)?;
                assign(pod, &name, &account);
                Ok(())
            }),
            Err(missing) => Err(missing).into(),
        }
    }

    fn validate<'a>(
        &'a self,
        review: &'a Review<'_>,
        object: Option<&'a Object>,
    ) -> Eventual<'a, Result<(), Error>> {
        self.check(review, object).into()
    }
}

impl ServiceAccount {
    fn check(&self, review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
        let Some(pod) = object.filter(|_| concerns(review)) else { return Ok(()) };
        let name = pod.str_at(&["spec", "serviceAccountName"]).unwrap_or_default();
        if pod.annotation(MIRROR_ANNOTATION).is_none() {
            return self.account(review, pod, name).map(drop);
        }
        if !name.is_empty() {
            return Err(review.forbid(object, "a mirror pod may not reference service accounts"));
        }
        let volumes = || pod.at(&["spec", "volumes"]).and_then(Value::as_array).into_iter().flatten();
        if volumes().any(|volume| volume.get("secret").is_some()) {
            return Err(review.forbid(object, "a mirror pod may not reference secrets"));
        }
        let sources = |volume: &'_ Value| {
            let sources = volume.pointer("/projected/sources").and_then(Value::as_array);
            sources.is_some_and(|all| all.iter().any(|source| source.get("serviceAccountToken").is_some()))
        };
        if volumes().any(sources) {
            return Err(
                review.forbid(object, "a mirror pod may not use ServiceAccountToken volume projections")
            );
        }
        Ok(())
    }
}

/// Has the pod run as the account.
fn assign(pod: &mut Object, name: &str, account: &Object) {
    pod.set_at(&["spec", "serviceAccountName"], name.into());
    // The old name of the same field.
    pod.set_at(&["spec", "serviceAccount"], name.into());
    give(pod, account, &base::random::name_suffix(5));
}

/// Gives a pod what its account has for it. `suffix` makes the volume's name unique.
fn give(pod: &mut Object, account: &Object, suffix: &str) {
    let wish = |object: &Object, path: &[&str]| object.at(path).and_then(Value::as_bool);
    let automount = wish(pod, &["spec", "automountServiceAccountToken"])
        .or_else(|| wish(account, &["automountServiceAccountToken"]))
        .unwrap_or(true);
    if automount {
        mount_token(pod, suffix);
    }
    let is_empty = |value: Option<&Value>| value.and_then(Value::as_array).is_none_or(Vec::is_empty);
    if is_empty(pod.at(&["spec", "imagePullSecrets"]))
        && let Some(secrets) = account.at(&["imagePullSecrets"]).filter(|secrets| !is_empty(Some(secrets)))
    {
        pod.set_at(&["spec", "imagePullSecrets"], secrets.clone());
    }
}

fn mount_token(pod: &mut Object, suffix: &str) {
    let Some(spec) = pod.0.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let present = spec
        .get("volumes")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|volume| volume.get("name")?.as_str())
        .find(|name| name.starts_with(VOLUME_PREFIX))
        .map(str::to_owned);
    let name = present.clone().unwrap_or_else(|| format!("{VOLUME_PREFIX}{suffix}"));
    let mut mounted = false;
    for key in ["initContainers", "containers"] {
        let containers = spec.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten();
        for container in containers.filter_map(Value::as_object_mut) {
            let mounts = container.get("volumeMounts").and_then(Value::as_array);
            let taken = |mount: &Value| mount.get("mountPath").and_then(Value::as_str) == Some(MOUNT_PATH);
            if mounts.is_none_or(|mounts| !mounts.iter().any(taken)) {
                push(
                    container,
                    "volumeMounts",
                    json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH}),
                );
                mounted = true;
            }
        }
    }
    if mounted && present.is_none() {
        push(spec, "volumes", token_volume(&name));
    }
}

fn push(map: &mut Map<String, Value>, key: &str, item: Value) {
    match map.get_mut(key) {
        Some(Value::Array(list)) => list.push(item),
        _ => drop(map.insert(key.to_owned(), Value::Array(vec![item]))),
    }
}

fn token_volume(name: &str) -> Value {
    json!({
        "name": name,
        "projected": {
            "defaultMode": 420,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_EXPIRATION_S, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [
                    {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
                ]}},
            ],
        },
    })
}
