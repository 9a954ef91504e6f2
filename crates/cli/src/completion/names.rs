//! Names that only the cluster or the kubeconfig knows. Whatever cannot be had is left out: nobody is told of errors in the
//! middle of a line.

use serde_json::Value;

use super::{Directive, Offer};
use crate::builder::{self, Target, Wanted};
use crate::client::Request;
use crate::commands;
use crate::remote::pods;
use crate::session::Session;

/// What a command's arguments are.
enum Argument {
    /// `TYPE NAME…` or `TYPE/NAME…`.
    Objects,
    /// As [`Argument::Objects`], of these kinds; the last tells whether several may be named.
    Some(&'static [&'static str], bool),
    /// The names of one kind's objects, once.
    Named(&'static str),
    /// The name of one object of a kind after the other.
    Each(&'static str),
    /// `POD` or `TYPE/NAME`.
    Pod,
    /// As [`Argument::Pod`], then a container of it.
    PodContainer,
    /// As [`Argument::Pod`], then a port of it.
    PodPort,
    Copied,
    /// An entry of the kubeconfig.
    Entry(&'static str),
    /// These words.
    Words(&'static [&'static str]),
}

use Argument::{Copied, Each, Entry, Named, Objects, Pod, PodContainer, PodPort, Some as Kinds, Words};

const ROLLED: &[&str] = &["deployment", "daemonset", "statefulset"];
const SCALED: &[&str] = &["deployment", "replicaset", "replicationcontroller", "statefulset"];

const ARGUMENTS: [(&str, Argument); 41] = [
    ("get", Objects),
    ("describe", Objects),
    ("debug", Objects),
    ("delete", Objects),
    ("edit", Objects),
    ("label", Objects),
    ("annotate", Objects),
    ("patch", Objects),
    ("apply view-last-applied", Objects),
    ("apply edit-last-applied", Objects),
    ("attach", Pod),
    ("exec", Pod),
    ("logs", PodContainer),
    ("port-forward", PodPort),
    ("cp", Copied),
    ("drain", Each("node")),
    ("cordon", Each("node")),
    ("uncordon", Each("node")),
    ("top node", Named("node")),
    ("top pod", Named("pod")),
    ("taint", Kinds(&["node"], true)),
    ("rollout status", Kinds(ROLLED, false)),
    ("rollout history", Kinds(ROLLED, true)),
    ("rollout restart", Kinds(ROLLED, true)),
    ("rollout undo", Kinds(ROLLED, true)),
    ("rollout pause", Kinds(&["deployment"], true)),
    ("rollout resume", Kinds(&["deployment"], true)),
    ("scale", Kinds(SCALED, true)),
    ("autoscale", Kinds(SCALED, true)),
    ("expose", Kinds(&["pod", "service", "replicationcontroller", "deployment", "replicaset"], true)),
    (
        "set image",
        Kinds(
            &[
                "daemonsets",
                "deployments",
                "pods",
                "cronjobs",
                "replicasets",
                "replicationcontrollers",
                "statefulsets",
            ],
            true,
        ),
    ),
    ("create token", Named("serviceaccount")),
    ("config use-context", Entry("contexts")),
    ("config delete-context", Entry("contexts")),
    ("config rename-context", Entry("contexts")),
    ("config set-context", Entry("contexts")),
    ("config delete-cluster", Entry("clusters")),
    ("config delete-user", Entry("users")),
    ("completion", Words(&["bash", "fish", "powershell", "zsh"])),
    ("alpha kuberc set", Words(&[])),
    ("alpha kuberc view", Words(&[])),
];

/// What may stand as the next argument of a command; `None` where nothing is known of it.
pub fn of_argument(session: &Session, path: &str, given: &[String], typed: &str) -> Option<Offer> {
    let (_, argument) = ARGUMENTS.iter().find(|(command, _)| *command == path)?;
    let once = |words: &dyn Fn() -> Vec<String>| {
        (if given.is_empty() { words() } else { Vec::new() }, Directive::NO_FILES)
    };
    Some(match argument {
        Objects => objects(session, &[], true, given, typed),
        Kinds(kinds, repeat) => objects(session, kinds, *repeat, given, typed),
        Named(kind) => once(&|| names(session, kind, typed)),
        Each(kind) => {
            let mut found = names(session, kind, typed);
            found.retain(|name| !given.contains(name));
            (if given.is_empty() { found } else { Vec::new() }, Directive::NO_FILES)
        }
        Entry(list) => once(&|| entries(session, list, typed)),
        Words(words) => once(&|| beginning(words.iter().copied(), typed)),
        Copied if given.is_empty() => (copied(session, typed), Directive::NO_SPACE),
        Copied => (Vec::new(), Directive::NO_SPACE),
        Pod | PodContainer | PodPort if given.is_empty() => pod(session, typed),
        PodContainer if given.len() == 1 => {
            let found = pod_of(session, &given[0]).map(|pod| containers(&pod, typed));
            (found.unwrap_or_default(), Directive::NO_FILES)
        }
        PodPort if given.len() == 1 => {
            (ports(session, &given[0], typed).unwrap_or_default(), Directive::NO_FILES)
        }
        Pod | PodContainer | PodPort => (Vec::new(), Directive::NO_FILES),
    })
}

const FORMATS: [&str; 14] = [
    "json",
    "yaml",
    "kyaml",
    "name",
    "go-template",
    "go-template-file",
    "template",
    "templatefile",
    "jsonpath",
    "jsonpath-as-json",
    "jsonpath-file",
    "custom-columns",
    "custom-columns-file",
    "wide",
];

/// What may stand as the value of a flag; `None` where nothing is known of it.
pub fn of_flag(session: &Session, name: &str, typed: &str) -> Option<Offer> {
    let words = match (session.command.as_str(), name) {
        (_, "namespace") => names(session, "namespace", typed),
        (_, "context") => entries(session, "contexts", typed),
        (_, "cluster") => entries(session, "clusters", typed),
        (command, "user") if !command.ends_with("binding") && command != "set subject" => {
            entries(session, "users", typed)
        }
        ("get", "output") => beginning(FORMATS, typed),
        ("get" | "patch" | "edit", "subresource") => beginning(["status", "scale", "resize"], typed),
        ("exec" | "logs" | "attach", "container") => {
            let pod = session.arguments().first().and_then(|word| pod_of(session, word));
            pod.map(|pod| containers(&pod, typed)).unwrap_or_default()
        }
        _ => return None,
    };
    Some((words, Directive::NO_FILES))
}

fn beginning<'a>(words: impl IntoIterator<Item = &'a str>, typed: &str) -> Vec<String> {
    words.into_iter().filter(|word| word.starts_with(typed)).map(str::to_owned).collect()
}

