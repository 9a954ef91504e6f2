//! The node ports that a Service asks for or needs. Pure but for the book that is asked. Upstream: `initNodePorts`,
//! `updateNodePorts` and `allocHealthCheckNodePort` of `pkg/registry/core/service/storage/alloc.go`.
//!
//! The lower part of the range is for ports that users ask for (KEP-3668).

use std::collections::{HashMap, HashSet};

use api::field::{FieldError, Path};
use api::{Error, GroupKind, Object, Reason};
use serde_json::Value;

use super::book::Book;

/// All node ports.
const FIRST: u16 = 30_000;
const LAST: u16 = 32_767;
/// The first port of the upper part: a thirty-second of the range lies below.
const UPPER: u16 = FIRST + (LAST - FIRST + 1) / 32;
/// What a dry run shows for a port that nobody chose, as upstream: beyond the range.
const PRETENDED: u16 = 32_769;

/// Why a port cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("provided port is already allocated")]
    Taken,
    #[error("provided port is not in the valid range. The range of valid ports is {FIRST}-{LAST}")]
    NotInRange,
    #[error("range is full")]
    Full,
}

/// Which ports are chosen where any would do.
#[derive(Debug, Default)]
pub(super) struct Hints {
    pub preferred: Vec<u16>,
    pub avoided: HashSet<u16>,
}

/// The ports taken for one Service.
pub(super) struct Taking<'a> {
    book: &'a Book,
    hints: &'a Hints,
    dry_run: bool,
    pub taken: Vec<u16>,
}

impl<'a> Taking<'a> {
    pub fn new(book: &'a Book, hints: &'a Hints, dry_run: bool) -> Self {
        Self { book, hints, dry_run, taken: Vec::new() }
    }

    /// Fills in the ports of a Service, given what it was.
    ///
    /// # Errors
    /// When a port that is asked for, or any, cannot be had.
    pub fn fill(&mut self, service: &mut Object, old: Option<&Object>) -> Result<(), Error> {
        if has_node_ports(service) {
            match old {
                None => self.create(service)?,
                Some(old) => self.update(service, old)?,
            }
        }
        if needs_health_check(service) && !old.is_some_and(needs_health_check) {
            self.health_check(service)?;
        }
        Ok(())
    }

    fn is_taken(&self, port: u16) -> bool {
        self.book.is_taken(port) || self.taken.contains(&port)
    }

    fn take(&mut self, port: i64) -> Result<(), Refusal> {
        let within = u16::try_from(port).ok().filter(|port| (FIRST..=LAST).contains(port));
        match within {
            Some(port) if self.is_taken(port) => Err(Refusal::Taken),
            Some(port) => {
                self.taken.push(port);
                Ok(())
            }
            // A dry run does not look at the range.
            None if self.dry_run => Ok(()),
            None => Err(Refusal::NotInRange),
        }
    }

    fn take_any(&mut self) -> Result<u16, Refusal> {
        if self.dry_run {
            let port = self.taken.iter().max().map_or(PRETENDED, |port| port.saturating_add(1));
            self.taken.push(port);
            return Ok(port);
        }
        let any =
            ring(UPPER, LAST + 1).chain(ring(FIRST, UPPER)).filter(|port| !self.hints.avoided.contains(port));
        let port = self.hints.preferred.iter().copied().chain(any).find(|port| !self.is_taken(*port));
        let port = port.ok_or(Refusal::Full)?;
        self.taken.push(port);
        Ok(port)
    }

    /// Of ports with the same number, such as 53 for TCP and UDP, all get the same node port.
    fn create(&mut self, service: &mut Object) -> Result<(), Error> {
        let allocates = allocates(service);
        let mut given: HashMap<i64, i64> = HashMap::new();
        for index in 0..ports(service).len() {
            let (number, asked) = (number(service, index, "port"), number(service, index, "nodePort"));
            if asked == 0 && !allocates {
                continue;
            }
            let wanted = |other: &Value| (int(other, "port") == number).then(|| int(other, "nodePort"));
            match given.get(&number) {
                None => {
                    let requested = ports(service).iter().filter_map(wanted).find(|port| *port != 0);
                    let port = self.take_or_any(service, index, requested.unwrap_or(0))?;
                    set(service, index, port);
                    given.insert(number, port);
                }
                Some(port) if asked == 0 => set(service, index, *port),
                Some(port) if asked == *port => {}
                Some(_) => drop(self.take_or_any(service, index, asked)?),
            }
        }
        Ok(())
    }

