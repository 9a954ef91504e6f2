//! The `proxy` subresource of nodes, pods and services: HTTP requests forwarded to the node agent, the pod or an
//! endpoint.

use std::net::IpAddr;

use api::{Error, Object};
use resources::Proxied;
use serde_json::Value;

use super::connect;
use crate::handlers::storage::Target;
use crate::proxy::forward::{Backend, Peer, Security, encoded, send};
use crate::proxy::links::Links;
use crate::proxy::node;
use crate::request::call::Call;
use crate::respond::{self, Outcome};
use crate::service_addresses;

/// `[scheme:]name[:port]`
#[derive(Debug, PartialEq, Eq)]
struct Name<'a> {
    scheme: &'a str,
    name: &'a str,
    port: &'a str,
}

impl<'a> Name<'a> {
    fn parse(text: &'a str) -> Result<Self, Error> {
        let parts: Vec<&str> = text.split(':').collect();
        match parts.as_slice() {
            [name] => Ok(Self { scheme: "", name, port: "" }),
            [name, port] => Ok(Self { scheme: "", name, port }),
            [scheme @ ("" | "http" | "https"), name, port] => Ok(Self { scheme, name, port }),
            _ => Err(Error::bad_request(format!("invalid proxy request {text:?}"))),
        }
    }

    fn security(&self) -> Security {
        if self.scheme == "https" { Security::Unverified } else { Security::Plain }
    }
}

/// Passes the request on.
pub(super) async fn answer(target: Target, to: Proxied, call: Call) -> Outcome {
    let mut options = connect::proxy_options(&target.row.kind, &call.info.rest);
    connect::admit(&target, &call, &mut options).await?;
    let rest = options.str_at(&["path"]).unwrap_or("");
    let asked = call.info.name.clone();
    let name = Name::parse(&asked)?;
    let backend = match to {
        Proxied::Node => {
            let agent = Backend { peer: Peer::Proxied, ..node::agent(&target.context, name.name)? };
            match name.port {
                "" => agent,
                // The agent's own port speaks what the agent speaks, whatever the name says.
                port if port_number(port).is_ok_and(|port| port == agent.port) => agent,
                port => {
                    check_address(&agent.host)?;
                    Backend { port: port_number(port)?, security: name.security(), ..agent }
                }
            }
        }
        Proxied::Pod => checked(pod_backend(&target, &call, &name).await?)?,
        Proxied::Service => checked(service_backend(&target, &call, &name).await?)?,
    };
    // The path without its end slash would lose what relative links are relative to.
    let directory = rest.is_empty() || call.info.path.ends_with('/');
    let is_read = matches!(call.method, http::Method::GET | http::Method::HEAD);
    if rest.is_empty() && !call.info.path.ends_with('/') && is_read {
        return redirect(&call);
    }
    let mut path = String::from("/");
    path.push_str(&rest.split('/').map(encoded).collect::<Vec<_>>().join("/"));
    if directory && !path.ends_with('/') {
        path.push('/');
    }
    if let Some(query) = call.uri.query() {
        path.push('?');
        path.push_str(query);
    }
    let links = Links::new(proxy_path(&call), backend.authority(), asked_authority(&call));
    let context = target.context.clone();
    Ok(links.rewrite(send(&context, call, &backend, &path).await?).await)
}

/// The path that stands for the root of what is proxied, as the client wrote it.
fn proxy_path(call: &Call) -> String {
    // Of `/api/v1/nodes/NAME/proxy` and `/api/v1/namespaces/NAMESPACE/pods/NAME/proxy`, with the empty one in front.
    let segments = if call.info.namespace.is_empty() { 6 } else { 8 };
    call.uri.path().split('/').take(segments).collect::<Vec<_>>().join("/")
}

/// By what name the client reached this server.
fn asked_authority(call: &Call) -> String {
    let host = call.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    host.or(call.uri.authority().map(|authority| authority.as_str())).unwrap_or_default().to_owned()
}

