//! Facts about this machine, read from the kernel and the system's files.

use std::fs;
use std::io;
use std::path::Path;

/// Facts that do not change while the machine is up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    pub cpus: u64,
    pub memory_bytes: u64,
    /// Of the file system the node agent's folder is on.
    pub storage_bytes: u64,
    /// Page size as in resource names (`2Mi`), and how many bytes of such pages are set aside.
    pub hugepages: Vec<(String, u64)>,
    pub architecture: String,
    pub kernel_version: String,
    pub os_image: String,
    pub machine_id: String,
    pub boot_id: String,
    pub system_uuid: String,
}

/// What may run out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pressure {
    pub memory_available_bytes: u64,
    pub storage_bytes: u64,
    pub storage_available_bytes: u64,
    /// What is free, whoever may have it.
    pub storage_free_bytes: u64,
    pub inodes: u64,
    pub inodes_free: u64,
    pub pids_max: u64,
    pub pids: u64,
}

impl Machine {
    /// Reads everything; `root` is the node agent's folder. Blocks shortly.
    ///
    /// # Errors
    /// When what a node must know (memory, storage) cannot be read.
    pub fn read(root: &Path) -> io::Result<Self> {
        let name = rustix::system::uname();
        let text = |path: &str| fs::read_to_string(path).map(|t| t.trim().to_owned()).unwrap_or_default();
        let machine_id = text("/etc/machine-id");
        let uuid = text("/sys/class/dmi/id/product_uuid").to_lowercase();
        let storage = rustix::fs::statvfs(root)?;
        Ok(Self {
            cpus: count_cpus(&text("/sys/devices/system/cpu/online")).unwrap_or(1),
            memory_bytes: meminfo(&fs::read_to_string("/proc/meminfo")?, "MemTotal")
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/meminfo has no MemTotal"))?,
            storage_bytes: storage.f_blocks * storage.f_frsize,
            hugepages: hugepages(Path::new("/sys/kernel/mm/hugepages")),
            architecture: go_architecture(&name.machine().to_string_lossy()),
            kernel_version: name.release().to_string_lossy().into_owned(),
            os_image: pretty_name(&text("/etc/os-release")),
            system_uuid: if uuid.is_empty() { machine_id.clone() } else { uuid },
            machine_id,
            boot_id: text("/proc/sys/kernel/random/boot_id"),
        })
    }
}

impl Pressure {
    /// Reads what is left now. Blocks shortly.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn read(root: &Path) -> io::Result<Self> {
        let storage = rustix::fs::statvfs(root)?;
        let memory = fs::read_to_string("/proc/meminfo")?;
        let number = |path: &str| fs::read_to_string(path).ok().and_then(|t| t.trim().parse().ok());
        let load = fs::read_to_string("/proc/loadavg")?;
        Ok(Self {
            memory_available_bytes: meminfo(&memory, "MemAvailable").unwrap_or(u64::MAX),
            storage_bytes: storage.f_blocks * storage.f_frsize,
            storage_available_bytes: storage.f_bavail * storage.f_frsize,
            storage_free_bytes: storage.f_bfree * storage.f_frsize,
            inodes: storage.f_files,
            inodes_free: storage.f_favail,
            pids_max: number("/proc/sys/kernel/pid_max").unwrap_or(u64::MAX),
            pids: tasks(&load).unwrap_or(0),
        })
    }
}

/// The machine's memory; `None` where the kernel does not tell.
pub fn memory_bytes() -> Option<u64> {
    meminfo(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal")
}

/// The memory of the machine that could not be had for something new; `None` where the kernel does not tell.
pub fn used_memory_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    Some(meminfo(&text, "MemTotal")?.saturating_sub(meminfo(&text, "MemAvailable")?))
}

/// `0-3,8` counts 5.
fn count_cpus(list: &str) -> Option<u64> {
    let mut count = 0;
    for range in list.split(',') {
        count += match range.split_once('-') {
            Some((from, to)) => to.parse::<u64>().ok()?.checked_sub(from.parse().ok()?)? + 1,
            None => range.parse::<u64>().map(|_| 1).ok()?,
        };
    }
    Some(count)
}

fn meminfo(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The number of tasks in `/proc/loadavg` (`0.1 0.2 0.3 1/234 567`).
fn tasks(loadavg: &str) -> Option<u64> {
    loadavg.split(' ').nth(3)?.split_once('/')?.1.parse().ok()
}

fn hugepages(folder: &Path) -> Vec<(String, u64)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let one = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let kib: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        let pages: u64 = fs::read_to_string(entry.path().join("nr_hugepages")).ok()?.trim().parse().ok()?;
        let size = match kib {
            k if k % (1 << 20) == 0 => format!("{}Gi", k >> 20),
            k if k % (1 << 10) == 0 => format!("{}Mi", k >> 10),
            k => format!("{k}Ki"),
        };
        Some((size, pages * kib * 1024))
    };
    let mut found: Vec<_> = entries.filter_map(|e| one(e.ok()?)).collect();
    found.sort();
    found
}

/// The kernel's name of the architecture in the words of images and nodes.
fn go_architecture(machine: &str) -> String {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" | "armv6l" => "arm",
        "i686" | "i386" => "386",
        other => other,
    }
    .to_owned()
}

fn pretty_name(os_release: &str) -> String {
    let value = os_release.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
    value.map_or("Linux", |v| v.trim_matches(['"', '\''])).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_understood() {
        assert_eq!(count_cpus("0-3,8"), Some(5));
        assert_eq!(count_cpus(""), None);
        assert_eq!(meminfo("MemTotal:       1024 kB\nMemFree: 1 kB\n", "MemTotal"), Some(1 << 20));
        assert_eq!(tasks("0.00 0.01 0.05 2/345 6789\n"), Some(345));
        assert_eq!(
            pretty_name("ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
            "Debian GNU/Linux 12 (bookworm)"
        );
    }

    #[test]
    fn this_machine_can_be_read() {
        let machine = Machine::read(Path::new("/")).expect("readable");
        assert!(machine.cpus >= 1 && machine.memory_bytes > 1 << 20 && !machine.boot_id.is_empty());
        assert!(Pressure::read(Path::new("/")).expect("readable").pids > 0);
    }
}
