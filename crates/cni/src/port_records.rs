//! Which ports of the node lead to which pod: a file an address beside the address's own, so that the ports can be opened
//! again when somebody has taken the kernel's table away. Whoever opens ports writes the file first, and whoever closes
//! them removes the file first.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::host_ports::PortMapping;
use crate::{Error, ipam};

/// What the files' names end with, after the address.
const SUFFIX: &str = ".ports";

fn path(dir: &Path, address: Ipv4Addr) -> PathBuf {
    dir.join(format!("{address}{SUFFIX}"))
}

/// Records the ports of the pod with the address.
pub(crate) fn note(dir: &Path, address: Ipv4Addr, ports: &[PortMapping]) -> Result<(), Error> {
    if ports.is_empty() {
        return Ok(());
    }
    let text = serde_json::to_vec(ports).map_err(|error| Error::io("recording host ports")(error.into()))?;
    let _lock = ipam::lock(dir)?;
    fs::write(path(dir, address), text).map_err(Error::io("recording host ports"))
}

/// Forgets the ports of the pod with the address; fine when it has none.
pub(crate) fn forget(dir: &Path, address: Ipv4Addr) -> Result<(), Error> {
    let _lock = ipam::lock(dir)?;
    remove(&path(dir, address))
}

/// Forgets the ports of all addresses but these.
pub(crate) fn retain(dir: &Path, pods: &HashSet<Ipv4Addr>) -> Result<(), Error> {
    let _lock = ipam::lock(dir)?;
    addresses(dir)?
        .into_iter()
        .filter(|address| !pods.contains(address))
        .try_for_each(|address| remove(&path(dir, address)))
}

/// Calls `open` with the ports of each pod, while nobody else opens or closes any. A file that was cut short by a crash is
/// passed over: its ports were not opened yet.
pub(crate) fn each(dir: &Path, mut open: impl FnMut(Ipv4Addr, &[PortMapping])) -> Result<(), Error> {
    let _lock = ipam::lock(dir)?;
    for address in addresses(dir)? {
        let text = fs::read(path(dir, address)).map_err(Error::io("reading host ports"))?;
        match serde_json::from_slice::<Vec<PortMapping>>(&text) {
            Ok(ports) => open(address, &ports),
            Err(error) => tracing::warn!(%address, %error, "the record of host ports cannot be read"),
        }
    }
    Ok(())
}

fn addresses(dir: &Path) -> Result<Vec<Ipv4Addr>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io("reading host ports"))? {
        let name = entry.map_err(Error::io("reading host ports"))?.file_name();
        let address: Option<Ipv4Addr> =
            name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse().ok());
        found.extend(address);
    }
    Ok(found)
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("forgetting host ports")(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(port: u16) -> PortMapping {
        PortMapping { host_port: port, container_port: 80, protocol: "tcp".into(), host_ip: String::new() }
    }

    #[test]
    fn what_is_noted_is_found_until_it_is_forgotten() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let all = || {
            let mut found = Vec::new();
            each(dir.path(), |address, ports| found.push((address, ports.to_vec()))).expect("read");
            found.sort_by_key(|(address, _)| *address);
            found
        };
        let [a, b, c] = [1, 2, 3].map(|last| Ipv4Addr::new(10, 1, 0, last));
        note(dir.path(), a, &[mapping(80), mapping(81)]).expect("noted");
        note(dir.path(), b, &[mapping(82)]).expect("noted");
        note(dir.path(), c, &[]).expect("nothing to note");
        assert_eq!(all(), [(a, vec![mapping(80), mapping(81)]), (b, vec![mapping(82)])]);
        forget(dir.path(), a).expect("forgotten");
        forget(dir.path(), a).expect("again");
        fs::write(path(dir.path(), c), "[{").expect("cut short");
        assert_eq!(all(), [(b, vec![mapping(82)])]);
        retain(dir.path(), &HashSet::from([c])).expect("retained");
        assert!(all().is_empty());
    }
}
