//! The cluster's own public-key infrastructure: a CA, made at the first start, and the certificates that the CA signs.
//! Every component has a key of its own. A second CA, of the front proxy, signs one certificate: the one by which the API
//! server shows servers it forwards requests to that the names in the requests' headers are true.
//!
//! Start with [`Pki::load_or_create`]. Certificates are valid for a year and are renewed when less than a
//! third of the year is left, at start and while running.

pub mod facts;
mod issue;

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{ExtendedKeyUsagePurpose, Issuer, KeyPair};

use crate::durable::write_durably;
use facts::Facts;
use issue::{Subject, issue, make_ca};

pub use issue::distinguished_name;

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Pair {
    pub certificate_pem: String,
    pub key_pem: String,
}

/// Who gets certificates.
pub struct Names {
    pub node_name: String,
    /// Addresses under which the API server and the node are reached.
    pub addresses: Vec<IpAddr>,
}

/// Everything the roles need.
#[derive(Clone)]
pub struct Pki {
    pub ca_pem: String,
    /// For the controller that signs certificates.
    pub ca_key_pem: String,
    pub api_server: Pair,
    pub admin: Pair,
    /// The API server's identity towards kubelets.
    pub kubelet_client: Pair,
    pub kubelet_server: Pair,
    /// The CA of those who may name a request's user in its headers.
    pub front_proxy_ca_pem: String,
    /// The API server's identity towards servers that requests are forwarded to.
    pub front_proxy_client: Pair,
    /// Signs service account tokens (ECDSA P-256, PKCS#8 PEM).
    pub service_account_key_pem: String,
}

/// The common name under which the API server talks to kubelets.
pub const KUBELET_CLIENT_NAME: &str = "kube-apiserver-kubelet-client";
/// The common name under which requests are forwarded with their user in headers, as kubeadm has it.
pub const FRONT_PROXY_NAME: &str = "front-proxy-client";

/// A CA's files and its common name.
const CA: (&str, &str) = ("ca", "knarr-ca");
const FRONT_PROXY_CA: (&str, &str) = ("front-proxy-ca", "front-proxy-ca");

impl Pki {
    /// Reads what is there, makes what is missing or about to expire. Takes a few milliseconds.
    ///
    /// # Errors
    /// When files cannot be read or written, or one is damaged.
    pub fn load_or_create(dir: &Path, names: &Names, now: jiff::Timestamp) -> Result<Self> {
        make_private_dir(dir)?;
        let (ca, keeper) = Keeper::load_or_create(dir, CA, now)?;
        let (front_proxy_ca, front_proxy) = Keeper::load_or_create(dir, FRONT_PROXY_CA, now)?;
        let mut api_names: Vec<String> = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
            .into_iter()
            .map(str::to_owned)
            .collect();
        api_names.extend([
            "kubernetes.default.svc.cluster.local".to_owned(),
            "localhost".to_owned(),
            names.node_name.clone(),
        ]);
        api_names.extend(names.addresses.iter().map(ToString::to_string));
        let mut node_names = vec![names.node_name.clone()];
        node_names.extend(names.addresses.iter().map(ToString::to_string));
        let node_user = format!("system:node:{}", names.node_name);
        Ok(Self {
            api_server: keeper.pair("apiserver", &Subject::server("kube-apiserver", &api_names))?,
            admin: keeper.pair("admin", &Subject::client("kubernetes-admin", Some("system:masters")))?,
            kubelet_client: keeper.pair(
                "apiserver-kubelet-client",
                &Subject::client(KUBELET_CLIENT_NAME, Some("system:masters")),
            )?,
            front_proxy_client: front_proxy
                .pair("front-proxy-client", &Subject::client(FRONT_PROXY_NAME, None))?,
            front_proxy_ca_pem: front_proxy_ca.certificate_pem,
            kubelet_server: keeper.pair(
                "kubelet",
                &Subject {
                    common_name: &node_user,
                    organization: Some("system:nodes"),
                    names: &node_names,
                    usage: ExtendedKeyUsagePurpose::ServerAuth,
                },
            )?,
            service_account_key_pem: load_or_make_key(&dir.join("sa.key"))?,
            ca_pem: ca.certificate_pem,
            ca_key_pem: ca.key_pem,
        })
    }

