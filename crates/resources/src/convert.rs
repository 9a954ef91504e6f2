//! Conversions between served and stored versions, for the two kinds that have more than one.
//!
//! Both are pure renames or embeddings on the dynamic object, and lossless in both directions.

mod autoscaler;
mod event;

use crate::row::Convert;

/// events.k8s.io/v1 ↔ v1.
pub(crate) const EVENTS: Convert = Convert { to_storage: event::to_core, from_storage: event::from_core };

/// autoscaling/v1 ↔ autoscaling/v2.
pub(crate) const AUTOSCALERS: Convert =
    Convert { to_storage: autoscaler::to_v2, from_storage: autoscaler::to_v1 };
