//! What nodes and pods use, measured when it is asked for (upstream: `staging/src/k8s.io/metrics`, served by
//! metrics-server).

use crate::columns::usage;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, MetadataOnly};
use crate::row::Observed;

pub(super) fn nodes() -> Kind {
    Kind::new("metrics.k8s.io/v1beta1", "nodes", MetadataOnly(Changes::Any("figures are only read")))
        .stored_at("metrics.k8s.io/nodes")
        .observed(Observed::NodeUsage)
        .printed(usage::COLUMNS, usage::node)
}

pub(super) fn pods() -> Kind {
    Kind::new("metrics.k8s.io/v1beta1", "pods", MetadataOnly(Changes::Any("figures are only read")))
        .stored_at("metrics.k8s.io/pods")
        .observed(Observed::PodUsage)
        .printed(usage::COLUMNS, usage::pod)
}