    /// When the first of the certificates is to be made anew; `None` when none can be read.
    pub fn due(&self) -> Option<jiff::Timestamp> {
        let pairs = [
            &self.api_server,
            &self.admin,
            &self.kubelet_client,
            &self.kubelet_server,
            &self.front_proxy_client,
        ];
        pairs.iter().filter_map(|pair| issue::due(&Facts::read(&pair.certificate_pem)?)).min()
    }
}

struct Keeper<'a> {
    dir: &'a Path,
    ca_pem: String,
    issuer: Issuer<'a, KeyPair>,
    now: jiff::Timestamp,
}

impl<'a> Keeper<'a> {
    /// A CA, which is made where there is none, and what has it sign.
    fn load_or_create(
        dir: &'a Path,
        (name, common_name): (&str, &str),
        now: jiff::Timestamp,
    ) -> Result<(Pair, Self)> {
        let ca = load_or_make_ca(dir, name, common_name, now)?;
        let key = KeyPair::from_pem(&ca.key_pem).with_context(|| format!("{name}.key is damaged"))?;
        let issuer = Issuer::from_ca_cert_pem(&ca.certificate_pem, key)
            .with_context(|| format!("{name}.crt is damaged"))?;
        let ca_pem = ca.certificate_pem.clone();
        Ok((ca, Self { dir, ca_pem, issuer, now }))
    }
}

impl Keeper<'_> {
    /// The pair called `name`, as it is on disk or made anew when it is missing, expiring, made for other names or signed by
    /// another CA.
    fn pair(&self, name: &str, subject: &Subject<'_>) -> Result<Pair> {
        let (crt, key) = pair_paths(self.dir, name);
        if let (Ok(certificate_pem), Ok(key_pem)) = (fs::read_to_string(&crt), fs::read_to_string(&key))
            && issue::still_good(&certificate_pem, &self.ca_pem, subject, self.now)
        {
            return Ok(Pair { certificate_pem, key_pem });
        }
        let pair = issue(subject, &self.issuer, self.now)?;
        write_durably(&key, pair.key_pem.as_bytes(), 0o600)?;
        write_durably(&crt, pair.certificate_pem.as_bytes(), 0o644)?;
        Ok(pair)
    }
}

fn pair_paths(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")))
}

fn load_or_make_ca(dir: &Path, name: &str, common_name: &str, now: jiff::Timestamp) -> Result<Pair> {
    let (crt, key) = pair_paths(dir, name);
    match (fs::read_to_string(&crt), fs::read_to_string(&key)) {
        (Ok(certificate_pem), Ok(key_pem)) => {
            if Facts::read(&certificate_pem).is_some_and(|facts| facts.ends < now) {
                anyhow::bail!("the cluster's CA ({}) has expired", crt.display());
            }
            Ok(Pair { certificate_pem, key_pem })
        }
        // Half a CA is never replaced: everything signed by it would be lost silently.
        (Ok(_), Err(e)) | (Err(e), Ok(_)) => Err(e)
            .with_context(|| format!("one half of the cluster's CA in {} cannot be read", dir.display())),
        (Err(_), Err(_)) => {
            let pair = make_ca(common_name, now)?;
            write_durably(&key, pair.key_pem.as_bytes(), 0o600)?;
            write_durably(&crt, pair.certificate_pem.as_bytes(), 0o644)?;
            Ok(pair)
        }
    }
}

