//! Objects that are being deleted: who still holds them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::account::Account;

/// Finalizers whose meaning is known: name, what removes it.
const KNOWN: [(&str, &str); 8] = [
    ("foregroundDeletion", "the garbage collector, once the objects that it owns are gone"),
    ("orphan", "the garbage collector, once its dependents are released"),
    ("kubernetes.io/pvc-protection", "the claim's controller, once no pod uses the claim"),
    ("kubernetes.io/pv-protection", "the volume's controller, once no claim is bound to the volume"),
    ("kubernetes.io/vac-protection", "the class's controller, once no claim and no volume names the class"),
    ("batch.kubernetes.io/job-tracking", "the Job's controller, once it has counted the pod"),
    (
        "service.kubernetes.io/load-balancer-cleanup",
        "the load balancer's controller, once the balancer is gone",
    ),
    ("kubernetes", "the namespace's controller, once the namespace is empty"),
];

/// The account of an object whose deletion has been asked for; `None` for one that stays.
pub fn account(meta: &ObjectMeta) -> Option<Account> {
    let since = meta.deletion_timestamp.as_ref()?.0;
    let mut account = Account::unwell(format!("is being deleted; its time to end is {since}"));
    let finalizers = meta.finalizers.iter().flatten();
    account.causes.extend(finalizers.clone().map(|name| match known(name) {
        Some(who) => format!("the finalizer {name} is still there; it is removed by {who}"),
        None => format!("the finalizer {name} is still there"),
    }));
    let foreign = finalizers.clone().find(|name| known(name).is_none());
    account.help = foreign.map(|name| {
        format!(
            "whoever set the finalizer {name} has to remove it; is that controller gone, remove the finalizer by hand"
        )
    });
    Some(account)
}

fn known(finalizer: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(name, _)| *name == finalizer).map(|(_, who)| *who)
}
