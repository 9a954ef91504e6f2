//! [`Addressing`]: what a Service says about its cluster addresses and their families, and how what it leaves open is
//! filled in. Pure. Upstream: `initIPFamilyFields` of `pkg/registry/core/service/storage/alloc.go`.

use std::net::IpAddr;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use serde_json::Value;

use super::ranges::{Family, Ranges};

const NONE: &str = "None";
const SINGLE: &str = "SingleStack";
const PREFER: &str = "PreferDualStack";
const REQUIRE: &str = "RequireDualStack";

/// What a Service says about its addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Addressing {
    pub kind: String,
    pub addresses: Vec<String>,
    pub families: Vec<String>,
    policy: Option<String>,
    has_selector: bool,
}

impl Addressing {
    pub fn of(service: &Object) -> Self {
        let text = |key| service.str_at(&["spec", key]).unwrap_or_default().to_owned();
        let texts = |key| {
            let list = service.at(&["spec", key]).and_then(Value::as_array).into_iter().flatten();
            list.filter_map(|item| item.as_str().map(str::to_owned)).collect()
        };
        let selector = service.at(&["spec", "selector"]).and_then(Value::as_object);
        Self {
            kind: text("type"),
            addresses: texts("clusterIPs"),
            families: texts("ipFamilies"),
            policy: Some(text("ipFamilyPolicy")).filter(|policy| !policy.is_empty()),
            has_selector: selector.is_some_and(|selector| !selector.is_empty()),
        }
    }

    /// Writes what has been filled in.
    pub fn write(&self, service: &mut Object) {
        let mut set = |key, value: Option<Value>| match value {
            Some(value) => service.set_at(&["spec", key], value),
            None => drop(service.remove_at(&["spec", key])),
        };
        let list = |list: &[String]| (!list.is_empty()).then(|| list.into());
        set("clusterIP", self.addresses.first().map(|address| address.as_str().into()));
        set("clusterIPs", list(&self.addresses));
        set("ipFamilies", list(&self.families));
        set("ipFamilyPolicy", self.policy.as_deref().map(Into::into));
    }

    pub fn is_external(&self) -> bool {
        self.kind == "ExternalName"
    }

    pub fn is_headless(&self) -> bool {
        self.addresses.first().is_some_and(|address| address == NONE)
    }

    /// Puts an address in its place; one that is there already stays as its author wrote it.
    pub fn assign(&mut self, slot: usize, address: IpAddr) {
        if slot >= self.addresses.len() {
            self.addresses.push(address.to_string());
        }
    }

    /// The cluster addresses that are addresses.
    pub fn assigned(&self) -> impl Iterator<Item = IpAddr> {
        let external = self.is_external();
        self.addresses.iter().filter(move |_| !external).filter_map(|address| address.parse().ok())
    }

    /// Whether a change leaves alone a Service that takes two families where it can: such a Service is not
    /// extended or reduced because the cluster has changed.
    pub fn keeps_preference(&self, old: Option<&Self>) -> bool {
        old.is_some_and(|old| {
            self.policy.as_deref() == Some(PREFER)
                && old.policy.as_deref().is_none_or(|policy| policy == PREFER)
                && old.kind == self.kind
                && !self.is_external()
                && old.addresses == self.addresses
                && old.families == self.families
                && !self.families.is_empty()
        })
    }

    fn is_single(&self) -> bool {
        self.policy.as_deref() == Some(SINGLE)
    }

