//! [`Machine`]: a network namespace with an address of its own, for a node that is not the test's own machine. Its only
//! link leads to the test's machine, which is its gateway.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};

/// How many /29 there are in 198.51.100.0/24.
const SUBNETS: u8 = 32;

/// See the module's documentation. Removed by the line that [`Machine::removal`] returns.
#[derive(Debug, Clone)]
pub struct Machine {
    name: String,
    /// The number of its subnet, of those for documentation in 198.51.100.0/24.
    subnet: u8,
}

impl Machine {
    /// Makes the namespace and its link, in a subnet that this machine has no address in: a run that was killed with
    /// its keepers, or one in another folder, may have machines of its own. `name` has at most 11 letters.
    ///
    /// # Errors
    /// What `ip` says, or that no subnet is free.
    pub fn make(name: &str) -> Result<Self> {
        static MAKING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        if Self::was_left_behind(name) {
            bash(&Self::removal_of(name))?;
        }
        // Runs at the same time begin at different ones.
        let first = u8::try_from(std::process::id() % u32::from(SUBNETS))?;
        for step in 0..SUBNETS {
            let machine = Self { name: name.to_owned(), subnet: (first + step) % SUBNETS };
            if machine.links_in_subnet()? > 0 {
                continue;
            }
            machine.build()?;
            if machine.links_in_subnet()? == 1 {
                return Ok(machine);
            }
            machine.remove()?;
        }
        bail!("each /29 of 198.51.100.0/24 is taken: `ip address` names the links");
    }

    /// How many of this machine's links have an address in the subnet.
    fn links_in_subnet(&self) -> Result<usize> {
        let subnet = format!("{}/29", self.address(0));
        let shown = Command::new("ip").args(["-4", "-o", "address", "show", "to", &subnet]).output()?;
        ensure!(shown.status.success(), "ip address: {}", String::from_utf8_lossy(&shown.stderr));
        Ok(String::from_utf8_lossy(&shown.stdout).lines().count())
    }

    fn build(&self) -> Result<()> {
        let name = &self.name;
        let (here, there) = (self.address(1), self.address(2));
        let inside = self.prefix().join(" ");
        // Link names have at most 15 letters.
        bash(&format!(
            "ip netns add {name} && ip link add {name}-veth type veth peer name eth0 netns {name} && \
             ip addr add {here}/29 dev {name}-veth && ip link set {name}-veth up && \
             {inside} ip link set lo up && {inside} ip addr add {there}/29 dev eth0 && \
             {inside} ip link set eth0 up && {inside} ip route add default via {here}"
        ))
    }

    /// Whether a namespace of this name was left behind.
    pub fn was_left_behind(name: &str) -> bool {
        std::path::Path::new("/run/netns").join(name).exists()
    }

    /// An address on the link: 1 is the test's machine, 2 to 6 are this one's.
    pub fn address(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 51, 100, self.subnet * 8 + host)
    }

    /// What a command line begins with to be run on the machine.
    pub fn prefix(&self) -> Vec<String> {
        Self::prefix_of(&self.name)
    }

    pub(crate) fn prefix_of(name: &str) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net=/run/netns/{name}")]
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
        Self::removal_of(&self.name)
    }

    fn removal_of(name: &str) -> String {
        format!("ip netns del {name}")
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
