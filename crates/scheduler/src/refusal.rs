//! [`Refusal`]: the decision that a pod fits nowhere.

use informer::Key;

use crate::causes::Causes;

/// Why a pod fits nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why the nodes refused the pod: the first sentence of the condition's and the event's message.
    pub reasons: String,
    /// Why evicting other pods does not help: the rest of the message, where nothing is evicted.
    pub outlook: String,
    /// Why the nodes refused the pod: one cause for each node.
    pub causes: Causes,
    /// A node that refused the pod has pods of a lower priority, and without them the node may suit.
    pub may_preempt: bool,
    /// What giving devices back could do for the pod's claims.
    pub deallocation: Deallocation,
}

/// Whether a claim of the pod is to give its devices back, so that it can get some where the pod fits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Deallocation {
    /// The pod has no claims.
    #[default]
    NoClaims,
    NoHelp,
    Of(Key),
}

impl Refusal {
    /// The message where nothing is evicted.
    pub fn message(&self) -> String {
        if self.outlook.is_empty() { self.reasons.clone() } else { self.because(&self.outlook) }
    }

    /// The message with another reason why nothing is evicted.
    pub fn because(&self, outlook: &str) -> String {
        let claims = match &self.deallocation {
            Deallocation::NoClaims => "no new claims to deallocate",
            Deallocation::NoHelp => "still not schedulable",
            Deallocation::Of(_) => "deallocation of ResourceClaim completed",
        };
        format!("{} {claims}, preemption: {outlook}", self.reasons)
    }
}
