//! How a machine becomes a node of a cluster whose control plane is elsewhere.
//!
//! Start with [`enter`]. `discovery` finds the cluster by an address and a token, `cluster_info` is what the cluster tells
//! everybody, `namesake` looks for another machine of the name, `network` gets the cluster's addresses. The node's
//! identities are asked for through [`crate::certificates`]. What comes of it is written down ([`Joined`]); from then on
//! the token is not needed.

pub mod cluster_info;
mod discovery;
mod namesake;
mod network;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use client::{Credentials, Endpoint, Trust};
use jiff::Timestamp;
use kubelet::node::Machine;
use resources::bootstrap_token::{PATTERN, Token};

use crate::certificates::request::issue;
use crate::certificates::wanted::{Wanted, node_of};
use crate::joined::Joined;
use crate::pki::Pair;
use crate::pki::facts::Facts;
use cluster_info::ClusterInfo;

/// How long somebody may take to approve the requests of a machine that joins, where the cluster does not itself.
const APPROVAL: Duration = Duration::from_mins(15);

/// What the command line says about the cluster.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// `https://host:port`
    pub server: Option<String>,
    pub token: Option<String>,
    /// Hashes of the CA's key, of which one must be right.
    pub ca_hashes: Vec<String>,
}

/// The node's part in its cluster: as it was written down when the machine joined, else by joining now. `folder` is
/// where it is written down.
///
/// # Errors
/// One line for whatever keeps the machine from joining, or from being the node it was.
pub async fn enter(folder: &Path, node: &str, ask: &Ask, now: Timestamp) -> Result<Joined> {
    let server = ask.server.as_deref().map(address).transpose()?;
    if let Some(joined) = Joined::read(folder)? {
        let facts = Facts::read(&joined.node.certificate_pem)
            .with_context(|| format!("the node's certificate in {} is damaged", folder.display()))?;
        check_same(&joined, &facts, node, server.as_deref())?;
        if facts.ends > now {
            return Ok(joined);
        }
        if ask.token.is_none() {
            bail!(
                "the node's certificate has expired at {}, and this machine's clock says {}: join again with --server and a \
                 new --token",
                facts.ends,
                now.strftime("%FT%TZ")
            );
        }
    }
    let (Some(server), Some(token)) = (server, &ask.token) else {
        bail!(
            "this machine has not joined a cluster: `knarr token create --print-join-command` on the server's machine says \
             how, with --server and --token"
        );
    };
    let token = Token::parse(token)
        .with_context(|| format!("the bootstrap token {token:?} was not of the form {PATTERN:?}"))?;
    let joined = join(folder, node, &server, &token, ask, now).await?;
    joined.write(folder)?;
    Ok(joined)
}

/// Whether a token is needed to be the node of a cluster. What was written down for another address of the server, or has
/// expired, counts no more and is removed.
///
/// # Errors
/// When what was written down is damaged, or cannot be removed.
pub fn needs_token(folder: &Path, server: &str, now: Timestamp) -> Result<bool> {
    let Some(joined) = Joined::read(folder)? else { return Ok(true) };
    let is_valid = Facts::read(&joined.node.certificate_pem).is_some_and(|facts| facts.ends > now);
    if joined.node.server == server && is_valid {
        return Ok(false);
    }
    std::fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
    Ok(true)
}

/// The server's address in full.
fn address(text: &str) -> Result<String> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let refused = || format!("--server {text:?} is no address of an API server: use https://HOST:PORT");
    let uri: http::Uri = whole.parse().with_context(refused)?;
    match (uri.scheme_str(), uri.authority(), uri.path()) {
        (Some("https"), Some(authority), "" | "/") => Ok(format!("https://{authority}")),
        _ => bail!(refused()),
    }
}

/// A machine that has joined goes on as the same node of the same cluster.
fn check_same(joined: &Joined, facts: &Facts, node: &str, server: Option<&str>) -> Result<()> {
    let was = node_of(&facts.common_name).unwrap_or(&facts.common_name);
    if was != node {
        bail!(
            "this machine has joined as node {was:?} and cannot go on as {node:?}: use --node-name {was}, or first run `knarr \
             down --purge`"
        );
    }
    if let Some(server) = server.filter(|server| *server != joined.node.server) {
        bail!(
            "this machine has joined the cluster of {} and cannot go on with {server}: first run `knarr down --purge`",
            joined.node.server
        );
    }
    Ok(())
}

