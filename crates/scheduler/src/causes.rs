//! [`Causes`]: why every node refused a pod, and so which changes the pod waits for.

use std::fmt;

use crate::verdict::{Rule, Verdict};

/// Why a node refuses a pod, classed by the changes that can end the refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Cause {
    Cordon,
    Taints,
    /// Node selector or required node affinity.
    Labels,
    Ports,
    Cpu,
    Memory,
    /// Another resource, or the number of pods.
    Amounts,
    /// The node lacks a label that a spread constraint goes by.
    Place,
    Spread,
    Near,
    Apart,
    Repelled,
    /// Claims or volumes.
    Storage,
    /// Claims of devices, or devices.
    Devices,
}

impl Cause {
    pub const ALL: [Self; 14] = [
        Self::Cordon,
        Self::Taints,
        Self::Labels,
        Self::Ports,
        Self::Cpu,
        Self::Memory,
        Self::Amounts,
        Self::Place,
        Self::Spread,
        Self::Near,
        Self::Apart,
        Self::Repelled,
        Self::Storage,
        Self::Devices,
    ];

    /// `None` if the node suits the pod, or if the pod names another node, which no change of this node can cure.
    pub fn of(verdict: Verdict) -> Option<Self> {
        Some(match verdict.rule()? {
            Rule::NodeName => return None,
            Rule::Unschedulable => Self::Cordon,
            Rule::Taints => Self::Taints,
            Rule::NodeAffinity | Rule::ProfileAffinity => Self::Labels,
            Rule::Ports => Self::Ports,
            Rule::Resources if verdict.is_short_of_cpu() => Self::Cpu,
            Rule::Resources if verdict.is_short_of_memory() => Self::Memory,
            Rule::Resources => Self::Amounts,
            Rule::ClaimTaken
            | Rule::VolumeGone
            | Rule::VolumeElsewhere
            | Rule::NoVolume
            | Rule::VolumeZone
            | Rule::TooManyVolumes
            | Rule::NoSpace => Self::Storage,
            Rule::DevicesElsewhere | Rule::NoDevices => Self::Devices,
            Rule::NoPlace => Self::Place,
            Rule::Spread => Self::Spread,
            Rule::Near => Self::Near,
            Rule::Apart => Self::Apart,
            Rule::Repelled => Self::Repelled,
        })
    }

    /// Whether the cause depends on pods of other nodes, on other nodes, or on no node.
    pub fn is_social(self) -> bool {
        matches!(
            self,
            Self::Spread | Self::Near | Self::Apart | Self::Repelled | Self::Storage | Self::Devices
        )
    }
}

/// A set of causes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Causes(u16);

impl Causes {
    pub fn has(self, cause: Cause) -> bool {
        self.0 >> cause as u8 & 1 == 1
    }

    #[must_use]
    pub fn with(self, cause: Cause) -> Self {
        Self(self.0 | 1 << cause as u8)
    }

    pub fn iter(self) -> impl Iterator<Item = Cause> {
        Cause::ALL.into_iter().filter(move |cause| self.has(*cause))
    }
}

impl FromIterator<Cause> for Causes {
    fn from_iter<I: IntoIterator<Item = Cause>>(causes: I) -> Self {
        causes.into_iter().fold(Self::default(), Self::with)
    }
}

impl fmt::Debug for Causes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in() {
        let causes: Causes = [Cause::Cpu, Cause::Repelled, Cause::Cpu].into_iter().collect();
        assert_eq!(causes.iter().collect::<Vec<_>>(), [Cause::Cpu, Cause::Repelled]);
        assert!(!causes.has(Cause::Memory) && causes.with(Cause::Memory).has(Cause::Memory));
        assert_eq!(Cause::ALL.map(|cause| cause as usize), std::array::from_fn(|at| at));
    }
}
