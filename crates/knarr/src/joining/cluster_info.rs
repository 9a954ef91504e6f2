//! [`ClusterInfo`]: where a cluster's API is and by which CA, as the ConfigMap `kube-public/cluster-info` says it to
//! everybody. Whether to believe it is decided by the signature of a token, and by the hash of the CA's key.

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::api::core::v1::ConfigMap;
use resources::bootstrap_token::{Token, signature};
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use x509_parser::prelude::{FromDer, X509Certificate};

pub const NAMESPACE: &str = "kube-public";
pub const NAME: &str = "cluster-info";
/// What a hash of a CA's key begins with.
const HASH_PREFIX: &str = "sha256:";

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterInfo {
    /// `https://host:port`
    pub server: String,
    pub ca_pem: String,
}

#[derive(Deserialize)]
struct Kubeconfig {
    #[serde(default)]
    clusters: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority_data: String,
}

/// The signature of a token in the ConfigMap, if it is there.
pub fn signature<'m>(map: &'m ConfigMap, id: &str) -> Option<&'m str> {
    map.data.as_ref()?.get(&format!("jws-kubeconfig-{id}")).map(String::as_str)
}

fn kubeconfig(map: &ConfigMap) -> Result<&str> {
    let text = map.data.as_ref().and_then(|data| data.get("kubeconfig")).filter(|text| !text.is_empty());
    text.map(String::as_str).with_context(|| {
        format!(
            "there is no kubeconfig key in the {NAME} ConfigMap. This API Server isn't set up for token bootstrapping, can't connect"
        )
    })
}

impl ClusterInfo {
    /// What the ConfigMap says, believed.
    ///
    /// # Errors
    /// When it is not what every cluster publishes.
    pub fn read(map: &ConfigMap) -> Result<Self> {
        let malformed = || format!("malformed kubeconfig in the {NAME} ConfigMap");
        let config: Kubeconfig = serde_saphyr::from_str(kubeconfig(map)?)
            .map_err(|error| anyhow::anyhow!("{error}"))
            .with_context(malformed)?;
        let [Named { cluster }] = config.clusters.as_slice() else { bail!(malformed()) };
        let ca = BASE64_STANDARD.decode(&cluster.certificate_authority_data).with_context(malformed)?;
        let ca_pem = String::from_utf8(ca).with_context(malformed)?;
        Ok(Self { server: cluster.server.clone(), ca_pem })
    }

    /// What the ConfigMap says, if whoever wrote it knows the token's secret.
    ///
    /// # Errors
    /// When nobody has signed with the token, or somebody who does not know it.
    pub fn verified(map: &ConfigMap, token: &Token) -> Result<Self> {
        let content = kubeconfig(map)?;
        let Some(signed) = signature(map, &token.id) else {
            bail!(
                "token id {:?} is invalid for this cluster or it has expired: make a new one with \"knarr token create\" on the \
                 server's machine",
                token.id
            );
        };
        if !signature::is_valid(signed, content, token) {
            bail!(
                "the token's secret is not that of token id {:?} in this cluster, or this is another server: its \
                 {NAME} is not signed with the token",
                token.id
            );
        }
        Self::read(map)
    }

    /// The hash of the CA's public key, `sha256:…`, as kubeadm writes it.
    ///
    /// # Errors
    /// When the CA's certificate cannot be read.
    pub fn ca_hash(&self) -> Result<String> {
        let unreadable = || format!("failed to parse cluster CA from the {NAME} ConfigMap");
        let (_, block) = x509_parser::pem::parse_x509_pem(self.ca_pem.as_bytes()).with_context(unreadable)?;
        let (_, certificate) = X509Certificate::from_der(&block.contents).with_context(unreadable)?;
        let hash = digest(&SHA256, certificate.public_key().raw);
        Ok(hash.as_ref().iter().fold(HASH_PREFIX.to_owned(), |text, byte| format!("{text}{byte:02x}")))
    }