async fn join(
    folder: &Path,
    node: &str,
    server: &str,
    token: &Token,
    ask: &Ask,
    now: Timestamp,
) -> Result<Joined> {
    if let Some(why) = api::names::dns1123_subdomain(node).first() {
        bail!("a node cannot be called {node:?}: {why}");
    }
    let info = discovery::discover(server, token, &ask.ca_hashes, now).await?;
    let text = token.to_string();
    let newcomer = client::https_as(&info.server, Trust::Ca(&info.ca_pem), Credentials::Token(&text))?;
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let machine = Machine::read(folder).context("looking at the machine")?;
    namesake::check(&newcomer, node, &machine).await?;
    let pair = issue(&newcomer, &Wanted::node(node), APPROVAL).await?;
    check_times(&pair, now)?;
    tracing::info!(node, server, "the cluster has taken this machine as a node");
    let own = endpoint(&info, pair);
    let client = client::https(&own)?;
    let network = network::of(&client).await?;
    let agents = issue(&client, &Wanted::network_agents(), APPROVAL).await?;
    Ok(Joined { node: own, network_agents: endpoint(&info, agents), serving: None, network })
}

/// A certificate that counts on this machine's clock.
fn check_times(pair: &Pair, now: Timestamp) -> Result<()> {
    let facts = Facts::read(&pair.certificate_pem).context("the node's new certificate cannot be read")?;
    if (facts.begins..facts.ends).contains(&now) {
        return Ok(());
    }
    bail!(
        "the node's new certificate is valid from {} to {}, and this machine's clock says {}: one of the clocks is wrong",
        facts.begins,
        facts.ends,
        now.strftime("%FT%TZ")
    );
}

fn endpoint(info: &ClusterInfo, pair: Pair) -> Endpoint {
    Endpoint {
        server: info.server.clone(),
        ca_pem: info.ca_pem.clone(),
        certificate_pem: pair.certificate_pem,
        key_pem: pair.key_pem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_address_may_be_short() {
        for good in ["https://192.0.2.1:6443", "192.0.2.1:6443", "https://192.0.2.1:6443/"] {
            assert_eq!(address(good).expect(good), "https://192.0.2.1:6443");
        }
        for bad in ["http://192.0.2.1:6443", "https://", "https://a/b", "", "ftp://x", "https://a b"] {
            assert!(address(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_was_written_down_counts_for_its_server_and_its_time() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folder = folder.path().join("joined");
        let server = "https://192.0.2.1:6443";
        let joined = crate::joined::tests::joined("n1");
        let ends = Facts::read(&joined.node.certificate_pem).expect("read").ends;
        let before = ends - jiff::SignedDuration::from_secs(1);
        assert!(needs_token(&folder, server, before).expect("nothing is wrong"), "it has not joined yet");
        for (server, now, needs) in
            [(server, before, false), (server, ends, true), ("https://192.0.2.9:6443", before, true)]
        {
            joined.write(&folder).expect("written");
            assert_eq!(needs_token(&folder, server, now).expect("nothing is wrong"), needs, "{server} {now}");
            assert_eq!(folder.exists(), !needs);
        }
    }

    #[tokio::test]
    async fn who_has_joined_stays_the_same_node_of_the_same_cluster() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let joined = crate::joined::tests::joined("n1");
        joined.write(folder.path()).expect("written");
        let ends = Facts::read(&joined.node.certificate_pem).expect("read").ends;
        let before = ends - jiff::SignedDuration::from_secs(1);
        let enter = async |node: &str, server: Option<&str>, token: Option<&str>, now| {
            let ask = Ask { server: server.map(Into::into), token: token.map(Into::into), ..Ask::default() };
            enter(folder.path(), node, &ask, now)
                .await
                .map(|joined| joined.node.server)
                .map_err(|e| format!("{e:#}"))
        };
        let server = "https://192.0.2.1:6443";
        assert_eq!(enter("n1", None, None, before).await.as_deref(), Ok(server));
        assert_eq!(enter("n1", Some(server), Some("whatever"), before).await.as_deref(), Ok(server));
        let why = enter("n2", None, None, before).await.expect_err("another name");
        assert!(why.contains(r#"has joined as node "n1" and cannot go on as "n2""#), "{why}");
        let why =
            enter("n1", Some("https://192.0.2.9:6443"), None, before).await.expect_err("another server");
        assert!(why.contains("cannot go on with https://192.0.2.9:6443"), "{why}");
        let why = enter("n1", None, None, ends).await.expect_err("expired");
        assert!(why.starts_with("the node's certificate has expired at"), "{why}");
        let why = enter("n1", None, Some("nonsense"), ends).await.expect_err("no address");
        assert!(why.starts_with("this machine has not joined a cluster"), "{why}");
        let why = enter("n1", Some(server), Some("nonsense"), ends).await.expect_err("no token");
        assert!(why.starts_with(r#"the bootstrap token "nonsense" was not of the form"#), "{why}");
    }
}