/// The objects that `kubectl get WORD` lists.
fn listed(session: &Session, word: &str, namespace: Option<&str>) -> Vec<Value> {
    let wanted = Wanted {
        words: &[word.to_owned()],
        selector: String::new(),
        field_selector: String::new(),
        all_namespaces: false,
    };
    let mut found = Vec::new();
    for target in builder::targets(session, wanted.words).unwrap_or_default() {
        let Target::Kind(resource) = target else { continue };
        match namespace {
            Some(namespace) => {
                let list = session
                    .client()
                    .and_then(|client| client.json(&Request::get(resource.path(Some(namespace)))));
                let items = list.ok().and_then(|list| list["items"].as_array().cloned());
                found.extend(items.unwrap_or_default());
            }
            None => {
                let list = builder::list(session, &resource, &wanted).unwrap_or_default();
                found.extend(list.into_iter().map(|info| info.object));
            }
        }
    }
    found
}

fn name_of(object: &Value) -> Option<String> {
    object["metadata"]["name"].as_str().map(str::to_owned)
}

fn names(session: &Session, kind: &str, typed: &str) -> Vec<String> {
    let names = listed(session, kind, None).iter().filter_map(name_of).collect::<Vec<_>>();
    names.into_iter().filter(|name| name.starts_with(typed)).collect()
}

fn entries(session: &Session, list: &str, typed: &str) -> Vec<String> {
    let Ok(config) = session.kubeconfig() else { return Vec::new() };
    let all = config.merged[list].as_array().into_iter().flatten();
    let mut names: Vec<String> = all.filter_map(|entry| entry["name"].as_str().map(str::to_owned)).collect();
    names.retain(|name| name.starts_with(typed));
    names.sort();
    names
}

/// Kinds, the last of which is being typed: `pods,se`.
fn kinds(session: &Session, typed: &str) -> Vec<String> {
    let (before, last) = typed.split_at(typed.rfind(',').map_or(0, |at| at + 1));
    let Ok(catalogue) = session.catalogue() else { return Vec::new() };
    let found = commands::kinds(catalogue).into_iter().filter(|kind| kind.has_verb("get"));
    let found = found.map(crate::discovery::Resource::group_resource).filter(|kind| kind.starts_with(last));
    found.map(|kind| format!("{before}{kind}")).collect()
}

