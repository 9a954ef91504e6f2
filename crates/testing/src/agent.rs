//! A node of a cluster whose control plane is elsewhere: a `knarr agent` with identities of its own, signed here by
//! the cluster's CA as joining would have them signed.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::ground::Ground;

/// What the node has to know of its cluster.
pub struct Joining {
    /// An address of the machine that runs the control plane; for the test also the node's own.
    pub address: Ipv4Addr,
    pub api_port: u16,
    pub api_service_ip: Ipv4Addr,
    pub dns_ip: Ipv4Addr,
    pub service_cidr: String,
    pub pod_cidr: String,
}

/// A running agent. Taken down when dropped, and also when the test is interrupted or killed.
pub struct Agent {
    /// The machine's part of the cluster.
    ground: Ground,
    process: Child,
}

impl Agent {
    /// Starts the node `node` of the cluster. `name` has at most 5 letters.
    ///
    /// # Errors
    /// When the CA cannot be read or the agent cannot be started; the node is not waited for.
    pub fn start(cluster: &Cluster, name: &str, node: &str, joining: &Joining) -> Result<Self> {
        let fixtures = &cluster.fixtures;
        let ground = Ground::new(fixtures, name)?;
        let joined = join(&cluster.data_dir().join("pki"), &ground.dir, node, joining)?;
        let log = File::create(ground.dir.join("agent.log"))?;
        let process = Command::new(&fixtures.knarr)
            .args(["agent", "--name", &ground.name, "--node-name", node, "--data-dir"])
            .arg(ground.data_dir())
            .arg("--joined")
            .arg(joined)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("starting the agent")?;
        Ok(Self { ground, process })
    }

    /// Runs a `knarr` command about what the machine has of the cluster; its standard output.
    ///
    /// # Errors
    /// When the command fails, with what it said.
    pub fn knarr(&self, arguments: &[&str]) -> Result<String> {
        self.ground.knarr(arguments)
    }

    /// What the agent logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.ground.dir.join("agent.log")).unwrap_or_default()
    }

    /// Takes the node off the machine.
    ///
    /// # Errors
    /// When something of it could not be removed, or the agent did not end in order.
    pub fn take_down(mut self) -> Result<()> {
        let log = self.log();
        self.ground.keeper.finish()?;
        let ended = self.process.wait().context("waiting for the agent")?;
        ensure!(ended.success(), "the agent: {ended}\n{log}");
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Err(error) = self.ground.keeper.finish().and_then(|()| Ok(self.process.wait()?)) {
            eprintln!("taking down the agent {}: {error:#}", self.ground.name);
        }
    }
}

/// Writes what the node has after joining; the path of the file that says so.
fn join(pki: &Path, dir: &Path, node: &str, joining: &Joining) -> Result<PathBuf> {
    let ca = fs::read_to_string(pki.join("ca.crt")).context("reading the cluster's CA")?;
    let key = KeyPair::from_pem(&fs::read_to_string(pki.join("ca.key")).context("reading the CA's key")?)?;
    let issuer = Issuer::from_ca_cert_pem(&ca, key)?;
    let write = |name: &str, text: String| fs::write(dir.join(name), text).with_context(|| name.to_owned());
    let user = format!("system:node:{node}");
    let client = ExtendedKeyUsagePurpose::ClientAuth;
    for (file, user, group) in
        [("node", user.as_str(), Some("system:nodes")), ("network", "system:kube-proxy", None)]
    {
        let pair = issue(&issuer, user, group, &[], client.clone())?;
        write(&format!("{file}.kubeconfig"), kubeconfig(joining, &ca, &pair).to_string())?;
    }
    let names = [node.to_owned(), joining.address.to_string()];
    let server = ExtendedKeyUsagePurpose::ServerAuth;
    let (certificate, key) = issue(&issuer, &user, Some("system:nodes"), &names, server)?;
    write("serving.crt", certificate)?;
    write("serving.key", key)?;
    let joined = json!({
        "nodeKubeconfig": "node.kubeconfig", "networkKubeconfig": "network.kubeconfig",
        "servingCertificate": "serving.crt", "servingKey": "serving.key",
        "network": {
            "podCidr": joining.pod_cidr, "serviceCidr": joining.service_cidr,
            "apiServiceIp": joining.api_service_ip, "dnsIp": joining.dns_ip, "domain": "cluster.local",
        },
    });
    write("joined.yaml", joined.to_string())?;
    Ok(dir.join("joined.yaml"))
}

/// A certificate and its key, in PEM.
fn issue(
    issuer: &Issuer<'_, KeyPair>,
    user: &str,
    group: Option<&str>,
    names: &[String],
    usage: ExtendedKeyUsagePurpose,
) -> Result<(String, String)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, user);
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params.extended_key_usages = vec![usage];
    Ok((params.signed_by(&key, issuer)?.pem(), key.serialize_pem()))
}

fn kubeconfig(joining: &Joining, ca: &str, (certificate, key): &(String, String)) -> Value {
    let data = |pem: &str| BASE64_STANDARD.encode(pem);
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "joined",
        "clusters": [{"name": "there", "cluster": {
            "server": format!("https://{}:{}", joining.address, joining.api_port),
            "certificate-authority-data": data(ca),
        }}],
        "users": [{"name": "me", "user": {
            "client-certificate-data": data(certificate), "client-key-data": data(key),
        }}],
        "contexts": [{"name": "joined", "context": {"cluster": "there", "user": "me"}}],
    })
}