    /// Fills in policy and families.
    ///
    /// # Errors
    /// What cannot be had on this cluster, or does not fit together.
    pub fn settle(&mut self, old: Option<&Self>, ranges: &Ranges) -> Result<(), ErrorList> {
        if self.is_external() || self.keeps_preference(old) {
            return Ok(());
        }
        let selects_nothing = self.is_headless() && !self.has_selector;
        if self.policy.is_none() {
            let default = if selects_nothing { REQUIRE } else { SINGLE };
            let before = old.and_then(|old| old.policy.clone());
            self.policy = before.or_else(|| Some(default.to_owned()));
        }
        let mut errors = ErrorList::new();
        if let Some(old) = old {
            self.reduce(old, &mut errors);
        }
        self.check_single(&mut errors);
        self.infer_families(ranges, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        if !selects_nothing {
            self.check_configured(ranges)?;
        }
        if self.families.is_empty() {
            self.families.extend(ranges.families.first().map(|family| family.as_str().to_owned()));
        }
        // Without a selector the families are those of endpoints that others make: the cluster's do not matter.
        if !self.is_single()
            && (selects_nothing || ranges.families.len() > 1)
            && let [only] = &*self.families
            && let Some(family) = Family::named(only)
        {
            self.families.push(family.other().as_str().to_owned());
        }
        Ok(())
    }

    /// Gives up the second address and family where the policy says so.
    fn reduce(&mut self, old: &Self, errors: &mut ErrorList) {
        if self.is_single() {
            if self.addresses == old.addresses {
                self.addresses.truncate(1);
            }
            if self.families == old.families {
                self.families.truncate(1);
            }
            return;
        }
        for (new, old, what) in [
            (&self.addresses, &old.addresses, "must be 'SingleStack' to release the secondary cluster IP"),
            (&self.families, &old.families, "must be 'SingleStack' to release the secondary IP family"),
        ] {
            if !new.is_empty() && new.len() < old.len() {
                errors.push(self.wrong_policy(what));
            }
        }
    }

    fn wrong_policy(&self, detail: &str) -> FieldError {
        let spec = Path::root("spec");
        let policy = self.policy.as_deref().unwrap_or_default();
        FieldError::invalid(&spec.child("ipFamilyPolicy"), policy, detail)
    }

    fn check_single(&self, errors: &mut ErrorList) {
        if !self.is_single() {
            return;
        }
        let must = "must be 'RequireDualStack' or 'PreferDualStack' when multiple";
        for (list, what) in [(&self.addresses, "cluster IPs"), (&self.families, "IP families")] {
            if list.len() == 2 {
                errors.push(self.wrong_policy(&format!("{must} {what} are specified")));
            }
        }
    }

    fn infer_families(&mut self, ranges: &Ranges, errors: &mut ErrorList) {
        let spec = Path::root("spec");
        let path = spec.child("clusterIPs");
        for (i, address) in self.addresses.iter().enumerate() {
            let Ok(address) = address.parse::<IpAddr>() else { break };
            if i < self.families.len() {
                continue;
            }
            let family = Family::of(address);
            if ranges.has(family) {
                self.families.push(family.as_str().to_owned());
            } else {
                let detail = format!("{} is not configured on this cluster", family.as_str());
                errors.push(FieldError::invalid(&path.index(i), self.addresses.clone(), detail));
            }
        }
    }

    fn check_configured(&self, ranges: &Ranges) -> Result<(), ErrorList> {
        let mut errors = ErrorList::new();
        if self.policy.as_deref() == Some(REQUIRE) && ranges.families.len() < 2 {
            errors.push(self.wrong_policy("this cluster is not configured for dual-stack services"));
        }
        let spec = Path::root("spec");
        let path = spec.child("ipFamilies");
        for (i, family) in self.families.iter().enumerate() {
            if !Family::named(family).is_some_and(|family| ranges.has(family)) {
                let detail = "not configured on this cluster";
                errors.push(FieldError::invalid(&path.index(i), family.as_str(), detail));
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::ranges::Range;
    use super::*;

    fn service(spec: &Value) -> Addressing {
        Addressing::of(&Object::from_value(json!({"spec": spec})).expect("an object"))
    }

    fn ranges(cidrs: &[&str]) -> Ranges {
        let ready: Vec<Range> = cidrs.iter().filter_map(|cidr| Range::parse(cidr)).collect();
        Ranges { families: ready.iter().map(|range| range.family).collect(), ready }
    }

    /// The policy and families that a Service gets, or what is wrong with it.
    fn settled(spec: &Value, old: Option<&Value>, cidrs: &[&str]) -> String {
        let mut new = service(spec);
        match new.settle(old.map(service).as_ref(), &ranges(cidrs)) {
            Ok(()) => format!("{} {}", new.policy.unwrap_or_default(), new.families.join(",")),
            Err(errors) => api::field::aggregate(&errors),
        }
    }

    const V4: &[&str] = &["10.96.0.0/16"];
    const DUAL: &[&str] = &["10.96.0.0/16", "fd00::/112"];

    #[test]
    fn what_is_left_open_is_filled_in() {
        for (spec, cidrs, expected) in [
            (json!({"type": "ClusterIP"}), V4, "SingleStack IPv4"),
            (json!({"type": "ClusterIP"}), DUAL, "SingleStack IPv4"),
            (json!({"type": "ClusterIP", "ipFamilyPolicy": "PreferDualStack"}), V4, "PreferDualStack IPv4"),
            (
                json!({"type": "ClusterIP", "ipFamilyPolicy": "PreferDualStack"}),
                DUAL,
                "PreferDualStack IPv4,IPv6",
            ),
            (
                json!({"type": "ClusterIP", "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]}),
                DUAL,
                "RequireDualStack IPv6,IPv4",
            ),
            (json!({"type": "ClusterIP", "clusterIPs": ["fd00::5"]}), DUAL, "SingleStack IPv6"),
            (json!({"type": "ClusterIP", "clusterIPs": ["None"]}), V4, "RequireDualStack IPv4,IPv6"),
            (
                json!({"type": "ClusterIP", "clusterIPs": ["None"], "selector": {"a": "b"}}),
                V4,
                "SingleStack IPv4",
            ),
            (json!({"type": "ExternalName"}), V4, " "),
        ] {
            assert_eq!(settled(&spec, None, cidrs), expected, "{spec}");
        }
    }

    #[test]
    fn what_the_cluster_does_not_have_is_refused() {
        for (spec, expected) in [
            (
                json!({"type": "ClusterIP", "ipFamilyPolicy": "RequireDualStack"}),
                r#"spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services"#,
            ),
            (
                json!({"type": "ClusterIP", "ipFamilies": ["IPv6"]}),
                r#"spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster"#,
            ),
            (
                json!({"type": "ClusterIP", "clusterIPs": ["fd00::5"]}),
                r#"spec.clusterIPs[0]: Invalid value: ["fd00::5"]: IPv6 is not configured on this cluster"#,
            ),
            (
                json!({"type": "ClusterIP", "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4", "IPv6"]}),
                r#"spec.ipFamilyPolicy: Invalid value: "SingleStack": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified"#,
            ),
        ] {
            assert_eq!(settled(&spec, None, V4), expected);
        }
    }

    #[test]
    fn a_second_family_comes_and_goes_with_the_policy() {
        let dual = json!({"type": "ClusterIP", "ipFamilyPolicy": "PreferDualStack",
            "clusterIPs": ["10.96.0.5", "fd00::5"], "ipFamilies": ["IPv4", "IPv6"]});
        let mut single = dual.clone();
        single["ipFamilyPolicy"] = "SingleStack".into();
        assert_eq!(settled(&single, Some(&dual), DUAL), "SingleStack IPv4");
        assert_eq!(settled(&dual, Some(&dual), V4), "PreferDualStack IPv4,IPv6", "the cluster has changed");
        let mut fewer = dual.clone();
        fewer["clusterIPs"] = json!(["10.96.0.5"]);
        assert_eq!(
            settled(&fewer, Some(&dual), DUAL),
            r#"spec.ipFamilyPolicy: Invalid value: "PreferDualStack": must be 'SingleStack' to release the secondary cluster IP"#
        );
        let one = json!({"type": "ClusterIP", "ipFamilyPolicy": "RequireDualStack",
            "clusterIPs": ["10.96.0.5"], "ipFamilies": ["IPv4"]});
        assert_eq!(settled(&one, Some(&one), DUAL), "RequireDualStack IPv4,IPv6");
        let before = json!({"type": "ClusterIP", "clusterIPs": ["10.96.0.5"]});
        assert_eq!(settled(&before, Some(&one), DUAL), "RequireDualStack IPv4,IPv6", "the policy stays");
    }
}
