//! [`Machine`]: a network namespace with an address of its own, for a node that is not the test's own machine. Its only
//! link leads to the test's machine, which is its gateway.

use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// See the module's documentation. Removed by the line that [`Machine::removal`] returns.
#[derive(Debug, Clone)]
pub struct Machine {
    name: String,
    /// The number of its subnet, of those for documentation in 198.51.100.0/24.
    subnet: u8,
}

impl Machine {
    /// Makes the namespace and its link. `name` has at most 11 letters; machines at the same time have different
    /// subnets, below 32.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn make(name: &str, subnet: u8) -> Result<Self> {
        let machine = Self { name: name.to_owned(), subnet };
        let (here, there) = (machine.address(1), machine.address(2));
        let inside = machine.prefix().join(" ");
        // Link names have at most 15 letters.
        bash(&format!(
            "ip netns add {name} && ip link add {name}-veth type veth peer name eth0 netns {name} && \
             ip addr add {here}/29 dev {name}-veth && ip link set {name}-veth up && \
             {inside} ip link set lo up && {inside} ip addr add {there}/29 dev eth0 && \
             {inside} ip link set eth0 up && {inside} ip route add default via {here}"
        ))?;
        Ok(machine)
    }

    /// A namespace of this name that was left behind, if there is one.
    pub fn left_behind(name: &str, subnet: u8) -> Option<Self> {
        let machine = Self { name: name.to_owned(), subnet };
        std::path::Path::new("/run/netns").join(name).exists().then_some(machine)
    }

    /// An address on the link: 1 is the test's machine, 2 to 6 are this one's.
    pub fn address(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 51, 100, self.subnet * 8 + host)
    }

    /// What a command line begins with to be run on the machine.
    pub fn prefix(&self) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net=/run/netns/{}", self.name)]
    }

    /// Takes the machine's cable out, or puts it in again.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn connect(&self, connected: bool) -> Result<()> {
        bash(&format!("ip link set {}-veth {}", self.name, if connected { "up" } else { "down" }))
    }

    /// Runs a line of bash on the machine.
    ///
    /// # Errors
    /// What it said, when it fails.
    pub fn run(&self, line: &str) -> Result<()> {
        bash(&format!("{} bash -c '{line}'", self.prefix().join(" ")))
    }

    /// The line that removes it.
    pub fn removal(&self) -> String {
        format!("ip netns del {}", self.name)
    }

    /// Removes it.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn remove(&self) -> Result<()> {
        bash(&self.removal())
    }
}

fn bash(line: &str) -> Result<()> {
    let done = Command::new("bash").args(["-c", line]).output().context("running bash")?;
    ensure!(done.status.success(), "{line} ({}): {}", done.status, String::from_utf8_lossy(&done.stderr));
    Ok(())
}
