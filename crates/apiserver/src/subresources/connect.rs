//! The first step of every connection through the server (exec, attach, port-forward, proxy): admission of the
//! request's options with operation CONNECT. Upstream: `ConnectResource` in
//! `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/rest.go`.
//!
//! The options are an object built from the query. The connection follows the object after admission.

use api::{Error, Object};
use serde_json::{Map, Value, json};

use super::companion;
use crate::Limits;
use crate::admission::Operation;
use crate::handlers::storage::Target;
use crate::request::call::Call;
use crate::request::query::Query;

/// Asks every plugin about the connection.
///
/// # Errors
/// The first refusal; 400 for a dry run, which a connection cannot be.
pub(super) async fn admit(target: &Target, call: &Call, options: &mut Object) -> Result<(), Error> {
    if call.query.all("dryRun").next().is_some() {
        return Err(Error::bad_request("dryRun is not supported"));
    }
    let attributes = call.attributes();
    // The connection may last; being let in may not.
    let admitted = companion::admit(target, &attributes, Operation::Connect, options, None);
    Limits::in_time(target.context.limits.request_timeout, admitted).await?
}

/// A stream into a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Attach,
    Exec,
    PortForward,
}

/// The options of a stream into a pod: `PodExecOptions`, `PodAttachOptions` or `PodPortForwardOptions`.
///
/// # Errors
/// 400 for a port that is no number.
pub(super) fn stream_options(stream: Stream, query: &Query) -> Result<Object, Error> {
    let mut fields = Map::new();
    let kind = match stream {
        Stream::PortForward => {
            let ports = query.all("ports").flat_map(|ports| ports.split(','));
            let ports: Vec<i32> = ports.map(port).collect::<Result<_, _>>()?;
            set(&mut fields, "ports", ports.into());
            "PodPortForwardOptions"
        }
        Stream::Attach | Stream::Exec => {
            for field in ["stdin", "stdout", "stderr", "tty"] {
                set(&mut fields, field, query.flag(field).into());
            }
            set(&mut fields, "container", query.get("container").unwrap_or("").into());
            if stream == Stream::Exec {
                set(&mut fields, "command", query.all("command").collect());
                "PodExecOptions"
            } else {
                "PodAttachOptions"
            }
        }
    };
    Ok(object(kind, fields))
}

/// The options of a proxied request (`PodProxyOptions` and the like): the path on the other side.
pub(super) fn proxy_options(kind: &str, path: &str) -> Object {
    let mut fields = Map::new();
    set(&mut fields, "path", path.into());
    object(&format!("{kind}ProxyOptions"), fields)
}

fn port(text: &str) -> Result<i32, Error> {
    text.parse()
        .map_err(|_| Error::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))
}

/// Sets a field unless its value is the empty one of its type, which the API leaves out.
fn set(fields: &mut Map<String, Value>, name: &str, value: Value) {
    let empty = match &value {
        Value::Bool(on) => !on,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    if !empty {
        fields.insert(name.to_owned(), value);
    }
}

fn object(kind: &str, fields: Map<String, Value>) -> Object {
    let mut options = fields;
    options.insert("kind".to_owned(), kind.into());
    options.insert("apiVersion".to_owned(), json!("v1"));
    Object(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_objects_of_upstreams_kinds() {
        let of = |stream, query| stream_options(stream, &Query::parse(query)).map(Object::into_value);
        assert_eq!(
            of(Stream::Exec, "container=c&stdin=true&tty=1&stdout=false&command=ls&command=-l").unwrap(),
            json!({"apiVersion": "v1", "kind": "PodExecOptions", "container": "c", "stdin": true, "tty": true,
                   "command": ["ls", "-l"]})
        );
        assert_eq!(
            of(Stream::Attach, "stdout=true&command=ls").unwrap(),
            json!({"apiVersion": "v1", "kind": "PodAttachOptions", "stdout": true})
        );
        assert_eq!(
            of(Stream::PortForward, "ports=80,81&ports=82").unwrap(),
            json!({"apiVersion": "v1", "kind": "PodPortForwardOptions", "ports": [80, 81, 82]})
        );
        assert_eq!(of(Stream::PortForward, "ports=http").unwrap_err().code(), 400);
        assert_eq!(
            proxy_options("Service", "a/b").into_value(),
            json!({"apiVersion": "v1", "kind": "ServiceProxyOptions", "path": "a/b"})
        );
    }
}