    /// Checks the CA against the hashes that the user gave; without any, the token alone vouches for the CA.
    ///
    /// # Errors
    /// When a hash has another form, or none is the CA's.
    pub fn check_ca(&self, pinned: &[String]) -> Result<()> {
        for hash in pinned {
            let hex = hash.strip_prefix(HASH_PREFIX).unwrap_or_default();
            if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                bail!(
                    "invalid discovery token CA certificate hash {hash:?}: it must be {HASH_PREFIX} and 64 hexadecimal digits"
                );
            }
        }
        let own = self.ca_hash()?;
        if !pinned.is_empty() && !pinned.iter().any(|hash| hash.eq_ignore_ascii_case(&own)) {
            bail!("the cluster's CA is another one than was given: its public key has the hash {own}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn token() -> Token {
        Token::parse("abcdef.0123456789abcdef").expect("a token")
    }

    fn ca() -> String {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.self_signed(&rcgen::KeyPair::generate().expect("a key")).expect("a CA").pem()
    }

    fn map(ca: &str, signer: &Token) -> ConfigMap {
        let kubeconfig = format!(
            "clusters:\n- cluster:\n    certificate-authority-data: {}\n    server: https://192.0.2.1:6443\n  name: \"\"\ncontexts: null\n",
            BASE64_STANDARD.encode(ca)
        );
        let signature = signature::detached(&kubeconfig, signer);
        serde_json::from_value(
            json!({"data": {"kubeconfig": kubeconfig, format!("jws-kubeconfig-{}", signer.id): signature}}),
        )
        .expect("a ConfigMap")
    }

    #[test]
    fn what_the_token_signed_is_believed() {
        let ca = ca();
        let info = ClusterInfo::verified(&map(&ca, &token()), &token()).expect("believed");
        assert_eq!(info, ClusterInfo { server: "https://192.0.2.1:6443".into(), ca_pem: ca });
        let own = info.ca_hash().expect("a hash");
        assert!(own.starts_with("sha256:") && own.len() == 71, "{own}");
        info.check_ca(&[]).expect("the token vouches for it");
        info.check_ca(&[
            format!("sha256:{}", "0".repeat(64)),
            own.to_uppercase().replace("SHA256", "sha256"),
        ])
        .expect("one of them");
    }

    #[test]
    fn another_token_another_ca_or_nonsense_is_not() {
        let why = |result: Result<ClusterInfo>| format!("{:#}", result.expect_err("refused"));
        let (ca, other) = (ca(), Token { secret: "fedcba9876543210".into(), ..token() });
        assert!(
            why(ClusterInfo::verified(&map(&ca, &other), &token())).contains("is not signed with the token")
        );
        let unknown = Token { id: "fedcba".into(), ..token() };
        assert!(
            why(ClusterInfo::verified(&map(&ca, &unknown), &token()))
                .starts_with(r#"token id "abcdef" is invalid for this cluster or it has expired"#)
        );
        let mut changed = map(&ca, &token());
        let data = changed.data.as_mut().expect("data");
        let text = data["kubeconfig"].replace("192.0.2.1", "192.0.2.2");
        data.insert("kubeconfig".into(), text);
        assert!(ClusterInfo::verified(&changed, &token()).is_err(), "somebody on the way changed it");
        assert!(
            why(ClusterInfo::verified(&ConfigMap::default(), &token()))
                .contains("isn't set up for token bootstrapping")
        );

        let info = ClusterInfo { server: String::new(), ca_pem: ca };
        let why = |hash: &str| format!("{:#}", info.check_ca(&[hash.to_owned()]).expect_err("refused"));
        let own = info.ca_hash().expect("a hash");
        assert_eq!(
            why(&format!("sha256:{}", "0".repeat(64))),
            format!("the cluster's CA is another one than was given: its public key has the hash {own}")
        );
        assert!(why("sha256:12").starts_with("invalid discovery token CA certificate hash"));
        assert!(why(&own[7..]).starts_with("invalid discovery token CA certificate hash"));
    }
}
