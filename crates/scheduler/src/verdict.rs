//! [`Verdict`]: whether a node suits a pod, encoded in a number that can be stored and counted; and upstream's message
//! for the verdict.

use crate::pod::Needs;

/// The rule that refused the pod; the variants are in the order in which rules are evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Rule {
    Unschedulable = 1,
    NodeName,
    Taints,
    NodeAffinity,
    /// What the profile requires of nodes.
    ProfileAffinity,
    Ports,
    Resources,
    /// A claim that only one pod may use is used.
    ClaimTaken,
    /// The volume of a bound claim is not there.
    VolumeGone,
    /// A bound volume cannot be had on the node.
    VolumeElsewhere,
    /// The node has no volume for a claim, and none can be made there.
    NoVolume,
    /// The node is in none of a volume's zones.
    VolumeZone,
    /// The node would have more volumes of a driver than the driver allows.
    TooManyVolumes,
    /// There is no room for a volume that is to be made.
    NoSpace,
    /// The node lacks a label that a spread constraint goes by.
    NoPlace,
    Spread,
    Near,
    Apart,
    Repelled,
    /// The devices of a claim cannot be had on the node.
    DevicesElsewhere,
    /// The node has not the devices that claims ask for.
    NoDevices,
}

const RULES: [Rule; 21] = [
    Rule::Unschedulable,
    Rule::NodeName,
    Rule::Taints,
    Rule::NodeAffinity,
    Rule::ProfileAffinity,
    Rule::Ports,
    Rule::Resources,
    Rule::ClaimTaken,
    Rule::VolumeGone,
    Rule::VolumeElsewhere,
    Rule::NoVolume,
    Rule::VolumeZone,
    Rule::TooManyVolumes,
    Rule::NoSpace,
    Rule::NoPlace,
    Rule::Spread,
    Rule::Near,
    Rule::Apart,
    Rule::Repelled,
    Rule::DevicesElsewhere,
    Rule::NoDevices,
];

/// The rule in the lowest eight bits, 0 for none; for resources, what is short in the bits above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Verdict(u64);

const TOO_MANY_PODS: u32 = 8;
const CPU: u32 = 9;
const MEMORY: u32 = 10;
const EPHEMERAL: u32 = 11;
/// From this bit on the pod's scalar resources, in their order; those beyond the last bit share it.
const FIRST_SCALAR: u32 = 12;
const LAST_SCALAR: u32 = 62;
/// The pod would not fit even on the empty node.
const TOO_BIG: u32 = 63;

impl Verdict {
    /// The node suits.
    pub const FITS: Self = Self(0);

    pub const fn no(rule: Rule) -> Self {
        Self(rule as u64)
    }

    /// `None` when nothing is short. `short`: names of resources.
    pub fn short<'a>(
        too_many_pods: bool,
        short: impl Iterator<Item = &'a str>,
        too_big: bool,
        needs: &Needs,
    ) -> Option<Self> {
        let mut bits = u64::from(too_many_pods) << TOO_MANY_PODS;
        for name in short {
            bits |= 1
                << match name {
                    "cpu" => CPU,
                    "memory" => MEMORY,
                    "ephemeral-storage" => EPHEMERAL,
                    _ => scalar_bit(needs.requests.scalar.keys().position(|held| held == name).unwrap_or(0)),
                };
        }
        (bits != 0).then(|| Self(Rule::Resources as u64 | bits | u64::from(too_big) << TOO_BIG))
    }

    pub const fn fits(self) -> bool {
        self.0 == 0
    }

    pub fn rule(self) -> Option<Rule> {
        let number = usize::try_from(self.0 & 0xff).ok()?;
        RULES.get(number.checked_sub(1)?).copied()
    }

    pub fn is_short_of_cpu(self) -> bool {
        self.rule() == Some(Rule::Resources) && self.0 >> CPU & 1 == 1
    }

    pub fn is_short_of_memory(self) -> bool {
        self.rule() == Some(Rule::Resources) && self.0 >> MEMORY & 1 == 1
    }

    /// Whether evicting other pods could make room.
    pub fn preemption_may_help(self) -> bool {
        match self.rule() {
            Some(Rule::Ports | Rule::ClaimTaken | Rule::Spread | Rule::Apart | Rule::Repelled) => true,
            Some(Rule::Resources) => self.0 >> TOO_BIG == 0,
            _ => false,
        }
    }

    /// Upstream's messages; several if several resources are short.
    pub fn reasons(self, needs: &Needs) -> Vec<String> {
        let Some(rule) = self.rule() else { return Vec::new() };
        let text = match rule {
            Rule::Unschedulable => "node(s) were unschedulable",
            Rule::NodeName => "node(s) didn't match the requested node name",
            Rule::Taints => "node(s) had untolerated taint(s)",
            Rule::NodeAffinity => "node(s) didn't match Pod's node affinity/selector",
            Rule::ProfileAffinity => "node(s) didn't match scheduler-enforced node affinity",
            Rule::Ports => "node(s) didn't have free ports for the requested pod ports",
            Rule::Resources => return self.shortages(needs),
            Rule::ClaimTaken => {
                "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
            }
            Rule::VolumeGone => "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
            Rule::VolumeElsewhere => "node(s) didn't match PersistentVolume's node affinity",
            Rule::NoVolume => "node(s) didn't find available persistent volumes to bind",
            Rule::VolumeZone => "node(s) had no available volume zone",
            Rule::TooManyVolumes => "node(s) exceed max volume count",
            Rule::NoSpace => "node(s) did not have enough free storage",
            Rule::NoPlace => "node(s) didn't match pod topology spread constraints (missing required label)",
            Rule::Spread => "node(s) didn't match pod topology spread constraints",
            Rule::Near => "node(s) didn't match pod affinity rules",
            Rule::Apart => "node(s) didn't match pod anti-affinity rules",
            Rule::Repelled => "node(s) didn't satisfy existing pods anti-affinity rules",
            Rule::DevicesElsewhere => "resourceclaim not available on the node",
            Rule::NoDevices => "cannot allocate all claims",
        };
        vec![text.to_owned()]
    }

    fn shortages(self, needs: &Needs) -> Vec<String> {
        let set = |bit: u32| self.0 >> bit & 1 == 1;
        let mut reasons = Vec::new();
        if set(TOO_MANY_PODS) {
            reasons.push("Too many pods".to_owned());
        }
        let fixed = [(CPU, "cpu"), (MEMORY, "memory"), (EPHEMERAL, "ephemeral-storage")];
        let fixed = fixed.into_iter().filter(|(bit, _)| set(*bit)).map(|(_, name)| name);
        let scalar = needs.requests.scalar.keys().enumerate().filter(|(at, _)| set(scalar_bit(*at)));
        let names = fixed.chain(scalar.map(|(_, name)| name.as_str()));
        reasons.extend(names.map(|name| format!("Insufficient {name}")));
        reasons
    }
}

fn scalar_bit(position: usize) -> u32 {
    u32::try_from(position)
        .map_or(LAST_SCALAR, |position| position.saturating_add(FIRST_SCALAR).min(LAST_SCALAR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_its_number_and_words() {
        let needs = Needs::of(&k8s_openapi::api::core::v1::Pod::default(), &std::sync::Arc::default());
        for rule in RULES {
            let verdict = Verdict::no(rule);
            assert_eq!(verdict.rule(), Some(rule));
            assert!(!verdict.fits() && (rule == Rule::Resources || verdict.reasons(&needs).len() == 1));
        }
        assert_eq!((Verdict::FITS.rule(), Verdict::FITS.reasons(&needs).len()), (None, 0));
    }
}