fn load_or_make_key(path: &Path) -> Result<String> {
    match fs::read_to_string(path) {
        Ok(pem) => {
            KeyPair::from_pem(&pem).with_context(|| format!("{} is damaged", path.display()))?;
            Ok(pem)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let pem = KeyPair::generate().context("making a key")?.serialize_pem();
            write_durably(path, pem.as_bytes(), 0o600)?;
            Ok(pem)
        }
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

fn make_private_dir(dir: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
        .with_context(|| format!("closing {} to others", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names { node_name: "n1".into(), addresses: vec![IpAddr::from([127, 0, 0, 1])] }
    }

    fn at(text: &str) -> jiff::Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn certificates_are_kept_until_a_third_of_their_life_is_left() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let first = Pki::load_or_create(dir.path(), &names(), at("2026-01-01T00:00:00Z")).expect("made");
        let same = Pki::load_or_create(dir.path(), &names(), at("2026-06-01T00:00:00Z")).expect("read");
        assert_eq!(first.api_server.certificate_pem, same.api_server.certificate_pem);
        let later = Pki::load_or_create(dir.path(), &names(), at("2026-11-01T00:00:00Z")).expect("renewed");
        assert_ne!(first.api_server.certificate_pem, later.api_server.certificate_pem);
        assert_eq!(first.ca_pem, later.ca_pem);
        let due = first.due().expect("a time");
        assert!(due > at("2026-08-31T00:00:00Z") && due < at("2026-09-02T00:00:00Z"), "{due}");
        let before = Pki::load_or_create(dir.path(), &names(), later.due().expect("a time")).expect("read");
        assert_eq!(before.api_server.certificate_pem, later.api_server.certificate_pem);
        let just = later.due().expect("a time") + jiff::SignedDuration::from_secs(1);
        let after = Pki::load_or_create(dir.path(), &names(), just).expect("renewed");
        assert_ne!(after.api_server.certificate_pem, later.api_server.certificate_pem);
        assert_eq!(first.service_account_key_pem, later.service_account_key_pem);
        assert_eq!(first.front_proxy_ca_pem, later.front_proxy_ca_pem);
        assert_ne!(first.front_proxy_client.certificate_pem, later.front_proxy_client.certificate_pem);
    }

    #[test]
    fn a_new_address_makes_a_new_server_certificate() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let now = at("2026-01-01T00:00:00Z");
        let first = Pki::load_or_create(dir.path(), &names(), now).expect("made");
        let mut more = names();
        more.addresses.push(IpAddr::from([192, 0, 2, 7]));
        let second = Pki::load_or_create(dir.path(), &more, now).expect("made");
        assert_ne!(first.api_server.certificate_pem, second.api_server.certificate_pem);
        assert_eq!(first.admin.certificate_pem, second.admin.certificate_pem);
    }

    #[test]
    fn what_another_ca_has_signed_is_made_anew() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let now = at("2026-01-01T00:00:00Z");
        let before = Pki::load_or_create(one.path(), &names(), now).unwrap();
        Pki::load_or_create(other.path(), &names(), now).unwrap();
        for file in ["ca.crt", "ca.key"] {
            fs::copy(other.path().join(file), one.path().join(file)).unwrap();
        }
        let after = Pki::load_or_create(one.path(), &names(), now).unwrap();
        assert_ne!(before.api_server.certificate_pem, after.api_server.certificate_pem);
        assert!(facts::is_signed_by(&after.api_server.certificate_pem, &after.ca_pem));
        assert!(!facts::is_signed_by(&before.api_server.certificate_pem, &after.ca_pem));
        assert_eq!(before.front_proxy_client.certificate_pem, after.front_proxy_client.certificate_pem);
    }

    #[test]
    fn half_a_ca_is_an_error_and_not_replaced() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let now = at("2026-01-01T00:00:00Z");
        Pki::load_or_create(dir.path(), &names(), now).expect("made");
        fs::remove_file(dir.path().join("ca.key")).expect("removed");
        assert!(Pki::load_or_create(dir.path(), &names(), now).is_err());
    }
}
