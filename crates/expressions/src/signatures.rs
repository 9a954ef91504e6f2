//! The functions that expressions may call: name, receiver, arguments, result. Upstream's library
//! (`k8s.io/apiserver/pkg/cel/library`) and CEL's own.
//!
//! In the texts `list` and `map` are of anything, `T` is the receiver's item, and `opt` an optional of it.

use std::sync::Arc;

use crate::types::Type;

/// What is asked, as a check of the authorizer.
pub(crate) const REQUEST_RESOURCE: &str = "requestResource";

/// Makes a text a key of a JSON pointer. Only expressions that make patches have the function.
pub(crate) const ESCAPE_KEY: &str = "jsonpatch.escapeKey";

type Signature = (&'static str, &'static str, &'static str, &'static str);

const ALL: &[Signature] = &[
    ("size", "", "string", "int"),
    ("size", "", "bytes", "int"),
    ("size", "", "list", "int"),
    ("size", "", "map", "int"),
    ("size", "string", "", "int"),
    ("size", "bytes", "", "int"),
    ("size", "list", "", "int"),
    ("size", "map", "", "int"),
    ("int", "", "int|uint|double|string|timestamp", "int"),
    ("uint", "", "int|uint|double|string", "uint"),
    ("double", "", "int|uint|double|string", "double"),
    ("string", "", "int|uint|double|string|bool|bytes|timestamp|duration", "string"),
    ("bytes", "", "string|bytes", "bytes"),
    ("bool", "", "string|bool", "bool"),
    ("duration", "", "string|duration|int", "duration"),
    ("timestamp", "", "string|timestamp|int", "timestamp"),
    ("dyn", "", "dyn", "dyn"),
    ("type", "", "dyn", "type"),
    ("contains", "string", "string", "bool"),
    ("startsWith", "string", "string", "bool"),
    ("endsWith", "string", "string", "bool"),
    ("matches", "string", "string", "bool"),
    ("matches", "", "string,string", "bool"),
    ("charAt", "string", "int", "string"),
    ("indexOf", "string", "string", "int"),
    ("indexOf", "string", "string,int", "int"),
    ("lastIndexOf", "string", "string", "int"),
    ("lowerAscii", "string", "", "string"),
    ("upperAscii", "string", "", "string"),
    ("replace", "string", "string,string", "string"),
    ("replace", "string", "string,string,int", "string"),
    ("split", "string", "string", "list(string)"),
    ("split", "string", "string,int", "list(string)"),
    ("substring", "string", "int", "string"),
    ("substring", "string", "int,int", "string"),
    ("trim", "string", "", "string"),
    ("reverse", "string", "", "string"),
    ("format", "string", "list", "string"),
    ("join", "list", "", "string"),
    ("join", "list", "string", "string"),
    ("find", "string", "string", "string"),
    ("findAll", "string", "string", "list(string)"),
    ("findAll", "string", "string,int", "list(string)"),
    ("isSorted", "list", "", "bool"),
    ("sum", "list", "", "T"),
    ("min", "list", "", "T"),
    ("max", "list", "", "T"),
    ("indexOf", "list", "dyn", "int"),
    ("lastIndexOf", "list", "dyn", "int"),
    ("slice", "list", "int,int", "list(T)"),
    ("distinct", "list", "", "list(T)"),
    ("sort", "list", "", "list(T)"),
    ("reverse", "list", "", "list(T)"),
    ("getFullYear", "timestamp", "", "int"),
    ("getMonth", "timestamp", "", "int"),
    ("getDate", "timestamp", "", "int"),
    ("getDayOfMonth", "timestamp", "", "int"),
    ("getDayOfWeek", "timestamp", "", "int"),
    ("getDayOfYear", "timestamp", "", "int"),
    ("getHours", "timestamp", "", "int"),
    ("getMinutes", "timestamp", "", "int"),
    ("getSeconds", "timestamp", "", "int"),
    ("getMilliseconds", "timestamp", "", "int"),
    ("getHours", "duration", "", "int"),
    ("getMinutes", "duration", "", "int"),
    ("getSeconds", "duration", "", "int"),
    ("getMilliseconds", "duration", "", "int"),
    ("hasValue", "opt", "", "bool"),
    ("value", "opt", "", "T"),
    ("orValue", "opt", "dyn", "T"),
    ("or", "opt", "opt", "opt(T)"),
    ("quantity", "", "string", "quantity"),
    ("isQuantity", "", "string", "bool"),
    ("isLessThan", "quantity", "quantity", "bool"),
    ("isGreaterThan", "quantity", "quantity", "bool"),
    ("compareTo", "quantity", "quantity", "int"),
    ("isIP", "", "string", "bool"),
    ("ip", "", "string", "ip"),
    ("family", "ip", "", "int"),
    ("isLoopback", "ip", "", "bool"),
    ("isUnspecified", "ip", "", "bool"),
    ("isCIDR", "", "string", "bool"),
    ("cidr", "", "string", "cidr"),
    ("containsIP", "cidr", "string|ip", "bool"),
    ("ip", "cidr", "", "ip"),
    ("prefixLength", "cidr", "", "int"),
    ("isURL", "", "string", "bool"),
    ("url", "", "string", "url"),
    ("getScheme", "url", "", "string"),
    ("getHost", "url", "", "string"),
    ("getHostname", "url", "", "string"),
    ("getPort", "url", "", "string"),
    ("getEscapedPath", "url", "", "string"),
    ("sets.contains", "", "list,list", "bool"),
    ("sets.intersects", "", "list,list", "bool"),
    ("sets.equivalent", "", "list,list", "bool"),
    (ESCAPE_KEY, "", "string", "string"),
    ("optional.of", "", "dyn", "opt(dyn)"),
    ("optional.none", "", "", "opt(dyn)"),
    ("optional.ofNonZeroValue", "", "dyn", "opt(dyn)"),
    ("path", "authorizer", "string", "pathCheck"),
    ("group", "authorizer", "string", "groupCheck"),
    ("serviceAccount", "authorizer", "string,string", "authorizer"),
    (REQUEST_RESOURCE, "authorizer", "", "resourceCheck"),
    ("resource", "groupCheck", "string", "resourceCheck"),
    ("subresource", "resourceCheck", "string", "resourceCheck"),
    ("namespace", "resourceCheck", "string", "resourceCheck"),
    ("name", "resourceCheck", "string", "resourceCheck"),
    ("fieldSelector", "resourceCheck", "string", "resourceCheck"),
    ("labelSelector", "resourceCheck", "string", "resourceCheck"),
    ("check", "pathCheck|resourceCheck", "string", "decision"),
    ("allowed", "decision", "", "bool"),
    ("reason", "decision", "", "string"),
    ("errored", "decision", "", "bool"),
    ("error", "decision", "", "string"),
];

