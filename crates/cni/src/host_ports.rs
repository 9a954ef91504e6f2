//! Ports of the node that lead to pods (`hostPort`): the capability `portMappings` of CNI configuration.
//!
//! A table of its own beside the bridge's: a map from address, protocol and port to a pod's address and port. A pod that
//! comes or goes changes elements only; the table stays as it is when the node starts again, and so do connections.
//! Never here: who may have a port. The scheduler and the node agent decide that.

use std::collections::HashSet;
use std::io;
use std::net::Ipv4Addr;

use nft::places::{self, END, FRONT, FRONT_BYTES};
use nft::{Batch, Comparison, Data, Element, Field, Holds, Hook, Passing, Register, Set};
use serde::{Deserialize, Serialize};

use crate::config::Range;
use crate::error::PortError;

const PORTS: &str = "ports";
/// Pods that reach themselves by a port of the node: twice the pod's address.
const LOOPS: &str = "loops";
/// After what turns packets away, before the Services' ports (`NF_IP_PRI_NAT_DST` and `NF_IP_PRI_NAT_SRC`).
const DESTINATION: i32 = -101;
const SOURCE: i32 = 99;
/// How often a listing is begun anew that others' changes have spoiled.
const TRIES: usize = 20;
const LOOPBACK: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(127, 0, 0, 0), Ipv4Addr::new(255, 0, 0, 0));

/// Numbers of transport protocols.
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// The words of a key, what the map gives, and one for what is looked at once.
const KEY: Register = Register::at(0);
const PROTOCOL: Register = Register::at(1);
const PORT: Register = Register::at(2);
const TO_ADDRESS: Register = Register::at(8);
const TO_PORT: Register = Register::at(9);
const SCRATCH: Register = Register::at(15);

/// A port of the node, as runtimes write it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    pub host_port: u16,
    pub container_port: u16,
    /// `tcp`, `udp` or `sctp`, in any case.
    pub protocol: String,
    /// Of this address only; empty or unspecified: of all addresses of the node.
    #[serde(default, rename = "hostIP")]
    pub host_ip: String,
}

/// The name of the table beside a bridge's.
pub(crate) fn table_of(bridge: &str) -> String {
    format!("{bridge}-ports")
}

/// The transaction that makes the table where it is not there, and its rules anew; what it holds stays.
pub(crate) fn prepare(bridge: &str, pods: Range) -> Batch {
    let table = &table_of(bridge);
    let mut batch = Batch::new();
    batch.new_table(table);
    batch.new_set(Set { table, name: PORTS, key: &FRONT, holds: Holds::Values(&END) }, 1);
    batch.new_set(
        Set { table, name: LOOPS, key: &[Field::Address, Field::Address], holds: Holds::Members },
        2,
    );
    for (chain, hook, priority) in [
        ("prerouting", Hook::Prerouting, DESTINATION),
        ("output", Hook::Output, DESTINATION),
        ("postrouting", Hook::Postrouting, SOURCE),
    ] {
        batch.new_hooked_chain(table, chain, Passing::Connections, hook, priority);
        batch.delete_rules(table, chain);
    }
    for chain in ["prerouting", "output"] {
        for is_of_one in [true, false] {
            batch.new_rule(table, chain, |rule| {
                rule.destination_is_local(Comparison::Equal, SCRATCH);
                if is_of_one {
                    rule.load_destination(KEY);
                } else {
                    rule.load_word(Ipv4Addr::UNSPECIFIED.octets(), KEY);
                }
                rule.load_transport(PROTOCOL);
                rule.load_destination_port(PORT);
                rule.map(PORTS, KEY, TO_ADDRESS);
                rule.translate_destination(TO_ADDRESS, TO_PORT);
            });
        }
    }
    // What came from the node's loopback could not be answered.
    batch.new_rule(table, "postrouting", |rule| {
        rule.source(LOOPBACK.0, LOOPBACK.1, Comparison::Equal);
        rule.destination(pods.network, pods.mask(), Comparison::Equal);
        rule.masquerade_from_any_port();
    });
    // A pod would take the answer for its own.
    batch.new_rule(table, "postrouting", |rule| {
        rule.load_source(KEY);
        rule.load_destination(PROTOCOL);
        rule.member(LOOPS, KEY, Comparison::Equal);
        rule.masquerade_from_any_port();
    });
    batch
}

/// Has the ports lead to the pod's address. What is so already stays.
///
/// # Errors
/// When a mapping cannot be, or another pod has the port.
pub(crate) fn open(
    bridge: &str,
    pod: Ipv4Addr,
    mappings: &[PortMapping],
    send: impl Fn(Batch) -> io::Result<()>,
) -> Result<(), PortError> {
    if mappings.is_empty() {
        return Ok(());
    }
    let table = &table_of(bridge);
    let mut batch = Batch::new();
    let loops = twice(pod);
    batch.add_elements(table, LOOPS, [Element { key: &loops, data: None }]);
    send(batch).map_err(PortError::Table)?;
    for mapping in mappings {
        let (key, end) = (front(mapping)?, places::end(pod, mapping.container_port));
        let mut batch = Batch::new();
        batch.add_elements(table, PORTS, [Element { key: &key, data: Some(Data::Value(&end)) }]);
        send(batch).map_err(|source| PortError::Kernel {
            port: mapping.host_port,
            protocol: mapping.protocol.to_ascii_lowercase(),
            source,
        })?;
    }
    Ok(())
}

