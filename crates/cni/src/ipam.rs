//! Addresses of pods: one file an address, holding the container's id. Made exclusively, so a crash leaves
//! either a record that [`release`] finds by its owner, or none.

use std::fs;
use std::io::{ErrorKind, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;

use crate::Error;
use crate::config::Range;

/// Holds the address handed out last, so that a freed address rests before it is used again.
const LAST: &str = "last";
const LOCK: &str = "lock";

/// Hands out an address to `owner`; the same one again if it has one already.
pub(crate) fn allocate(dir: &Path, range: Range, owner: &str) -> Result<Ipv4Addr, Error> {
    let _lock = lock(dir)?;
    if let Some(address) = held_by(dir, owner)? {
        return Ok(address);
    }
    let (first, last) = range.pod_addresses();
    let (first, last) = (first.to_bits(), last.to_bits());
    let previous = fs::read_to_string(dir.join(LAST))
        .ok()
        .and_then(|text| text.trim().parse::<Ipv4Addr>().ok())
        .map_or(last, Ipv4Addr::to_bits);
    let start = if (first..last).contains(&previous) { previous + 1 } else { first };
    for candidate in (start..=last).chain(first..start) {
        let address = Ipv4Addr::from_bits(candidate);
        match fs::OpenOptions::new().write(true).create_new(true).open(dir.join(address.to_string())) {
            Ok(mut file) => {
                file.write_all(owner.as_bytes()).map_err(Error::io("recording an address"))?;
                fs::write(dir.join(LAST), address.to_string()).map_err(Error::io("recording an address"))?;
                return Ok(address);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io("recording an address")(error)),
        }
    }
    Err(Error::Exhausted(format!("{}/{}", range.network, range.prefix)))
}

/// The address `owner` has.
pub(crate) fn held_by(dir: &Path, owner: &str) -> Result<Option<Ipv4Addr>, Error> {
    Ok(records(dir)?.into_iter().find(|(_, holder)| holder == owner).map(|(address, _)| address))
}

/// Releases the addresses of `owner`; returns no error if it has none.
pub(crate) fn release(dir: &Path, owner: &str) -> Result<(), Error> {
    retain(dir, |holder| holder != owner).map(drop)
}

/// Takes back every address whose owner is not kept, and returns them; an empty record is a crashed allocation.
pub(crate) fn retain(dir: &Path, keep: impl Fn(&str) -> bool) -> Result<Vec<Ipv4Addr>, Error> {
    let mut freed = Vec::new();
    if !dir.exists() {
        return Ok(freed);
    }
    let _lock = lock(dir)?;
    for (address, holder) in records(dir)? {
        if !holder.is_empty() && keep(&holder) {
            continue;
        }
        match fs::remove_file(dir.join(address.to_string())) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io("releasing an address")(error));
            }
            _ => freed.push(address),
        }
    }
    Ok(freed)
}

/// All addresses that are handed out, each with its owner.
pub(crate) fn records(dir: &Path) -> Result<Vec<(Ipv4Addr, String)>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io("reading the address records"))? {
        let entry = entry.map_err(Error::io("reading the address records"))?;
        let Some(address) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let holder = fs::read_to_string(entry.path()).map_err(Error::io("reading the address records"))?;
        found.push((address, holder));
    }
    Ok(found)
}

/// Keeps others from changing the records until the lock is dropped.
pub(crate) fn lock(dir: &Path) -> Result<fs::File, Error> {
    fs::create_dir_all(dir).map_err(Error::io(format!("making {}", dir.display())))?;
    let file = fs::File::create(dir.join(LOCK)).map_err(Error::io("locking the address records"))?;
    rustix::fs::flock(file.as_fd(), rustix::fs::FlockOperation::LockExclusive)
        .map_err(|e| Error::io("locking the address records")(e.into()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_unique_rest_after_use_and_run_out() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let range = Range::parse("10.1.0.0/29").expect("a range");
        let mut given = Vec::new();
        for owner in ["a", "b", "c", "d", "e"] {
            given.push(allocate(dir.path(), range, owner).expect("an address"));
        }
        assert_eq!(given.iter().map(|a| a.octets()[3]).collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
        assert_eq!(allocate(dir.path(), range, "a").expect("the same again"), given[0]);
        assert!(matches!(allocate(dir.path(), range, "f"), Err(Error::Exhausted(_))));
        release(dir.path(), "b").expect("released");
        release(dir.path(), "b").expect("again");
        release(dir.path(), "a").expect("released");
        assert_eq!(allocate(dir.path(), range, "f").expect("a freed one").octets()[3], 2);
        assert_eq!(retain(dir.path(), |owner| owner == "c").expect("collected").len(), 3);
        assert_eq!(held_by(dir.path(), "c").expect("read"), Some(given[2]));
        assert_eq!(held_by(dir.path(), "d").expect("read"), None);
    }
}
