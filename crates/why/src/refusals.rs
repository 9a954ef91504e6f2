//! What would help against a refusal of the API server, read from its message.

/// The words between `before` and `after`, where both are there.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let rest = &text[text.find(before)? + before.len()..];
    Some(&rest[..rest.find(after)?])
}

/// The remedy for a request that was refused, a pod's creation by a controller for example.
pub fn help(message: &str) -> Option<String> {
    if let Some(quota) = between(message, "exceeded quota: ", ",") {
        return Some(format!("raise the quota {quota}, or ask for less ({})", figures(message)));
    }
    if let Some(quota) = between(message, "failed quota: ", ":") {
        let missing = message.rsplit("must specify ").next().unwrap_or_default();
        return Some(format!("the quota {quota} demands requests or limits: set {missing}"));
    }
    if let Some(webhook) = between(message, "admission webhook \"", "\"") {
        return Some(format!(
            "satisfy the admission webhook {webhook}; `kubectl get validatingwebhookconfigurations,\
             mutatingwebhookconfigurations` lists who set it up"
        ));
    }
    if let Some(webhook) = between(message, "failed calling webhook \"", "\"") {
        return Some(format!(
            "the admission webhook {webhook} does not answer: bring its Service back, or remove its configuration"
        ));
    }
    if let Some(policy) = between(message, "ValidatingAdmissionPolicy '", "'") {
        return Some(format!("satisfy the policy {policy}, or change its binding"));
    }
    if message.contains("violates PodSecurity") {
        let level = between(message, "violates PodSecurity \"", "\"").unwrap_or_default();
        return Some(format!(
            "change what the message names, or set another level than {level} in the namespace's label \
             pod-security.kubernetes.io/enforce"
        ));
    }
    if let Some(account) = between(message, "serviceaccount \"", "\" not found") {
        return Some(format!("create the service account {account}"));
    }
    if let Some(account) = between(message, "service account ", ": serviceaccount") {
        return Some(format!("create the service account {account}"));
    }
    if let Some(class) = between(message, "no PriorityClass with name ", " was found") {
        return Some(format!("create the priority class {class}"));
    }
    if message.contains("is forbidden: User \"") {
        return Some(may(message));
    }
    None
}

/// `requested: pods=1, used: pods=1, limited: pods=1` of a quota's message.
fn figures(message: &str) -> &str {
    message.find("requested: ").map_or("", |at| &message[at..])
}

/// Names the rule that a user lacks.
fn may(message: &str) -> String {
    let user = between(message, "User \"", "\"").unwrap_or_default();
    let verb = between(message, "cannot ", " resource").unwrap_or_default();
    let resource = between(message, "resource \"", "\"").unwrap_or_default();
    let group = between(message, "in API group \"", "\"").unwrap_or_default();
    let place = match between(message, "in the namespace \"", "\"") {
        Some(namespace) => format!("a Role in namespace {namespace}"),
        None => "a ClusterRole".to_owned(),
    };
    format!(
        "bind {user} to {place} with the rule apiGroups [{group:?}], resources [{resource:?}], verbs [{verb:?}]"
    )
}

/// What would help where an object that a pod names is not there, or lacks a key.
pub fn missing(message: &str) -> Option<String> {
    for kind in ["configmap", "secret", "persistentvolumeclaim"] {
        if let Some(name) = between(message, &format!("{kind} \"",), "\" not found") {
            return Some(format!("create the {kind} {name}, or mark the reference optional"));
        }
    }
    for kind in ["ConfigMap", "Secret"] {
        if let Some(key) = between(message, "couldn't find key ", &format!(" in {kind} ")) {
            let object = message.rsplit(&format!(" in {kind} ")).next().unwrap_or_default();
            return Some(format!("add the key {key} to the {kind} {}", object.trim_end_matches('.')));
        }
    }
    if message.contains("references non-existent") {
        let key = between(message, "references non-existent ", ":").unwrap_or("key");
        return Some(format!("correct the volume's items: the {key} is not in the object"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_remedy() {
        let cases = [
            (
                "pods \"a\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2",
                "raise the quota small, or ask for less (requested: pods=1, used: pods=2, limited: pods=2)",
            ),
            (
                "pods \"a\" is forbidden: failed quota: small: must specify limits.cpu for: c",
                "the quota small demands requests or limits: set limits.cpu for: c",
            ),
            (
                "admission webhook \"no.x.io\" denied the request: never",
                "satisfy the admission webhook no.x.io; `kubectl get validatingwebhookconfigurations,\
                 mutatingwebhookconfigurations` lists who set it up",
            ),
            (
                "pods is forbidden: User \"eve\" cannot list resource \"pods\" in API group \"\" in the namespace \"ns\"",
                "bind eve to a Role in namespace ns with the rule apiGroups [\"\"], resources [\"pods\"], verbs [\"list\"]",
            ),
            (
                "error looking up service account ns/builder: serviceaccount \"builder\" not found",
                "create the service account builder",
            ),
        ];
        for (message, remedy) in cases {
            assert_eq!(help(message).as_deref(), Some(remedy), "{message}");
        }
        assert_eq!(help("something else"), None);
    }

    #[test]
    fn what_is_missing_is_to_be_created() {
        let cases = [
            ("configmap \"a\" not found", "create the configmap a, or mark the reference optional"),
            ("couldn't find key k in ConfigMap ns/a", "add the key k to the ConfigMap ns/a"),
        ];
        for (message, remedy) in cases {
            assert_eq!(missing(message).as_deref(), Some(remedy), "{message}");
        }
        assert_eq!(missing("\" not found"), None);
    }
}