fn checked(backend: Backend) -> Result<Backend, Error> {
    check_address(&backend.host)?;
    Ok(backend)
}

/// Addresses come from objects that others write: none of them may lead to what only this machine should reach
/// (itself, its cloud's metadata service).
fn check_address(host: &str) -> Result<(), Error> {
    let is_global = |ip: IpAddr| match ip.to_canonical() {
        IpAddr::V4(ip) => {
            !(ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_broadcast())
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified() || ip.is_multicast())
        }
    };
    match host.parse() {
        Ok(ip) if is_global(ip) => Ok(()),
        _ => Err(Error::bad_request("address not allowed")),
    }
}

fn redirect(call: &Call) -> Outcome {
    let mut location = format!("{}/", call.uri.path());
    if let Some(query) = call.uri.query() {
        location.push('?');
        location.push_str(query);
    }
    respond::moved(&location)
}

fn port_number(text: &str) -> Result<u16, Error> {
    text.parse().map_err(|_| Error::bad_request(format!("invalid port {text:?}")))
}

async fn pod_backend(target: &Target, call: &Call, name: &Name<'_>) -> Result<Backend, Error> {
    let pod = target.read_existing(&call.info.namespace, name.name).await?.object;
    let host = pod.str_at(&["status", "podIP"]).filter(|ip| !ip.is_empty());
    let host = host.ok_or_else(|| Error::bad_request("address not allowed"))?.to_owned();
    let port = match name.port {
        "" => first_port(&pod).unwrap_or(80),
        port => port_number(port)?,
    };
    Ok(Backend { host, port, security: name.security(), peer: Peer::Proxied })
}

fn first_port(pod: &Object) -> Option<u16> {
    let containers = pod.at(&["spec", "containers"])?.as_array()?;
    let port = containers.iter().find_map(|c| c["ports"][0]["containerPort"].as_u64())?;
    u16::try_from(port).ok()
}

/// One of a service's ready endpoints.
async fn service_backend(target: &Target, call: &Call, name: &Name<'_>) -> Result<Backend, Error> {
    let service = target.read_existing(&call.info.namespace, name.name).await?.object;
    let none = || {
        Error::new(
            api::Reason::ServiceUnavailable,
            format!("no endpoints available for service {:?}", call.info.name),
        )
    };
    let ports = service.at(&["spec", "ports"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let port = ports.iter().find(|p| {
        (name.port.is_empty() && ports.len() == 1)
            || p["name"].as_str().unwrap_or("") == name.port
            || p["port"].as_u64().is_some_and(|n| n.to_string() == name.port)
    });
    let port = port.ok_or_else(|| match name.port.parse::<u64>() {
        Ok(number) => {
            let text = format!("no service port {number} found for service {:?}", name.name);
            Error::new(api::Reason::ServiceUnavailable, text)
        }
        Err(_) => none(),
    })?;
    let wanted = port["name"].as_str().unwrap_or("");
    let cache = &target.context.deps.cache;
    let (host, port) =
        service_addresses::choose(cache, &call.info.namespace, name.name, wanted).ok_or_else(none)?;
    Ok(Backend { host, port, security: name.security(), peer: Peer::Proxied })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_scheme_and_port() {
        assert_eq!(Name::parse("a").unwrap(), Name { scheme: "", name: "a", port: "" });
        assert_eq!(Name::parse("a:80").unwrap(), Name { scheme: "", name: "a", port: "80" });
        assert_eq!(Name::parse("https:a:web").unwrap(), Name { scheme: "https", name: "a", port: "web" });
        assert!(Name::parse("a:b:c:d").is_err());
    }

    #[test]
    fn addresses_of_this_machine_alone_are_refused() {
        for allowed in ["10.244.0.7", "192.168.1.2", "8.8.8.8", "fd00::1"] {
            assert!(check_address(allowed).is_ok(), "{allowed}");
        }
        for refused in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "169.254.169.254",
            "fe80::1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "localhost",
            "example.com",
            "",
        ] {
            assert!(check_address(refused).is_err(), "{refused}");
        }
    }
}
