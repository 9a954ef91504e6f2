//! The host settings that a cluster needs while it runs, and their restoration.
//!
//! The values found by the first cluster are kept under `/run`, shared by all clusters of the machine, and
//! restored when the last one goes down.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use kubelet::resolv::Resolv;

use crate::durable::write_durably;

const SAVED: &str = "/run/knarr/host.json";

/// Kernel settings a node needs: (path below `/proc/sys`, value).
const WANTED: [(&str, &str); 1] = [("net/ipv4/ip_forward", "1")];

/// Sets what a node needs, remembering what was there.
///
/// # Errors
/// When a setting cannot be read or written.
pub fn prepare() -> Result<()> {
    let mut saved: BTreeMap<String, String> = read_saved();
    for (name, value) in WANTED {
        let path = sysctl(name);
        let present = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        if present.trim() == value {
            continue;
        }
        saved.entry(name.to_owned()).or_insert_with(|| present.trim().to_owned());
        write_durably(Path::new(SAVED), &serde_json::to_vec(&saved)?, 0o600)?;
        fs::write(&path, value).with_context(|| format!("setting {} to {value}", path.display()))?;
    }
    Ok(())
}

/// Puts back what [`prepare`] changed. For when no cluster runs any more.
///
/// # Errors
/// When a setting cannot be written.
pub fn restore() -> Result<()> {
    for (name, value) in read_saved() {
        let path = sysctl(&name);
        fs::write(&path, &value).with_context(|| format!("setting {} back to {value}", path.display()))?;
    }
    match fs::remove_file(SAVED) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {SAVED}"))
        }
        _ => Ok(()),
    }
}

/// What the server must be able to write before it knows whether it can run: keys, the store's first pages, records.
const ROOM_BYTES: u64 = 8 << 20;

/// Checks that there is room where the server is about to write.
///
/// # Errors
/// Names each folder whose disk is full, and how much is missing.
pub fn check_room(folders: &[&Path]) -> Result<()> {
    let mut full = Vec::new();
    for folder in folders {
        let Some(present) = folder.ancestors().find(|ancestor| ancestor.exists()) else { continue };
        let disk =
            rustix::fs::statvfs(present).with_context(|| format!("looking at {}", present.display()))?;
        full.extend(lacking(folder, disk.f_bavail * disk.f_frsize));
    }
    if full.is_empty() { Ok(()) } else { bail!("{}", full.join("; ")) }
}

fn lacking(folder: &Path, free_bytes: u64) -> Option<String> {
    let missing = ROOM_BYTES.checked_sub(free_bytes).filter(|missing| *missing > 0)?;
    Some(format!(
        "the disk of {} is full: {} KiB are free, {} KiB more are needed to start",
        folder.display(),
        free_bytes / 1024,
        missing.div_ceil(1024)
    ))
}

/// The machine's name, as a node may be called.
///
/// # Errors
/// When it has none.
pub fn name() -> Result<String> {
    let name = rustix::system::uname();
    let name = name.nodename().to_str().context("the host's name is not UTF-8")?.to_lowercase();
    if name.is_empty() {
        bail!("the host has no name: use --node-name");
    }
    Ok(name)
}

fn read_saved() -> BTreeMap<String, String> {
    fs::read(SAVED).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

fn sysctl(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name)
}

/// Where the machine says which name servers it asks.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Where programs that have themselves asked on the loopback say which servers they ask: systemd-resolved, NetworkManager.
const BEHIND: [&str; 2] = ["/run/systemd/resolve/resolv.conf", "/run/NetworkManager/no-stub-resolv.conf"];

/// The file that names the machine's name servers for a node that does not have the machine's loopback.
pub fn resolv_conf() -> PathBuf {
    let named = |path: &str| Resolv::parse(&fs::read_to_string(path).unwrap_or_default()).servers;
    without_loopback([RESOLV_CONF].into_iter().chain(BEHIND), named).into()
}

/// The first file that names a server elsewhere, or the first one.
fn without_loopback<'a>(
    mut files: impl Iterator<Item = &'a str> + Clone,
    named: impl Fn(&str) -> Vec<String>,
) -> &'a str {
    let is_elsewhere =
        |server: &String| server.parse::<std::net::IpAddr>().is_ok_and(|address| !address.is_loopback());
    let found = files.clone().find(|path| named(path).iter().any(is_elsewhere));
    found.or_else(|| files.next()).unwrap_or(RESOLV_CONF)
}

/// The addresses of this machine that others may use to reach it, best first; loopback is left out.
pub fn addresses() -> Vec<std::net::Ipv4Addr> {
    let mut found = Vec::new();
    // Connecting a datagram socket sends nothing; it only asks which address would be used.
    if let Ok(socket) = std::net::UdpSocket::bind("0.0.0.0:0")
        && socket.connect("192.0.2.1:9").is_ok()
        && let Ok(std::net::SocketAddr::V4(local)) = socket.local_addr()
        && !local.ip().is_loopback()
        && !local.ip().is_unspecified()
    {
        found.push(*local.ip());
    }
    if let Ok(interfaces) = nix::ifaddrs::getifaddrs() {
        for interface in interfaces {
            let Some(address) = interface.address.as_ref().and_then(|a| a.as_sockaddr_in().map(|s| s.ip()))
            else {
                continue;
            };
            // Bridges and veths of clusters are not the machine's own addresses.
            if address.is_loopback()
                || interface.interface_name.starts_with("knarr")
                || found.contains(&address)
            {
                continue;
            }
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_looked_for_behind_the_loopback() {
        let find = |own: &str, behind: &str| {
            let named = |path: &str| vec![if path == "own" { own.to_owned() } else { behind.to_owned() }];
            without_loopback(["own", "behind"].into_iter(), named).to_owned()
        };
        assert_eq!(find("192.0.2.1", "192.0.2.2"), "own");
        assert_eq!(find("127.0.0.53", "192.0.2.2"), "behind");
        assert_eq!(find("::1", "127.0.0.1"), "own", "nothing better is known");
    }

    #[test]
    fn a_full_disk_is_named_with_what_is_missing() {
        assert_eq!(lacking(Path::new("/data"), ROOM_BYTES), None);
        let told = lacking(Path::new("/data"), 100 << 10).expect("it is full");
        assert_eq!(told, "the disk of /data is full: 100 KiB are free, 8092 KiB more are needed to start");
        assert!(check_room(&[Path::new("/")]).is_ok());
    }
}