fn objects(session: &Session, of: &[&str], repeat: bool, given: &[String], typed: &str) -> Offer {
    let kinds = |session: &Session| match of {
        [] => kinds(session, typed),
        of => beginning(of.iter().copied(), typed),
    };
    match given.first() {
        // TYPE NAME…
        Some(kind) if !kind.contains('/') => {
            if !repeat && given.len() > 1 {
                return (Vec::new(), Directive::NO_FILES);
            }
            let mut found = names(session, kind, typed);
            found.retain(|name| !given[1..].contains(name));
            (found, Directive::NO_FILES)
        }
        first => match typed.split_once('/') {
            None if first.is_none() => (kinds(session), Directive::NO_FILES),
            None if repeat => {
                let kinds = kinds(session).into_iter().map(|kind| format!("{kind}/")).collect();
                (kinds, Directive::NO_SPACE_NO_FILES)
            }
            Some((kind, typed)) if repeat || first.is_none() => {
                let found = names(session, kind, typed).into_iter().map(|name| format!("{kind}/{name}"));
                (found.filter(|name| !given.contains(name)).collect(), Directive::NO_FILES)
            }
            _ => (Vec::new(), Directive::NO_FILES),
        },
    }
}

fn pod(session: &Session, typed: &str) -> Offer {
    if let Some((kind, typed)) = typed.split_once('/') {
        let found = names(session, kind, typed).into_iter().map(|name| format!("{kind}/{name}"));
        return (found.collect(), Directive::NO_FILES);
    }
    const WITH_PODS: [&str; 8] = [
        "daemonsets/",
        "deployments/",
        "pods/",
        "jobs/",
        "replicasets/",
        "replicationcontrollers/",
        "services/",
        "statefulsets/",
    ];
    let mut found = names(session, "pod", typed);
    let directive = if found.is_empty() { Directive::NO_SPACE_NO_FILES } else { Directive::NO_FILES };
    found.extend(beginning(WITH_PODS, typed));
    (found, directive)
}

/// The pod of `POD` or `TYPE/NAME`, if there is one now.
fn pod_of(session: &Session, word: &str) -> Option<Value> {
    let object = pods::object(session, &[word.to_owned()]).ok()?;
    pods::present(session, &object).ok().flatten()
}

fn containers(pod: &Value, typed: &str) -> Vec<String> {
    let lists = ["initContainers", "containers"].into_iter();
    let all = lists.flat_map(|list| pod["spec"][list].as_array().into_iter().flatten());
    beginning(all.filter_map(|container| container["name"].as_str()), typed)
}

/// `LOCAL:REMOTE` for every port; what is typed stands for the local one.
fn ports(session: &Session, word: &str, typed: &str) -> Option<Vec<String>> {
    let is_service =
        word.split_once('/').is_some_and(|(kind, _)| matches!(kind, "service" | "services" | "svc"));
    let found: Vec<i64> = if is_service {
        let service = pods::object(session, &[word.to_owned()]).ok()?;
        let ports = service["spec"]["ports"].as_array().into_iter().flatten();
        ports.filter_map(|port| port["port"].as_i64()).collect()
    } else {
        let pod = pod_of(session, word)?;
        let all = pod["spec"]["containers"].as_array().into_iter().flatten();
        let ports = all.flat_map(|container| container["ports"].as_array().into_iter().flatten());
        ports.filter_map(|port| port["containerPort"].as_i64()).collect()
    };
    let local = typed.split(':').next().filter(|local| !local.is_empty());
    let pair = |port: i64| local.map_or(format!("{port}:{port}"), |local| format!("{local}:{port}"));
    Some(found.into_iter().map(pair).filter(|pair| pair.starts_with(typed)).collect())
}

/// What `cp` takes: `NAMESPACE/`, `POD:`, `NAMESPACE/POD:`, paths.
fn copied(session: &Session, typed: &str) -> Vec<String> {
    if typed.starts_with(['/', '.', '~']) || typed.contains(':') {
        return Vec::new();
    }
    if let Some((namespace, _)) = typed.split_once('/') {
        let pods = listed(session, "pod", Some(namespace));
        let found = pods.iter().filter_map(name_of).map(|name| format!("{namespace}/{name}:"));
        return found.filter(|pod| pod.starts_with(typed)).collect();
    }
    let mut found: Vec<String> =
        names(session, "namespace", typed).into_iter().map(|name| format!("{name}/")).collect();
    found.extend(names(session, "pod", typed).into_iter().map(|name| format!("{name}:")));
    if typed.is_empty() {
        found.extend(["./".to_owned(), "/".to_owned()]);
    } else if !found.is_empty() {
        let mut files: Vec<String> = std::fs::read_dir(".")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                Some(if entry.path().is_dir() { format!("{name}/") } else { name })
            })
            .filter(|name| name.starts_with(typed))
            .collect();
        files.sort();
        found.extend(files);
    }
    found
}
