//! The plugin `hosts`: names and addresses written down in the Corefile itself.

use std::collections::HashMap;
use std::net::IpAddr;

use hickory_server::proto::rr::rdata::{A, AAAA, PTR};
use hickory_server::proto::rr::{Name, RData, Record, RecordType};

use super::super::corefile::{Directive, Wrong};
use super::{name, names, number, only};

/// How long answers may be kept, in seconds, where the Corefile says nothing else.
const TTL_S: u32 = 3600;

#[derive(Debug, Default)]
pub struct Hosts {
    zones: Vec<Name>,
    by_name: HashMap<Name, Vec<IpAddr>>,
    by_address: HashMap<IpAddr, Vec<Name>>,
    ttl_s: u32,
    /// The zones whose other names are answered by what follows; nothing where no other name is.
    falls_through: Option<Vec<Name>>,
}

/// What the hosts say of a name.
#[derive(Debug, PartialEq)]
pub enum Said {
    Records(Vec<Record>),
    /// The name is known, and has no such records.
    NoData,
    NoName,
    /// What follows is to answer.
    Nothing,
}

pub(super) fn read(directive: &Directive, zones: &[Name]) -> Result<Hosts, Wrong> {
    let mut hosts = Hosts { ttl_s: TTL_S, ..Hosts::default() };
    // Further arguments are zones; a first one with a slash is a file, of a machine that nobody could name.
    if let Some(file) = directive.arguments.iter().find(|word| word.text.contains('/')) {
        return Err(Wrong::at(file, "hosts: names are written into the block, not read from a file"));
    }
    hosts.zones = if directive.arguments.is_empty() { zones.to_vec() } else { names(&directive.arguments)? };
    let mut has_reverse = true;
    for option in &directive.block {
        match option.name.text.as_str() {
            "ttl" => hosts.ttl_s = number(only(option, "a number of seconds")?)?,
            "no_reverse" => has_reverse = false,
            "fallthrough" => hosts.falls_through = Some(names(&option.arguments)?),
            "reload" => {}
            text => {
                let Ok(address) = text.parse::<IpAddr>() else {
                    return Err(Wrong::at(&option.name, format!("hosts: {text:?} is no address")));
                };
                for word in &option.arguments {
                    let name = name(word, &word.text)?;
                    hosts.by_name.entry(name.clone()).or_default().push(address);
                    hosts.by_address.entry(address).or_default().push(name);
                }
            }
        }
    }
    if !has_reverse {
        hosts.by_address.clear();
    }
    Ok(hosts)
}

impl Hosts {
    /// Entries, as CoreDNS counts them: pairs of a name and an address.
    pub fn len(&self) -> usize {
        self.by_name.values().map(Vec::len).sum()
    }

    pub fn answer(&self, name: &Name, kind: RecordType) -> Said {
        let record = |data| Record::from_rdata(name.clone(), self.ttl_s, data);
        if kind == RecordType::PTR
            && let Ok(net) = name.parse_arpa_name()
            && let Some(names) = self.by_address.get(&net.addr())
        {
            return Said::Records(names.iter().map(|name| record(RData::PTR(PTR(name.clone())))).collect());
        }
        if !self.zones.iter().any(|zone| zone.zone_of(name)) {
            return Said::Nothing;
        }
        // Names are kept in small letters.
        match self.by_name.get(&name.to_lowercase()) {
            Some(addresses) => {
                let data = addresses.iter().map(|address| match address {
                    IpAddr::V4(ip) => RData::A(A(*ip)),
                    IpAddr::V6(ip) => RData::AAAA(AAAA(*ip)),
                });
                let records: Vec<Record> =
                    data.filter(|data| data.record_type() == kind).map(record).collect();
                if records.is_empty() { Said::NoData } else { Said::Records(records) }
            }
            None => match &self.falls_through {
                Some(zones) if zones.is_empty() || zones.iter().any(|zone| zone.zone_of(name)) => {
                    Said::Nothing
                }
                _ => Said::NoName,
            },
        }
    }
}
