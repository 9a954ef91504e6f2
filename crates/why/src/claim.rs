//! Why a PersistentVolumeClaim is not bound.

use k8s_openapi::api::core::v1::{Event, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;

use crate::account::Account;
use crate::reader::Reader;
use crate::{deletion, warnings};

/// What an account of a claim is made of.
#[derive(Debug, Default)]
pub struct Facts {
    pub claim: PersistentVolumeClaim,
    pub events: Vec<Event>,
    pub classes: Vec<StorageClass>,
    pub volumes: Vec<PersistentVolume>,
    /// The pods that name the claim.
    pub users: Vec<String>,
}

/// # Errors
/// When there is no such claim, or what it depends on cannot be read.
pub async fn tell(reader: &Reader, namespace: &str, name: &str) -> kube::Result<Account> {
    let claim = reader.get(namespace, name).await?;
    tell_of(reader, claim, None).await
}

/// The account of a claim that has been read already, for one of its pods where there is one.
///
/// # Errors
/// When what the claim depends on cannot be read.
pub async fn tell_of(
    reader: &Reader,
    claim: PersistentVolumeClaim,
    user: Option<&Pod>,
) -> kube::Result<Account> {
    let namespace = claim.metadata.namespace.clone().unwrap_or_default();
    let name = claim.metadata.name.clone().unwrap_or_default();
    let mut facts = Facts {
        events: reader.events(Some(&namespace), claim.metadata.uid.as_deref()).await?,
        classes: reader.all().await?,
        ..Facts::default()
    };
    if phase(&claim) == "Pending" {
        facts.volumes = reader.all().await?;
    }
    let pods: Vec<Pod> = match user {
        Some(pod) => vec![pod.clone()],
        None => reader.list(&namespace, "").await?,
    };
    let uses = |pod: &&Pod| pods::volumes::claims_of(pod).iter().any(|used| *used.name == *name);
    facts.users = pods.iter().filter(uses).filter_map(|pod| pod.metadata.name.clone()).collect();
    facts.claim = claim;
    Ok(account(&facts))
}

fn phase(claim: &PersistentVolumeClaim) -> &str {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

pub fn account(facts: &Facts) -> Account {
    let meta = &facts.claim.metadata;
    let account = match deletion::account(meta) {
        Some(mut account) => {
            account.causes.extend(facts.users.iter().map(|pod| format!("pod {pod} uses it")));
            account
        }
        None => state(facts),
    };
    account.of("pvc", meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default())
}

fn state(facts: &Facts) -> Account {
    let volume = pods::volumes::volume_name(&facts.claim);
    match phase(&facts.claim) {
        "Bound" => return Account::well(format!("is bound to the volume {volume}")),
        "Lost" => {
            let mut account =
                Account::unwell(format!("has lost its volume {volume}, which no longer exists"));
            account.help = Some("restore the volume by its name, or make the claim anew".to_owned());
            return account;
        }
        _ => {}
    }
    let mut account = pending(facts);
    if !account.well {
        account.causes.extend(warnings::lines(&facts.events));
    }
    account
}

fn pending(facts: &Facts) -> Account {
    let name = pods::volumes::class_of_claim(&facts.claim);
    if name.is_empty() {
        return unclassed(facts);
    }
    let Some(class) = facts.classes.iter().find(|class| class.metadata.name.as_deref() == Some(name)) else {
        return unknown_class(facts, name);
    };
    if pods::volumes::is_delayed(class) {
        if facts.users.is_empty() {
            let waits = "waits for the first pod that uses it: its storage class binds only then";
            return Account { well: true, ..Account::unwell(waits) };
        }
        if warnings::lines(&facts.events).is_empty() {
            // The pods' own accounts say why they have no node.
            let waits = format!("waits until pod {} has a node", facts.users.join(", "));
            return Account { well: true, ..Account::unwell(waits) };
        }
    }
    let mut account = Account::unwell(format!("waits for a volume of the storage class {name}"));
    if class.provisioner == "kubernetes.io/no-provisioner" {
        account.causes.push("the class makes no volumes: an administrator does".to_owned());
        volumes(facts, &mut account);
    } else if facts.events.is_empty() {
        account.causes.push(format!("its provisioner {} has not said anything yet", class.provisioner));
        account.help = Some(format!("see that the provisioner {} runs", class.provisioner));
    }
    account
}

fn unclassed(facts: &Facts) -> Account {
    let explicit = pods::volumes::has_class(&facts.claim);
    let mut account = Account::unwell("waits for a volume without a storage class");
    if !explicit && pods::volumes::default_class(facts.classes.iter()).is_none() {
        account.causes.push("it names no storage class, and the cluster has no default".to_owned());
    }
    volumes(facts, &mut account);
    if !explicit && account.help.is_none() {
        let names: Vec<&str> =
            facts.classes.iter().filter_map(|class| class.metadata.name.as_deref()).collect();
        account.help = (!names.is_empty()).then(|| {
            format!(
                "make the claim anew with storageClassName {}, or make one the default",
                names.join(" or ")
            )
        });
    }
    account
}

fn unknown_class(facts: &Facts, name: &str) -> Account {
    let mut account =
        Account::unwell(format!("waits for a volume of the storage class {name}, which does not exist"));
    volumes(facts, &mut account);
    let names: Vec<&str> = facts.classes.iter().filter_map(|class| class.metadata.name.as_deref()).collect();
    account.help = Some(match names.is_empty() {
        true => format!("create the storage class {name}"),
        false => {
            format!("create the storage class {name}, or make the claim anew with {}", names.join(" or "))
        }
    });
    account
}

/// Why none of the volumes that are there is the claim's.
fn volumes(facts: &Facts, account: &mut Account) {
    let named = |volume: &PersistentVolume| volume.metadata.name.clone().unwrap_or_default();
    let free = facts.volumes.iter().filter(|volume| pods::volumes::claim_of(volume).is_none());
    let mut causes = free.map(|volume| match pods::volumes::misfit(volume, &facts.claim) {
        Some(why) => format!("volume {}: {why}", named(volume)),
        None => format!("volume {} fits, and its labels or its node do not", named(volume)),
    });
    let before = account.causes.len();
    account.causes.extend(causes.by_ref().take(crate::account::SHOWN));
    let more = causes.count();
    if more > 0 {
        account.causes.push(format!("{more} more volumes do not fit"));
    }
    if account.causes.len() == before {
        account.causes.push("there is no volume that is free".to_owned());
        account.help = Some("create a PersistentVolume that fits".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::samples::{object, warning};

    fn claim(class: Option<&str>) -> PersistentVolumeClaim {
        let spec = json!({"storageClassName": class, "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "2Gi"}}});
        object("data", spec, json!({"phase": "Pending"}))
    }

    fn class(name: &str, mode: &str) -> StorageClass {
        let class = json!({"metadata": {"name": name}, "provisioner": "x.io/p", "volumeBindingMode": mode});
        serde_json::from_value(class).expect("a class")
    }

    #[test]
    fn a_class_that_does_not_exist_is_named_beside_those_that_do() {
        let facts = Facts {
            claim: claim(Some("fast")),
            classes: vec![class("standard", "Immediate")],
            ..Facts::default()
        };
        assert_eq!(
            account(&facts).text(),
            "pvc ns/data waits for a volume of the storage class fast, which does not exist\n  \
             there is no volume that is free\n\
             What would help: create the storage class fast, or make the claim anew with standard.\n"
        );
    }

    #[test]
    fn volumes_that_do_not_fit_say_why() {
        let volume = json!({"metadata": {"name": "small"}, "spec": {"capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}});
        let facts = Facts {
            claim: claim(Some("")),
            volumes: vec![serde_json::from_value(volume).expect("a volume")],
            ..Facts::default()
        };
        assert_eq!(
            account(&facts).text(),
            "pvc ns/data waits for a volume without a storage class\n  volume small: requested PV is too small\n"
        );
    }

    #[test]
    fn a_class_that_waits_for_a_pod_is_no_trouble_until_its_provisioner_fails() {
        let classes = vec![class("late", "WaitForFirstConsumer")];
        let mut facts = Facts { claim: claim(Some("late")), classes, ..Facts::default() };
        assert!(account(&facts).well);
        facts.users = vec!["web".to_owned()];
        assert!(account(&facts).well);
        facts.events = vec![warning("ProvisioningFailed", "no room")];
        assert_eq!(
            account(&facts).text(),
            "pvc ns/data waits for a volume of the storage class late\n  warning ProvisioningFailed: no room\n"
        );
    }
}
