//! [`Refusal`]: the decision that a pod fits nowhere.

use crate::causes::Causes;

/// Why a pod fits nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The condition's and the event's message.
    pub message: String,
    /// Why the nodes refused the pod: one cause for each node.
    pub causes: Causes,
}
