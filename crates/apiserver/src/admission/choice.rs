//! [`Choice`]: which of upstream's plugins are on.

use std::collections::BTreeSet;

/// Upstream's plugins that are on unless they are turned off (`pkg/kubeapiserver/options/plugins.go`), those left out
/// that knarr has as parts of something else.
const ON: [&str; 23] = [
    "CertificateApproval",
    "CertificateSigning",
    "CertificateSubjectRestriction",
    "DefaultIngressClass",
    "DefaultStorageClass",
    "DefaultTolerationSeconds",
    "LimitRanger",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionWebhook",
    "NamespaceLifecycle",
    "NodeRestriction",
    "PersistentVolumeClaimResize",
    "PodSecurity",
    "PodTopologyLabels",
    "Priority",
    "ResourceQuota",
    "RuntimeClass",
    "ServiceAccount",
    "StorageObjectInUseProtection",
    "TaintNodesByCondition",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionWebhook",
    "ClusterTrustBundleAttest",
];

/// Those that are off unless they are turned on.
const OFF: [&str; 8] = [
    "AlwaysPullImages",
    "DenyServiceExternalIPs",
    "ExtendedResourceToleration",
    "LimitPodHardAntiAffinityTopology",
    "NamespaceExists",
    "OwnerReferencesPermissionEnforcement",
    "PodNodeSelector",
    "PodTolerationRestriction",
];

/// Those of upstream that there are not.
const ABSENT: [&str; 6] = [
    "AlwaysAdmit",
    "AlwaysDeny",
    "EventRateLimit",
    "ImagePolicyWebhook",
    "NamespaceAutoProvision",
    "NodeDeclaredFeatureValidator",
];

/// What was turned on and off. By default nothing was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    enabled: BTreeSet<String>,
    disabled: BTreeSet<String>,
}

impl Choice {
    /// Reads the names that were given to `--enable-admission-plugins` and `--disable-admission-plugins`.
    ///
    /// # Errors
    /// A name that upstream does not know, one that is in both, and one to turn on that is not built in.
    pub fn read(enable: &[String], disable: &[String]) -> Result<Self, String> {
        let known = |name: &str| [&ON[..], &OFF, &ABSENT].iter().any(|names| names.contains(&name));
        for (flag, names) in [("enable", enable), ("disable", disable)] {
            if let Some(name) = names.iter().find(|name| !known(name)) {
                return Err(format!("{flag}-admission-plugins plugin {name:?} is unknown"));
            }
        }
        if let Some(name) = enable.iter().find(|name| ABSENT.contains(&name.as_str())) {
            return Err(format!("enable-admission-plugins: the plugin {name:?} is not built in"));
        }
        let both: Vec<&str> =
            enable.iter().filter(|name| disable.contains(name)).map(String::as_str).collect();
        if !both.is_empty() {
            return Err(format!(
                "[{}] in enable-admission-plugins and disable-admission-plugins overlapped",
                both.join(" ")
            ));
        }
        Ok(Self { enabled: enable.iter().cloned().collect(), disabled: disable.iter().cloned().collect() })
    }

    /// Whether a plugin is on. What is no plugin upstream always is.
    pub(crate) fn wants(&self, name: &str) -> bool {
        if OFF.contains(&name) { self.enabled.contains(name) } else { !self.disabled.contains(name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(enable: &[&str], disable: &[&str]) -> Result<Choice, String> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        Choice::read(&owned(enable), &owned(disable))
    }

    #[test]
    fn plugins_are_turned_on_and_off_by_name() {
        let usual = Choice::default();
        assert!(
            usual.wants("PodSecurity") && !usual.wants("AlwaysPullImages") && usual.wants("RBACEscalation")
        );
        let chosen = read(&["AlwaysPullImages", "PodSecurity"], &["LimitRanger"]).expect("known ones");
        assert!(
            chosen.wants("AlwaysPullImages") && chosen.wants("PodSecurity") && !chosen.wants("LimitRanger")
        );
        assert_eq!(read(&["Odd"], &[]), Err("enable-admission-plugins plugin \"Odd\" is unknown".to_owned()));
        assert_eq!(
            read(&["Priority"], &["Priority"]),
            Err("[Priority] in enable-admission-plugins and disable-admission-plugins overlapped".to_owned())
        );
        assert!(read(&["EventRateLimit"], &[]).is_err_and(|why| why.ends_with("is not built in")));
        assert!(read(&[], &["EventRateLimit"]).is_ok(), "it is off");
    }
}
