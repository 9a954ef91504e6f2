//! Addresses of services: the ranges they come from and who has which.

use api::Object;
use api::field::ErrorList;

use crate::columns::{self, basic};
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::validation::service_ranges;

pub(in crate::kinds) fn ip_address() -> Kind {
    Kind::new("networking.k8s.io/v1", "ipaddresses", IpAddress)
        .short("ip")
        .named(service_ranges::address_name)
        .printed(columns::service::IP_ADDRESS, columns::service::ip_address)
}

pub(in crate::kinds) fn service_cidr() -> Kind {
    Kind::new("networking.k8s.io/v1", "servicecidrs", ServiceCidr).columns(basic::SERVICE_CIDR)
}

struct IpAddress;

impl Logic for IpAddress {
    fn validate(&self, object: &Object) -> ErrorList {
        service_ranges::ip_address(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&service_ranges::ip_address_update)
    }
}

struct ServiceCidr;

impl Logic for ServiceCidr {
    fn validate(&self, object: &Object) -> ErrorList {
        service_ranges::service_cidr(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&service_ranges::service_cidr_update)
    }
}
