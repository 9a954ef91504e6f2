//! Asks the cluster's signers for a certificate, through the API, and waits for it.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use base::backoff;
use futures::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use kube::api::{PostParams, WatchEvent, WatchParams};
use kube::core::ObjectMeta;
use kube::{Api, Client};
use rcgen::KeyPair;

use super::wanted::Wanted;
use crate::api_error::words;
use crate::pki::Pair;

/// How long before it is said that somebody has to approve the request.
const NOTICE: Duration = Duration::from_secs(10);
/// The waits between attempts to watch the request.
const RETRY: backoff::Policy = backoff::Policy::new(Duration::from_millis(200), Duration::from_secs(30));

/// What the request has come to.
enum Progress {
    /// The certificates, in PEM.
    Issued(String),
    Refused(String),
    /// Nobody has decided, or not yet signed.
    Waits,
}

/// A certificate with a new key, which does not leave the machine.
///
/// # Errors
/// When the API refuses the request, somebody denies it, its signer does not sign it, or nothing of that happens within
/// `patience`.
pub async fn issue(client: &Client, wanted: &Wanted, patience: Duration) -> Result<Pair> {
    let key = KeyPair::generate().context("making a key")?;
    let api: Api<CertificateSigningRequest> = Api::all(client.clone());
    let request = CertificateSigningRequest {
        metadata: ObjectMeta { generate_name: Some("csr-".to_owned()), ..ObjectMeta::default() },
        spec: CertificateSigningRequestSpec {
            request: ByteString(wanted.signing_request(&key)?.into_bytes()),
            signer_name: wanted.signer.to_owned(),
            usages: Some(wanted.usages.iter().map(|usage| (*usage).to_owned()).collect()),
            ..CertificateSigningRequestSpec::default()
        },
        ..CertificateSigningRequest::default()
    };
    let what = || format!("asking {} for the certificate of {}", wanted.signer, wanted.common_name);
    let made = api.create(&PostParams::default(), &request).await.map_err(words).with_context(what)?;
    let name = made.metadata.name.unwrap_or_default();
    let waited = tokio::time::timeout(patience, certificate(&api, &name)).await;
    let certificate_pem = waited
        .unwrap_or_else(|_| {
            bail!("nobody has approved the request {name}: `kubectl certificate approve {name}` does")
        })
        .with_context(what)?;
    Ok(Pair { certificate_pem, key_pem: key.serialize_pem() })
}

/// Waits for the certificate of a request, as long as it takes.
async fn certificate(api: &Api<CertificateSigningRequest>, name: &str) -> Result<String> {
    let notice = async {
        tokio::time::sleep(NOTICE).await;
        tracing::warn!("the request {name} waits for approval: `kubectl certificate approve {name}`");
        std::future::pending::<()>().await;
    };
    let follow = async {
        for failures in 1.. {
            match watched(api, name).await {
                Ok(Some(done)) => return done,
                Ok(None) => {}
                Err(error) if is_final(&error) => return Err(words(error)),
                Err(error) => {
                    tracing::warn!(%error, name, "the request cannot be watched; it is tried again")
                }
            }
            tokio::time::sleep(RETRY.delay(failures)).await;
        }
        unreachable!("the loop ends by returning")
    };
    tokio::select! {
        done = follow => done,
        () = notice => unreachable!("the notice does not end"),
    }
}

/// One watch: what the request has come to, or `None` when the watch ends before it has.
async fn watched(
    api: &Api<CertificateSigningRequest>,
    name: &str,
) -> Result<Option<Result<String>>, kube::Error> {
    let parameters = WatchParams::default().fields(&format!("metadata.name={name}"));
    // From any revision: the present state comes first.
    let mut changes = api.watch(&parameters, "0").await?.boxed();
    while let Some(change) = changes.next().await {
        match change? {
            WatchEvent::Added(request) | WatchEvent::Modified(request) => match progress(&request) {
                Progress::Issued(pem) => return Ok(Some(Ok(pem))),
                Progress::Refused(why) => {
                    return Ok(Some(Err(anyhow::anyhow!("the request {name} was refused: {why}"))));
                }
                Progress::Waits => {}
            },
            WatchEvent::Deleted(_) => {
                return Ok(Some(Err(anyhow::anyhow!("the request {name} was deleted"))));
            }
            WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
            WatchEvent::Bookmark(_) => {}
        }
    }
    Ok(None)
}

fn progress(request: &CertificateSigningRequest) -> Progress {
    let Some(status) = &request.status else { return Progress::Waits };
    if let Some(pem) = status.certificate.as_ref().filter(|pem| !pem.0.is_empty()) {
        return match String::from_utf8(pem.0.clone()) {
            Ok(pem) => Progress::Issued(pem),
            Err(_) => Progress::Refused("its certificate is no PEM".to_owned()),
        };
    }
    let refusal =
        status.conditions.iter().flatten().find(|c| matches!(c.type_.as_str(), "Denied" | "Failed"));
    match refusal {
        Some(condition) => {
            let why = condition.message.as_deref().filter(|message| !message.is_empty());
            let reason = condition.reason.as_deref().unwrap_or_default();
            Progress::Refused(format!("{} ({})", condition.type_, why.unwrap_or(reason)))
        }
        None => Progress::Waits,
    }
}

/// Whether trying again is pointless: who asks may not.
fn is_final(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 401 | 403))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(status: serde_json::Value) -> CertificateSigningRequest {
        serde_json::from_value(json!({
            "spec": {"request": "", "signerName": "kubernetes.io/kubelet-serving"}, "status": status,
        }))
        .expect("a request")
    }

    fn refused(status: serde_json::Value) -> String {
        match progress(&request(status)) {
            Progress::Refused(why) => why,
            Progress::Issued(_) | Progress::Waits => panic!("not refused"),
        }
    }

    #[test]
    fn a_request_waits_until_it_has_its_certificate_or_a_refusal() {
        let approved = json!({"type": "Approved", "status": "True"});
        assert!(matches!(progress(&request(json!({}))), Progress::Waits));
        assert!(matches!(progress(&request(json!({"conditions": [approved]}))), Progress::Waits));
        let issued = request(json!({"conditions": [approved], "certificate": "cGVt"}));
        assert!(matches!(progress(&issued), Progress::Issued(pem) if pem == "pem"));
        let denied =
            json!({"type": "Denied", "status": "True", "reason": "KubectlDeny", "message": "not this one"});
        assert_eq!(refused(json!({"conditions": [denied]})), "Denied (not this one)");
        let failed = json!({"type": "Failed", "status": "True", "reason": "SignerValidationFailure"});
        assert_eq!(refused(json!({"conditions": [failed]})), "Failed (SignerValidationFailure)");
    }
}
