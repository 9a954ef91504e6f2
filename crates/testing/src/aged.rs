//! [`age`]: makes a node's certificate as old as one of a year that is about to end.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};

use crate::cluster::Cluster;

/// How old the certificate is.
const AGE: Duration = Duration::from_hours(24 * 30);

/// Puts into a kubeconfig, for the user that is called as the file, a certificate of the cluster's CA that is valid only for so long from now.
///
/// # Errors
/// When the CA or the kubeconfig cannot be read or written.
pub fn age(
    cluster: &Cluster,
    kubeconfig: &Path,
    user: &str,
    group: Option<&str>,
    left: Duration,
) -> Result<()> {
    let pki = cluster.data_dir().join("pki");
    let ca = fs::read_to_string(pki.join("ca.crt")).context("reading the cluster's CA")?;
    let ca_key = KeyPair::from_pem(&fs::read_to_string(pki.join("ca.key")).context("reading the CA's key")?)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = DistinguishedName::new();
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params.distinguished_name.push(DnType::CommonName, user);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let now = rcgen::date_time_ymd(1970, 1, 1) + SystemTime::UNIX_EPOCH.elapsed()?;
    params.not_before = now - AGE;
    params.not_after = now + left;
    let certificate = params.signed_by(&key, &Issuer::from_ca_cert_pem(&ca, ca_key)?)?.pem();
    let (pem, key_pem) = (kubeconfig.with_extension("crt"), kubeconfig.with_extension("key"));
    fs::write(&pem, certificate)?;
    fs::write(&key_pem, key.serialize_pem())?;
    let context = kubeconfig.file_stem().and_then(|name| name.to_str()).context("a name")?;
    let kubectl = cluster.fixtures.kubectls().into_iter().next().context("a kubectl")?;
    let done = Command::new(kubectl)
        .args(["config", "set-credentials", context, "--embed-certs", "--kubeconfig"])
        .arg(kubeconfig)
        .arg(format!("--client-certificate={}", pem.display()))
        .arg(format!("--client-key={}", key_pem.display()))
        .output()
        .context("running kubectl")?;
    fs::remove_file(pem)?;
    fs::remove_file(key_pem)?;
    ensure!(done.status.success(), "kubectl: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}
