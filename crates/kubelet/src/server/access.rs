//! Who may use the node's API, by the subject of the client certificate. Pure.

use x509_parser::prelude::{FromDer, X509Certificate};

/// The clients that are let in. Everyone may ask for `/healthz`, once authenticated.
#[derive(Debug, Clone)]
pub struct Access {
    /// Common names of certificates, such as the API server's kubelet client.
    pub users: Vec<String>,
    /// Organizations of certificates.
    pub groups: Vec<String>,
}

impl Default for Access {
    /// The API server's client as upstream's tools name it, and administrators.
    fn default() -> Self {
        let groups = vec!["system:masters".to_owned(), "kubeadm:cluster-admins".to_owned()];
        Self { users: vec!["kube-apiserver-kubelet-client".to_owned()], groups }
    }
}

/// A client whose certificate the cluster's CA has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub user: String,
    pub groups: Vec<String>,
}

impl Identity {
    /// Reads the subject of a certificate in DER; `None` when it names nobody.
    pub fn of_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let groups = subject.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_owned).collect();
        Some(Self { user, groups })
    }
}

impl Access {
    pub fn allows(&self, who: &Identity) -> bool {
        self.users.contains(&who.user) || who.groups.iter().any(|g| self.groups.contains(g))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_api_server_and_administrators_are_let_in() {
        let who = |user: &str, group: &str| Identity { user: user.into(), groups: vec![group.into()] };
        let access = Access::default();
        assert!(access.allows(&who("kube-apiserver-kubelet-client", "x")));
        assert!(access.allows(&who("admin", "system:masters")));
        assert!(!access.allows(&who("system:node:n1", "system:nodes")));
        assert_eq!(Identity::of_certificate(b"rubbish"), None);
    }
}
