//! The functions that expressions may call: name, receiver, arguments, result. Upstream's library
//! (`k8s.io/apiserver/pkg/cel/library`) and CEL's own.
//!
//! In the texts `list` and `map` are of anything, `T` is the receiver's item, and `opt` an optional of it.

use std::sync::Arc;

use crate::formats;
use crate::syntax::SORT_BY;
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
    ("string", "", "int|uint|double|string|bool|bytes|timestamp|duration|ip|cidr", "string"),
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
    ("lastIndexOf", "string", "string,int", "int"),
    ("lowerAscii", "string", "", "string"),
    ("upperAscii", "string", "", "string"),
    ("replace", "string", "string,string", "string"),
    ("replace", "string", "string,string,int", "string"),
    ("split", "string", "string", "list(string)"),
    ("split", "string", "string,int", "list(string)"),
    ("substring", "string", "int", "string"),
    ("substring", "string", "int,int", "string"),
    ("trim", "string", "", "string"),
    ("format", "string", "list", "string"),
    ("strings.quote", "", "string", "string"),
    ("join", "list(string)", "", "string"),
    ("join", "list(string)", "string", "string"),
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
    (SORT_BY, "list", "list", "list(T)"),
    ("reverse", "list", "", "list(T)"),
    ("flatten", "list(list)", "", "T"),
    ("flatten", "list", "int", "list(dyn)"),
    ("first", "list", "", "opt(T)"),
    ("last", "list", "", "opt(T)"),
    ("unwrapOpt", "list(opt)", "", "list(unwrapped)"),
    ("optional.unwrap", "", "list(opt)", "list(dyn)"),
    ("lists.range", "", "int", "list(int)"),
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
    ("getFullYear", "timestamp", "string", "int"),
    ("getMonth", "timestamp", "string", "int"),
    ("getDate", "timestamp", "string", "int"),
    ("getDayOfMonth", "timestamp", "string", "int"),
    ("getDayOfWeek", "timestamp", "string", "int"),
    ("getDayOfYear", "timestamp", "string", "int"),
    ("getHours", "timestamp", "string", "int"),
    ("getMinutes", "timestamp", "string", "int"),
    ("getSeconds", "timestamp", "string", "int"),
    ("getMilliseconds", "timestamp", "string", "int"),
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
    ("sign", "quantity", "", "int"),
    ("isInteger", "quantity", "", "bool"),
    ("asInteger", "quantity", "", "int"),
    ("asApproximateFloat", "quantity", "", "double"),
    ("add", "quantity", "quantity|int", "quantity"),
    ("sub", "quantity", "quantity|int", "quantity"),
    ("semver", "", "string", "semver"),
    ("semver", "", "string,bool", "semver"),
    ("isSemver", "", "string", "bool"),
    ("isSemver", "", "string,bool", "bool"),
    ("isLessThan", "semver", "semver", "bool"),
    ("isGreaterThan", "semver", "semver", "bool"),
    ("compareTo", "semver", "semver", "int"),
    ("major", "semver", "", "int"),
    ("minor", "semver", "", "int"),
    ("patch", "semver", "", "int"),
    ("format.named", "", "string", "opt(format)"),
    ("validate", "format", "string", "opt(list(string))"),
    ("isIP", "", "string", "bool"),
    ("ip", "", "string", "ip"),
    ("family", "ip", "", "int"),
    ("isLoopback", "ip", "", "bool"),
    ("isUnspecified", "ip", "", "bool"),
    ("isLinkLocalMulticast", "ip", "", "bool"),
    ("isLinkLocalUnicast", "ip", "", "bool"),
    ("isGlobalUnicast", "ip", "", "bool"),
    ("ip.isCanonical", "", "string", "bool"),
    ("isCIDR", "", "string", "bool"),
    ("cidr", "", "string", "cidr"),
    ("containsIP", "cidr", "string|ip", "bool"),
    ("containsCIDR", "cidr", "string|cidr", "bool"),
    ("masked", "cidr", "", "cidr"),
    ("ip", "cidr", "", "ip"),
    ("prefixLength", "cidr", "", "int"),
    ("isURL", "", "string", "bool"),
    ("url", "", "string", "url"),
    ("getScheme", "url", "", "string"),
    ("getHost", "url", "", "string"),
    ("getHostname", "url", "", "string"),
    ("getPort", "url", "", "string"),
    ("getEscapedPath", "url", "", "string"),
    ("getQuery", "url", "", "map(string,list(string))"),
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
pub(crate) const NAMESPACES: [&str; 7] =
    ["sets", "optional", "jsonpatch", "lists", "strings", "format", "ip"];

/// Types that expressions know by names with dots, or by no other name.
pub(crate) const TYPE_NAMES: [&str; 8] = [
    "google.protobuf.Timestamp",
    "google.protobuf.Duration",
    "net.IP",
    "net.CIDR",
    "kubernetes.Quantity",
    "kubernetes.URL",
    "kubernetes.Semver",
    "kubernetes.NamedFormat",
];

/// Whether there is a function of the name at all.
pub(crate) fn known(name: &str) -> bool {
    ALL.iter().any(|(known, ..)| *known == name) || is_format(name)
}

/// Whether the name is that of a function which returns a format.
fn is_format(name: &str) -> bool {
    name.strip_prefix("format.").is_some_and(|format| formats::known(format).is_some())
}

/// The type of a call's result; `None` where no function takes such arguments.
pub(crate) fn result(name: &str, target: Option<&Type>, arguments: &[Type]) -> Option<Type> {
    if is_format(name) {
        return (target.is_none() && arguments.is_empty()).then(|| of_text("format", None));
    }
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
        ("list(list)", Type::List(of)) => matches!(**of, Type::List(_) | Type::Dyn),
        ("list(opt)", Type::List(of)) => matches!(**of, Type::Optional(_) | Type::Dyn),
        ("list(string)", Type::List(of)) => matches!(**of, Type::String | Type::Dyn),
        ("list(list)" | "list(opt)" | "list(string)", _) => false,
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
        "semver" => Type::Library("kubernetes.Semver"),
        "format" => Type::Library("kubernetes.NamedFormat"),
        "authorizer" => Type::Library("kubernetes.authorization.Authorizer"),
        "pathCheck" => Type::Library("kubernetes.authorization.PathCheck"),
        "groupCheck" => Type::Library("kubernetes.authorization.GroupCheck"),
        "resourceCheck" => Type::Library("kubernetes.authorization.ResourceCheck"),
        "decision" => Type::Library("kubernetes.authorization.Decision"),
        "list(string)" => Type::list(Type::String),
        "list(int)" => Type::list(Type::Int),
        "list(dyn)" => Type::list(Type::Dyn),
        "list(unwrapped)" => match item() {
            Type::Optional(of) => Type::List(of),
            _ => Type::list(Type::Dyn),
        },
        "map(string,list(string))" => Type::map(Type::list(Type::String)),
        "opt(format)" => Type::Optional(Arc::new(of_text("format", None))),
        "opt(list(string))" => Type::Optional(Arc::new(Type::list(Type::String))),
        "list(T)" => Type::list(item()),
        "opt(T)" => Type::Optional(Arc::new(item())),
        "opt(dyn)" => Type::Optional(Arc::new(Type::Dyn)),
        "T" => item(),
        _ => Type::Dyn,
    }
}
