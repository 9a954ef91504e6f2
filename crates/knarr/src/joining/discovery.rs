//! Finds out about a cluster from nothing but an address and a token, and whether to believe it.
//!
//! The first question goes to whoever answers at the address. The answer is believed when it is signed with the token
//! (and the CA in it has the hash that the user gave); from then on only a server is spoken to that the CA vouches for.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use client::{Credentials, Trust};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::Client;
use resources::bootstrap_token::Token;
use rustls::CertificateError;

use super::cluster_info::{self, ClusterInfo};
use crate::api_error::{cause, words};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// The largest answer of a server that is not known yet, in bytes.
const MAX_ANSWER: usize = 1 << 20;
/// Clocks further apart than that are worth a word.
const SKEW: SignedDuration = SignedDuration::from_mins(2);
/// How many minor versions a node may be behind its server.
const MAX_BEHIND: u32 = 3;

/// The clocks of both sides.
#[derive(Debug, Clone, Copy)]
struct Clocks {
    own: Timestamp,
    /// As the server says; `None` when it does not.
    server: Option<Timestamp>,
}

/// What the cluster says of itself, believed. `server` is where it was asked.
///
/// # Errors
/// One line for whatever is wrong: the address, the token, the CA, a clock, the versions.
pub async fn discover(server: &str, token: &Token, pinned: &[String], now: Timestamp) -> Result<ClusterInfo> {
    let (map, at) = told(server).await?;
    let clocks = Clocks { own: now, server: at };
    let told = ClusterInfo::verified(&map, token)?;
    told.check_ca(pinned)?;
    if let Some(server) = clocks.server.filter(|server| clocks.own.duration_since(*server).abs() > SKEW) {
        tracing::warn!(here = %clocks.own, there = %server, "the clocks of this machine and the server are apart");
    }
    let info = ClusterInfo { server: server.to_owned(), ca_pem: told.ca_pem };
    check_versions(&version(&info, clocks).await?)?;
    Ok(info)
}

/// The ConfigMap that a stranger is told, and when by the server's clock.
async fn told(server: &str) -> Result<(ConfigMap, Option<Timestamp>)> {
    let stranger = client::https_as(server, Trust::Anybody, Credentials::None)?;
    let unreachable = || format!("the server {server} cannot be reached");
    let path = format!("/api/v1/namespaces/{}/configmaps/{}", cluster_info::NAMESPACE, cluster_info::NAME);
    let request = Request::get(path).body(kube::client::Body::empty())?;
    let answer = in_time(stranger.send(request)).await.with_context(unreachable)?.map_err(words);
    let answer = answer.with_context(unreachable)?;
    let at = date(answer.headers());
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => {
            bail!("{server} has no cluster that machines can join: there is no {} in it", cluster_info::NAME)
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            bail!("{server} does not tell strangers of its cluster: {} may not be read", cluster_info::NAME)
        }
        status => bail!("{server} answers with {status} when it is asked for its cluster"),
    }
    let body =
        in_time(Limited::new(answer.into_body(), MAX_ANSWER).collect()).await.with_context(unreachable)?;
    let body = body.map_err(|error| anyhow::anyhow!("{error}")).with_context(unreachable)?;
    let map = serde_json::from_slice(&body.to_bytes());
    Ok((map.with_context(|| format!("{server} is no API server of Kubernetes"))?, at))
}

/// What a server says, unless it takes too long.
async fn in_time<T>(answer: impl Future<Output = T>) -> Result<T> {
    let answer = tokio::time::timeout(PATIENCE, answer).await;
    answer.map_err(|_| anyhow::anyhow!("it does not answer within {} s", PATIENCE.as_secs()))
}

/// The time by the server's clock.
fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(http::header::DATE)?.to_str().ok()?;
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp())
}

/// The server's version, from a server that the CA vouches for.
async fn version(info: &ClusterInfo, clocks: Clocks) -> Result<Info> {
    let client: Client = client::https_as(&info.server, Trust::Ca(&info.ca_pem), Credentials::None)?;
    let answer = in_time(client.apiserver_version()).await;
    let asking = || format!("asking {} for its version", info.server);
    answer.with_context(asking)?.map_err(|error| match cause::<rustls::Error>(&error) {
        Some(rustls::Error::InvalidCertificate(wrong)) => distrust(&info.server, wrong, clocks),
        _ => words(error).context(asking()),
    })
}

