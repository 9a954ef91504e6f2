//! Why a namespace does not go away.

use k8s_openapi::api::core::v1::Namespace;

use crate::account::Account;
use crate::reader::Reader;

/// # Errors
/// When there is no such namespace.
pub async fn tell(reader: &Reader, name: &str) -> kube::Result<Account> {
    Ok(account(&reader.get_global(name).await?))
}

pub fn account(namespace: &Namespace) -> Account {
    let meta = &namespace.metadata;
    let status = namespace.status.clone().unwrap_or_default();
    let mut account = match (&meta.deletion_timestamp, status.phase.as_deref()) {
        (None, Some("Active") | None) => Account::well("is active"),
        (since, _) => {
            let since = since.as_ref().map(|time| format!(" since {}", time.0)).unwrap_or_default();
            Account::unwell(format!("is being deleted{since}"))
        }
    };
    if !account.well {
        let trouble = status.conditions.iter().flatten().filter(|condition| condition.status == "True");
        account.causes.extend(trouble.map(|condition| {
            format!("{}: {}", condition.type_, condition.message.as_deref().unwrap_or_default())
        }));
        let holds = |kind: &str| account.causes.iter().any(|cause| cause.starts_with(kind));
        account.help = if holds("NamespaceDeletionDiscoveryFailure") {
            Some("bring the API servers back that the message names, or delete their APIServices".to_owned())
        } else if holds("NamespaceFinalizersRemaining") {
            Some("whoever set those finalizers has to remove them; are their controllers gone, remove them by hand".to_owned())
        } else {
            None
        };
    }
    account.of("namespace", None, meta.name.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_namespace_that_stays_says_what_is_in_it() {
        let namespace = json!({"metadata": {"name": "old", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"phase": "Terminating", "conditions": [
                {"type": "NamespaceDeletionContentFailure", "status": "False"},
                {"type": "NamespaceFinalizersRemaining", "status": "True", "message": "x.io/f in 1 resource instances"}]}});
        let told = account(&serde_json::from_value(namespace).expect("a namespace"));
        assert_eq!(
            told.text(),
            "namespace old is being deleted since 2026-01-01T00:00:00Z\n  \
             NamespaceFinalizersRemaining: x.io/f in 1 resource instances\n\
             What would help: whoever set those finalizers has to remove them; are their controllers gone, remove them by hand.\n"
        );
        assert!(account(&Namespace::default()).well);
    }
}
