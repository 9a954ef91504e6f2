//! Addresses of services: the ranges they come from and who has which.

use crate::columns::basic;
use crate::kinds::builder::{Kind, path_segment};
use crate::logic::{Changes, MetadataOnly};

pub(in crate::kinds) fn ip_address() -> Kind {
    Kind::new(
        "networking.k8s.io/v1",
        "ipaddresses",
        MetadataOnly(Changes::NotYetJudged("who has an address is immutable")),
    )
    .short("ip")
    .named(path_segment)
}

pub(in crate::kinds) fn service_cidr() -> Kind {
    Kind::new(
        "networking.k8s.io/v1",
        "servicecidrs",
        MetadataOnly(Changes::NotYetJudged("ranges may be added and never taken away")),
    )
    .columns(basic::SERVICE_CIDR)
}
