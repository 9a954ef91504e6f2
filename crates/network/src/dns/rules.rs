//! [`Rules`]: what a Corefile asks for, a zone each: names and addresses of its own, the cluster's names, and the servers
//! that all other questions are passed on to.
//!
//! Pure. Of CoreDNS' plugins those are understood that stand in clusters' Corefiles; one that would change answers and is
//! not understood is an error, since a setting must not be stored and ignored. [`DEFAULT`] is what a new cluster has.

pub(super) mod hosts;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hickory_server::proto::rr::Name;

use super::corefile::{self, Directive, Server, Word, Wrong};
use hosts::Hosts;

/// What a new cluster has, with `DOMAIN` for the cluster's.
pub const DEFAULT: &str = "\
.:53 {
    kubernetes DOMAIN in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    forward . /etc/resolv.conf
    cache 30
    loop
    reload
    loadbalance
}
";

/// Where DNS servers listen.
const PORT: u16 = 53;
/// The longest that an answer may be kept, in seconds, where the Corefile says nothing else (CoreDNS' `cache`).
const CACHE_S: u32 = 3600;
const NEGATIVE_CACHE_S: u32 = 1800;
/// What answers about the cluster may be kept for, in seconds (CoreDNS' `kubernetes`), and at most.
const TTL_S: u32 = 5;
const TTL_LIMIT_S: u32 = 3600;
const TARGETS_LIMIT: usize = 15;

/// Plugins without an effect on answers here, each for a reason that `docs/dns.md` gives.
const HELD: [&str; 10] =
    ["errors", "health", "ready", "prometheus", "loop", "reload", "loadbalance", "log", "bufsize", "debug"];

/// The zones, those with more labels first.
#[derive(Debug, Default)]
pub struct Rules {
    zones: Vec<(Name, usize)>,
    pub blocks: Vec<Block>,
}

/// How questions about the names of a server block's zones are answered, in this order.
#[derive(Debug, Default)]
pub struct Block {
    pub hosts: Option<Hosts>,
    pub kubernetes: Option<Kubernetes>,
    /// The most specific first.
    pub forwards: Vec<Forward>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubernetes {
    /// How long answers may be kept, in seconds.
    pub ttl_s: u32,
    /// Whether pods have names by their addresses.
    pub has_pods: bool,
}

/// In which order servers are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    Random,
    RoundRobin,
    Sequential,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Server(SocketAddr),
    /// A file like `resolv.conf`, which names servers.
    File(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    pub from: Name,
    pub except: Vec<Name>,
    pub to: Vec<Target>,
    pub policy: Policy,
    pub force_tcp: bool,
    /// How long answers may be kept, and that there is none.
    pub cache: Option<(Duration, Duration)>,
}

impl Forward {
    pub fn is_for(&self, name: &Name) -> bool {
        self.from.zone_of(name) && !self.except.iter().any(|except| except.zone_of(name))
    }
}

impl Rules {
    /// Reads a Corefile for a cluster of this domain.
    ///
    /// # Errors
    /// Says what is wrong in which line.
    pub fn read(corefile: &str, domain: &Name) -> Result<Self, Wrong> {
        let mut rules = Self::default();
        for server in corefile::parse(corefile)? {
            for key in &server.keys {
                let zone = zone_of(key)?;
                if rules.zones.iter().any(|(has, _)| *has == zone) {
                    return Err(Wrong::at(key, format!("the zone {zone} has two server blocks")));
                }
                rules.zones.push((zone, rules.blocks.len()));
            }
            rules.blocks.push(block(&server, domain)?);
        }
        rules.zones.sort_by_key(|(zone, _)| std::cmp::Reverse(zone.num_labels()));
        Ok(rules)
    }

    /// What a new cluster has.
    ///
    /// # Errors
    /// When the domain cannot stand in a Corefile.
    pub fn default_of(domain: &Name) -> Result<Self, Wrong> {
        Self::read(&DEFAULT.replace("DOMAIN", &domain.to_ascii()), domain)
    }