    fn update(&mut self, service: &mut Object, old: &Object) -> Result<(), Error> {
        let allocates = allocates(service);
        let before: Vec<i64> = ports(old).iter().map(|port| int(port, "nodePort")).collect();
        let mut seen: Vec<(String, i64)> = Vec::new();
        let mut asked_for: Vec<i64> = Vec::new();
        for index in 0..ports(service).len() {
            let mut port = number(service, index, "nodePort");
            if port == 0 && !allocates {
                continue;
            }
            if port == 0 {
                port = self.take_or_any(service, index, 0)?;
                set(service, index, port);
            } else if !before.contains(&port) && !asked_for.contains(&port) {
                self.take_or_any(service, index, port)?;
                asked_for.push(port);
            }
            let protocol = ports(service)[index]["protocol"].as_str().unwrap_or_default().to_owned();
            let key = (protocol, port);
            if seen.contains(&key) {
                let message = format!("duplicate nodePort: {{{} {port}}}", key.0);
                return Err(Error::new(Reason::InternalError, message));
            }
            seen.push(key);
        }
        Ok(())
    }

    /// Takes the port, or any where it is 0.
    fn take_or_any(&mut self, service: &Object, index: usize, port: i64) -> Result<i64, Error> {
        if port == 0 {
            let any = self.take_any().map(i64::from);
            return any.map_err(|why| Error::internal(format!("failed to allocate a nodePort: {why}")));
        }
        self.take(port).map(|()| port).map_err(|why| not_had(service, index, port, why))
    }

    fn health_check(&mut self, service: &mut Object) -> Result<(), Error> {
        let asked = service.at(&["spec", "healthCheckNodePort"]).and_then(Value::as_i64).unwrap_or(0);
        if asked != 0 {
            return self.take(asked).map_err(|why| health_not_had(asked, why));
        }
        let port = self.take_any();
        let port = port
            .map_err(|why| Error::internal(format!("failed to allocate a HealthCheck NodePort 0: {why}")))?;
        service.set_at(&["spec", "healthCheckNodePort"], port.into());
        Ok(())
    }
}

/// Why a Service that asks for this port does not get it, which another has; `None` where it asks for others.
pub(super) fn refused(service: &Object, port: u16) -> Option<Error> {
    let asks = |asked: i64| asked == i64::from(port);
    if let Some(index) = ports(service).iter().position(|one| asks(int(one, "nodePort"))) {
        return Some(not_had(service, index, i64::from(port), Refusal::Taken));
    }
    let health =
        service.at(&["spec", "healthCheckNodePort"]).and_then(Value::as_i64).filter(|port| asks(*port))?;
    Some(health_not_had(health, Refusal::Taken))
}

fn not_had(service: &Object, index: usize, port: i64, why: Refusal) -> Error {
    let spec = Path::root("spec");
    let ports = spec.child("ports");
    let at = ports.index(index);
    let error = FieldError::invalid(&at.child("nodePort"), port, why.to_string());
    Error::invalid(&GroupKind::new("", "Service"), service.name(), &vec![error])
}

fn health_not_had(port: i64, why: Refusal) -> Error {
    Error::internal(format!("failed to allocate requested HealthCheck NodePort {port}: {why}"))
}

/// The ports from `first` up to, not including, `end`, each once, beginning anywhere.
fn ring(first: u16, end: u16) -> impl Iterator<Item = u16> {
    let count = u64::from(end - first);
    let start = base::random::below(count);
    (0..count).map(move |step| first + ((start + step) % count) as u16)
}

fn kind(service: &Object) -> &str {
    service.str_at(&["spec", "type"]).unwrap_or_default()
}

fn has_node_ports(service: &Object) -> bool {
    matches!(kind(service), "NodePort" | "LoadBalancer")
}

/// Whether a balancer asks the nodes which of them have endpoints.
fn needs_health_check(service: &Object) -> bool {
    let policy = service.str_at(&["spec", "externalTrafficPolicy"]);
    kind(service) == "LoadBalancer" && policy == Some("Local")
}

/// Whether ports without a node port get one.
fn allocates(service: &Object) -> bool {
    let switch = service.at(&["spec", "allocateLoadBalancerNodePorts"]).and_then(Value::as_bool);
    kind(service) == "NodePort" || switch != Some(false)
}

fn ports(service: &Object) -> &[Value] {
    service.at(&["spec", "ports"]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn int(port: &Value, key: &str) -> i64 {
    port.get(key).and_then(Value::as_i64).unwrap_or(0)
}

fn number(service: &Object, index: usize, key: &str) -> i64 {
    ports(service).get(index).map_or(0, |port| int(port, key))
}

fn set(service: &mut Object, index: usize, port: i64) {
    let spec = service.0.get_mut("spec");
    let ports = spec.and_then(|spec| spec.get_mut("ports")).and_then(Value::as_array_mut);
    if let Some(Value::Object(entry)) = ports.and_then(|ports| ports.get_mut(index)) {
        entry.insert("nodePort".into(), port.into());
    }
}
