//! The checks that the level `restricted` adds to those of `baseline`, or puts in their place.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Volume;

use super::super::subject::Subject;
use super::baseline;
use super::words::{containers, names_where, quoted, setters};
use super::{Check, Finding};

pub(super) const CHECKS: &[Check] = &[
    Check::new("allowPrivilegeEscalation", 8, escalation),
    Check::new("allowPrivilegeEscalation", 25, |subject| unless_windows(subject, escalation)),
    Check::new("capabilities_restricted", 22, capabilities).instead_of("capabilities_baseline"),
    Check::new("capabilities_restricted", 25, |subject| unless_windows(subject, capabilities))
        .instead_of("capabilities_baseline"),
    Check::new("procMount_restricted", 35, baseline::proc_mount).instead_of("procMount"),
    Check::new("restrictedVolumes", 0, volumes).instead_of("hostPathVolumes"),
    Check::new("runAsNonRoot", 0, non_root),
    Check::new("runAsNonRoot", 35, |subject| unless_own_users(subject, non_root)),
    Check::new("runAsUser", 23, user),
    Check::new("runAsUser", 35, |subject| unless_own_users(subject, user)),
    Check::new("seccompProfile_restricted", 19, seccomp).instead_of("seccompProfile_baseline"),
    Check::new("seccompProfile_restricted", 25, |subject| unless_windows(subject, seccomp))
        .instead_of("seccompProfile_baseline"),
];

fn unless_windows(subject: &Subject, judge: fn(&Subject) -> Option<Finding>) -> Option<Finding> {
    if subject.is_windows() { None } else { judge(subject) }
}

fn unless_own_users(subject: &Subject, judge: fn(&Subject) -> Option<Finding>) -> Option<Finding> {
    if subject.has_own_users() { None } else { judge(subject) }
}

fn escalation(subject: &Subject) -> Option<Finding> {
    let names = names_where(subject, |container| {
        container.security.is_none_or(|security| security.allow_privilege_escalation != Some(false))
    });
    (!names.is_empty()).then(|| {
        let detail =
            format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&names));
        Finding::new("allowPrivilegeEscalation != false", detail)
    })
}

fn capabilities(subject: &Subject) -> Option<Finding> {
    let given = |container: &super::super::subject::Container<'_>| {
        let capabilities = container.security.and_then(|s| s.capabilities.clone());
        capabilities.unwrap_or_default()
    };
    let keeping = names_where(subject, |container| {
        !given(container).drop.into_iter().flatten().any(|name| name == "ALL")
    });
    let mut added = BTreeSet::new();
    let adding = names_where(subject, |container| {
        let forbidden: Vec<_> =
            given(container).add.into_iter().flatten().filter(|name| name != "NET_BIND_SERVICE").collect();
        let some = !forbidden.is_empty();
        added.extend(forbidden);
        some
    });
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details
            .push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&keeping)));
    }
    if !adding.is_empty() {
        let added: Vec<_> = added.into_iter().collect();
        details.push(format!(
            "{} must not include {} in securityContext.capabilities.add",
            containers(&adding),
            quoted(&added)
        ));
    }
    (!details.is_empty()).then(|| Finding::new("unrestricted capabilities", details.join("; ")))
}

fn volumes(subject: &Subject) -> Option<Finding> {
    let allowed = |volume: &Volume| {
        volume.config_map.is_some()
            || volume.csi.is_some()
            || volume.downward_api.is_some()
            || volume.empty_dir.is_some()
            || volume.ephemeral.is_some()
            || volume.image.is_some()
            || volume.persistent_volume_claim.is_some()
            || volume.projected.is_some()
            || volume.secret.is_some()
    };
    let restricted: Vec<_> =
        subject.spec.volumes.iter().flatten().filter(|volume| !allowed(volume)).collect();
    if restricted.is_empty() {
        return None;
    }
    let names: BTreeSet<_> = restricted.iter().map(|volume| &volume.name).collect();
    let types: BTreeSet<_> = restricted.iter().map(|volume| type_of(volume)).collect();
    let (names, types): (Vec<_>, Vec<_>) = (names.into_iter().collect(), types.into_iter().collect());
    let (one, several) = (names.len() == 1, types.len() > 1);
    let detail = format!(
        "{} {} {} restricted volume {} {}",
        if one { "volume" } else { "volumes" },
        quoted(&names),
        if one { "uses" } else { "use" },
        if several { "types" } else { "type" },
        quoted(&types)
    );
    Some(Finding::new("restricted volume types", detail))
}

/// The field that says where a volume comes from.
fn type_of(volume: &Volume) -> String {
    let fields = serde_json::to_value(volume).ok();
    let named = fields.as_ref().and_then(|value| value.as_object()).and_then(|map| {
        map.iter().find(|(field, value)| *field != "name" && !value.is_null()).map(|(field, _)| field.clone())
    });
    named.unwrap_or_else(|| "unknown".to_owned())
}

fn non_root(subject: &Subject) -> Option<Finding> {
    let whole = subject.spec.security_context.as_ref().and_then(|s| s.run_as_non_root);
    let own =
        |container: &super::super::subject::Container<'_>| container.security.and_then(|s| s.run_as_non_root);
    let explicit = names_where(subject, |container| own(container) == Some(false));
    if let Some(who) = setters(whole == Some(false), &explicit) {
        let detail = format!("{who} must not set securityContext.runAsNonRoot=false");
        return Some(Finding::new("runAsNonRoot != true", detail));
    }
    let silent = names_where(subject, |container| own(container).is_none() && whole != Some(true));
    (!silent.is_empty()).then(|| {
        let detail = format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&silent));
        Finding::new("runAsNonRoot != true", detail)
    })
}

fn user(subject: &Subject) -> Option<Finding> {
    let pod = subject.spec.security_context.as_ref().is_some_and(|s| s.run_as_user == Some(0));
    let names = names_where(subject, |container| {
        container.security.is_some_and(|security| security.run_as_user == Some(0))
    });
    let who = setters(pod, &names)?;
    Some(Finding::new("runAsUser=0", format!("{who} must not set runAsUser=0")))
}

fn seccomp(subject: &Subject) -> Option<Finding> {
    if let Some(explicit) = baseline::seccomp(subject) {
        return Some(explicit);
    }
    if subject.spec.security_context.as_ref().is_some_and(|s| s.seccomp_profile.is_some()) {
        return None;
    }
    let silent = names_where(subject, |container| {
        container.security.is_none_or(|security| security.seccomp_profile.is_none())
    });
    (!silent.is_empty()).then(|| {
        let detail = format!(
            "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
            containers(&silent)
        );
        Finding::new("seccompProfile", detail)
    })
}