/// Closes all ports that lead to the pod's address; fine when there is none.
pub(crate) fn close(bridge: &str, pod: Ipv4Addr) -> io::Result<()> {
    // Most pods have none: one question in place of a listing.
    if nft::contains(&table_of(bridge), LOOPS, &twice(pod))? {
        close_all(bridge, |address| address == pod)
    } else {
        Ok(())
    }
}

/// Closes all ports that lead to addresses which are no pod's.
pub(crate) fn retain(bridge: &str, pods: &HashSet<Ipv4Addr>) -> io::Result<()> {
    close_all(bridge, |address| !pods.contains(&address))
}

/// Other pods come and go meanwhile, which spoils a listing, and may take away what was to be removed.
fn close_all(bridge: &str, mut is_gone: impl FnMut(Ipv4Addr) -> bool) -> io::Result<()> {
    let mut tries = 0;
    loop {
        tries += 1;
        match try_close(bridge, &mut is_gone) {
            Err(error) if tries < TRIES && is_passing(&error) => {}
            other => return other,
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::NotFound)
}

fn try_close(bridge: &str, mut is_gone: impl FnMut(Ipv4Addr) -> bool) -> io::Result<()> {
    let table = &table_of(bridge);
    let (mut ports, mut loops): (Vec<Vec<u8>>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
    nft::elements(table, PORTS, |key, end| {
        if address_of(end).is_some_and(&mut is_gone) {
            ports.push(key.to_vec());
        }
    })?;
    nft::elements(table, LOOPS, |key, _| {
        if address_of(key).is_some_and(&mut is_gone) {
            loops.push(key.to_vec());
        }
    })?;
    let mut batch = Batch::new();
    batch.delete_elements(table, PORTS, ports.iter().map(Vec::as_slice));
    batch.delete_elements(table, LOOPS, loops.iter().map(Vec::as_slice));
    if ports.is_empty() && loops.is_empty() { Ok(()) } else { batch.send() }
}

fn address_of(bytes: &[u8]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?))
}

fn front(mapping: &PortMapping) -> Result<[u8; FRONT_BYTES], PortError> {
    let protocol = match mapping.protocol.to_ascii_lowercase().as_str() {
        "tcp" => TCP,
        "udp" => UDP,
        "sctp" => SCTP,
        _ => return Err(PortError::Protocol(mapping.protocol.clone())),
    };
    let address: Ipv4Addr = match mapping.host_ip.as_str() {
        "" => Ipv4Addr::UNSPECIFIED,
        text => text.parse().map_err(|_| PortError::Address(text.to_owned()))?,
    };
    Ok(places::front(address, protocol, mapping.host_port))
}

fn twice(pod: Ipv4Addr) -> [u8; 8] {
    let mut key = [0; 8];
    key[..4].copy_from_slice(&pod.octets());
    key[4..].copy_from_slice(&pod.octets());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(protocol: &str, host_ip: &str) -> PortMapping {
        PortMapping {
            host_port: 8888,
            container_port: 9999,
            protocol: protocol.to_owned(),
            host_ip: host_ip.to_owned(),
        }
    }

    #[test]
    fn a_port_is_of_all_addresses_or_of_one() {
        assert_eq!(front(&mapping("TCP", "")).unwrap(), [0, 0, 0, 0, 6, 0, 0, 0, 0x22, 0xb8, 0, 0]);
        assert_eq!(front(&mapping("tcp", "0.0.0.0")).unwrap(), front(&mapping("tcp", "")).unwrap());
        assert_eq!(
            front(&mapping("udp", "192.0.2.1")).unwrap(),
            [192, 0, 2, 1, 17, 0, 0, 0, 0x22, 0xb8, 0, 0]
        );
        assert_eq!(front(&mapping("sctp", "")).unwrap()[4], 132);
        assert!(front(&mapping("icmp", "")).is_err() && front(&mapping("tcp", "::1")).is_err());
    }

    #[test]
    fn mappings_are_read_as_runtimes_write_them() {
        let text = r#"{"hostPort": 8888, "containerPort": 9999, "protocol": "udp", "hostIP": "192.0.2.1"}"#;
        assert_eq!(serde_json::from_str::<PortMapping>(text).unwrap(), mapping("udp", "192.0.2.1"));
        let text = r#"{"hostPort": 8888, "containerPort": 9999, "protocol": "tcp"}"#;
        assert_eq!(serde_json::from_str::<PortMapping>(text).unwrap(), mapping("tcp", ""));
    }
}