/// Why the server's certificate does not count.
fn distrust(server: &str, wrong: &CertificateError, clocks: Clocks) -> anyhow::Error {
    let times = || {
        let there =
            clocks.server.map_or_else(|| "unknown".to_owned(), |at| at.strftime("%FT%TZ").to_string());
        format!(
            "this machine's clock says {}, the server's {there}: one of them is wrong",
            clocks.own.strftime("%FT%TZ")
        )
    };
    match wrong {
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            anyhow::anyhow!("the server's certificate is not valid yet: {}", times())
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            anyhow::anyhow!("the server's certificate has expired: {}", times())
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            anyhow::anyhow!(
                "the server's certificate is not for {server}: use a name or address that the server has ({wrong})"
            )
        }
        CertificateError::UnknownIssuer => anyhow::anyhow!(
            "the cluster's CA does not vouch for {server}: something between this machine and the server answers in its place"
        ),
        other => anyhow::anyhow!("the server's certificate is not valid: {other}"),
    }
}

/// Upstream's version skew policy: a node is not newer than the server and at most three minor versions older.
fn check_versions(server: &Info) -> Result<()> {
    let minor = |text: &str| text.trim_end_matches('+').parse::<u32>().ok();
    let own = minor(api::TRACKED_MINOR).context("the own version is no number")?;
    let fits = match (server.major.as_str(), minor(&server.minor)) {
        ("1", Some(there)) => own <= there && there - own <= MAX_BEHIND,
        _ => false,
    };
    if !fits {
        bail!(
            "the server runs Kubernetes {there}, this machine {own}: a node must not be newer than the server, nor more than \
             {MAX_BEHIND} minor versions older",
            there = server.git_version,
            own = api::TRACKED_VERSION
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn both_clocks_are_named_where_one_is_wrong() {
        let mut headers = HeaderMap::new();
        headers.insert("date", "Mon, 01 Jun 2026 12:00:00 GMT".parse().expect("a value"));
        let clocks = Clocks { own: at("2020-01-01T00:00:00Z"), server: date(&headers) };
        let why = |wrong: &CertificateError| distrust("https://192.0.2.1:6443", wrong, clocks).to_string();
        assert_eq!(
            why(&CertificateError::NotValidYet),
            "the server's certificate is not valid yet: this machine's clock says 2020-01-01T00:00:00Z, the server's \
             2026-06-01T12:00:00Z: one of them is wrong"
        );
        assert!(
            why(&CertificateError::Expired)
                .starts_with("the server's certificate has expired: this machine's")
        );
        assert!(
            why(&CertificateError::UnknownIssuer)
                .starts_with("the cluster's CA does not vouch for https://192.0.2.1")
        );
        assert!(
            why(&CertificateError::NotValidForName)
                .starts_with("the server's certificate is not for https://192.0.2.1")
        );
        assert_eq!(date(&HeaderMap::new()), None);
    }

    #[test]
    fn versions_are_as_near_as_upstream_wants_them() {
        let own: u32 = api::TRACKED_MINOR.parse().expect("a number");
        let check = |major: &str, minor: String| {
            let info = Info {
                major: major.into(),
                git_version: format!("v{major}.{minor}.0"),
                minor,
                ..Info::default()
            };
            check_versions(&info).map_err(|error| error.to_string())
        };
        for behind in 0..=MAX_BEHIND {
            assert_eq!(check("1", (own + behind).to_string()), Ok(()));
        }
        assert_eq!(check("1", format!("{own}+")), Ok(()));
        for minor in [(own + MAX_BEHIND + 1).to_string(), (own - 1).to_string(), "x".into(), String::new()] {
            assert!(check("1", minor.clone()).is_err(), "{minor}");
        }
        let why = check("1", "20".into()).expect_err("too old");
        assert!(why.starts_with("the server runs Kubernetes v1.20.0, this machine v1."), "{why}");
        assert!(check("2", own.to_string()).is_err());
    }
}