    /// The longest zone that a name belongs to, and which block this zone has.
    pub fn block_for(&self, name: &Name) -> Option<(&Name, usize)> {
        self.zones.iter().find(|(zone, _)| zone.zone_of(name)).map(|(zone, at)| (zone, *at))
    }
}

fn zone_of(key: &Word) -> Result<Name, Wrong> {
    let text = key.text.strip_prefix("dns://").unwrap_or(&key.text);
    if text.contains("://") {
        return Err(Wrong::at(key, format!("{}: only plain DNS is served", key.text)));
    }
    let (zone, port) = text.rsplit_once(':').unwrap_or((text, "53"));
    if port != "53" {
        return Err(Wrong::at(key, format!("port {port}: cluster DNS listens on port 53")));
    }
    name(key, zone)
}

fn name(word: &Word, text: &str) -> Result<Name, Wrong> {
    let name =
        Name::from_ascii(text).map_err(|error| Wrong::at(word, format!("{text:?} is no domain: {error}")))?;
    let mut name = name.to_lowercase();
    name.set_fqdn(true);
    Ok(name)
}

fn names(words: &[Word]) -> Result<Vec<Name>, Wrong> {
    words.iter().map(|word| name(word, &word.text)).collect()
}

fn number(word: &Word) -> Result<u32, Wrong> {
    word.text.parse().map_err(|_| Wrong::at(word, format!("{:?} is no number", word.text)))
}

fn only<'a>(directive: &'a Directive, what: &str) -> Result<&'a Word, Wrong> {
    match directive.arguments.as_slice() {
        [one] => Ok(one),
        _ => Err(Wrong::at(&directive.name, format!("{} takes {what}", directive.name.text))),
    }
}

fn unknown(option: &Directive, of: &Directive) -> Wrong {
    let what = format!("{}: the option {} is not supported", of.name.text, option.name.text);
    Wrong::at(&option.name, what)
}

fn block(server: &Server, domain: &Name) -> Result<Block, Wrong> {
    let (mut block, mut cache) = (Block::default(), None);
    let zones = server.keys.iter().map(zone_of).collect::<Result<Vec<_>, _>>()?;
    for directive in &server.directives {
        let once = |is_first: bool| match is_first {
            true => Ok(()),
            false => Err(Wrong::at(&directive.name, format!("{} stands twice", directive.name.text))),
        };
        match directive.name.text.as_str() {
            "kubernetes" => {
                once(block.kubernetes.is_none())?;
                block.kubernetes = Some(kubernetes(directive, domain, &zones)?);
            }
            "hosts" => {
                once(block.hosts.is_none())?;
                block.hosts = Some(hosts::read(directive, &zones)?);
            }
            "forward" => block.forwards.push(forward(directive)?),
            "cache" => {
                once(cache.is_none())?;
                cache = Some(cached(directive)?);
            }
            held if HELD.contains(&held) => {}
            other => {
                return Err(Wrong::at(&directive.name, format!("the plugin {other} is not supported")));
            }
        }
    }
    for forward in &mut block.forwards {
        forward.cache = cache;
    }
    block.forwards.sort_by_key(|forward| std::cmp::Reverse(forward.from.num_labels()));
    Ok(block)
}