/// Libraries whose functions are called as if on an object.
pub(crate) const NAMESPACES: [&str; 3] = ["sets", "optional", "jsonpatch"];

/// Whether there is a function of the name at all.
pub(crate) fn known(name: &str) -> bool {
    ALL.iter().any(|(known, ..)| *known == name)
}

/// The type of a call's result; `None` where no function takes such arguments.
pub(crate) fn result(name: &str, target: Option<&Type>, arguments: &[Type]) -> Option<Type> {
    ALL.iter().find_map(|(known, receiver, wanted, result)| {
        if *known != name || receiver.is_empty() != target.is_none() {
            return None;
        }
        if target.is_some_and(|target| !takes(receiver, target)) {
            return None;
        }
        let wanted: Vec<&str> = wanted.split(',').filter(|text| !text.is_empty()).collect();
        if wanted.len() != arguments.len() || !wanted.iter().zip(arguments).all(|(w, a)| takes(w, a)) {
            return None;
        }
        Some(of_text(result, target))
    })
}

fn takes(wanted: &str, given: &Type) -> bool {
    wanted.split('|').any(|wanted| match (wanted, given) {
        ("dyn", _) | (_, Type::Dyn) => true,
        ("list", Type::List(_)) | ("opt", Type::Optional(_)) => true,
        ("map", Type::Map(..) | Type::Object(_)) => true,
        ("list" | "opt" | "map", _) => false,
        (simple, given) => of_text(simple, None) == *given,
    })
}

fn of_text(text: &str, target: Option<&Type>) -> Type {
    let item = || match target {
        Some(Type::List(of) | Type::Optional(of)) => Type::clone(of),
        _ => Type::Dyn,
    };
    match text {
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        "type" => Type::Type,
        "quantity" => Type::Library("kubernetes.Quantity"),
        "ip" => Type::Library("net.IP"),
        "cidr" => Type::Library("net.CIDR"),
        "url" => Type::Library("kubernetes.URL"),
        "authorizer" => Type::Library("kubernetes.authorization.Authorizer"),
        "pathCheck" => Type::Library("kubernetes.authorization.PathCheck"),
        "groupCheck" => Type::Library("kubernetes.authorization.GroupCheck"),
        "resourceCheck" => Type::Library("kubernetes.authorization.ResourceCheck"),
        "decision" => Type::Library("kubernetes.authorization.Decision"),
        "list(string)" => Type::list(Type::String),
        "list(T)" => Type::list(item()),
        "opt(T)" => Type::Optional(Arc::new(item())),
        "opt(dyn)" => Type::Optional(Arc::new(Type::Dyn)),
        "T" => item(),
        _ => Type::Dyn,
    }
}