fn kubernetes(directive: &Directive, domain: &Name, zones: &[Name]) -> Result<Kubernetes, Wrong> {
    let served = if directive.arguments.is_empty() { zones.to_vec() } else { names(&directive.arguments)? };
    if !served.contains(domain) {
        let what = format!("kubernetes: the cluster's domain is {domain}, which is not among the zones");
        return Err(Wrong::at(&directive.name, what));
    }
    let mut read = Kubernetes { ttl_s: TTL_S, has_pods: false };
    for option in &directive.block {
        match option.name.text.as_str() {
            "ttl" => {
                let word = only(option, "a number of seconds")?;
                read.ttl_s = number(word)?;
                if read.ttl_s > TTL_LIMIT_S {
                    return Err(Wrong::at(word, format!("ttl: at most {TTL_LIMIT_S}")));
                }
            }
            "pods" => {
                let word = only(option, "insecure or disabled")?;
                read.has_pods = match word.text.as_str() {
                    "insecure" => true,
                    "disabled" => false,
                    other => return Err(Wrong::at(word, format!("pods {other} is not supported"))),
                };
            }
            // Reverse names that are not the cluster's are always passed on, and no others.
            "fallthrough" if !option.arguments.is_empty() => {
                for zone in names(&option.arguments)? {
                    if domain.zone_of(&zone) || zone.zone_of(domain) {
                        return Err(Wrong::at(&option.name, "fallthrough: not for the cluster's own domain"));
                    }
                }
            }
            _ => return Err(unknown(option, directive)),
        }
    }
    Ok(read)
}

fn forward(directive: &Directive) -> Result<Forward, Wrong> {
    let [from, to @ ..] = directive.arguments.as_slice() else {
        return Err(Wrong::at(&directive.name, "forward takes a zone and servers"));
    };
    if to.is_empty() || to.len() > TARGETS_LIMIT {
        return Err(Wrong::at(from, format!("forward takes 1 to {TARGETS_LIMIT} servers")));
    }
    let mut read = Forward {
        from: name(from, &from.text)?,
        except: Vec::new(),
        to: to.iter().map(target).collect::<Result<_, _>>()?,
        policy: Policy::Random,
        force_tcp: false,
        cache: None,
    };
    for option in &directive.block {
        match option.name.text.as_str() {
            "except" => read.except.extend(names(&option.arguments)?),
            "force_tcp" => read.force_tcp = true,
            "policy" => {
                let word = only(option, "random, round_robin or sequential")?;
                read.policy = match word.text.as_str() {
                    "random" => Policy::Random,
                    "round_robin" => Policy::RoundRobin,
                    "sequential" => Policy::Sequential,
                    other => return Err(Wrong::at(word, format!("policy {other} is not known"))),
                };
            }
            // Servers that fail are found by questions, all questions together are limited, and UDP is what is asked by.
            "max_concurrent" | "max_fails" | "health_check" | "expire" | "prefer_udp" | "max_idle_conns" => {}
            _ => return Err(unknown(option, directive)),
        }
    }
    Ok(read)
}

fn target(word: &Word) -> Result<Target, Wrong> {
    let text = word.text.strip_prefix("dns://").unwrap_or(&word.text);
    if text.contains("://") {
        return Err(Wrong::at(word, format!("{}: servers are asked by plain DNS only", word.text)));
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(Target::Server((ip, PORT).into()));
    }
    match text.parse::<SocketAddr>() {
        Ok(address) => Ok(Target::Server(address)),
        Err(_) if text.starts_with('/') => Ok(Target::File(text.into())),
        Err(_) => Err(Wrong::at(word, format!("{text:?} is neither an address nor the path of a file"))),
    }
}

fn cached(directive: &Directive) -> Result<(Duration, Duration), Wrong> {
    let seconds = |s: u32| Duration::from_secs(s.into());
    let both = match directive.arguments.first() {
        Some(word) if word.text.chars().all(|c| c.is_ascii_digit()) => {
            let most = number(word)?;
            (seconds(most), seconds(most))
        }
        _ => (seconds(CACHE_S), seconds(NEGATIVE_CACHE_S)),
    };
    let mut read = both;
    for option in &directive.block {
        let most = |at: usize| option.arguments.get(at).map(number).transpose();
        match option.name.text.as_str() {
            "success" => read.0 = most(1)?.map_or(read.0, seconds),
            "denial" => read.1 = most(1)?.map_or(read.1, seconds),
            // The cluster's names are not kept at all; there is nothing to fetch early, or to serve too late.
            "disable" | "prefetch" | "keepttl" => {}
            _ => return Err(unknown(option, directive)),
        }
    }
    Ok(read)
}
