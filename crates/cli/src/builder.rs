//! Which objects a command is about: words on the command line, files, standard input, selectors.

mod glob;

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::client::{Request, name_part, namespace_part};
use crate::discovery::Resource;
use crate::failure::{Failure, quoted};
use crate::kubeconfig::os_words;
use crate::session::Session;

pub const FILES: &str = "f filename list, k kustomize text, R recursive bool=false";

/// Of commands that take files of JSON and YAML, but neither folders of folders nor kustomizations.
pub const FILES_ALONE: &str = "f filename list";

/// Longest manifest that is read, in bytes.
const LONGEST_BYTES: u64 = 256 << 20;

/// One object that is meant, with what a file says of it or what the server has.
#[derive(Debug, Clone)]
pub struct Info {
    pub resource: Resource,
    /// Empty for kinds without namespaces.
    pub namespace: String,
    pub name: String,
    /// Where it was read: a path, `STDIN`; empty for words.
    pub source: String,
    /// Null where only the name is known.
    pub object: Value,
}

impl Info {
    /// The object's own path.
    ///
    /// # Errors
    /// When its name or its namespace would lead elsewhere.
    pub fn path(&self) -> Result<String, Failure> {
        Ok(format!("{}/{}", self.collection()?, name_part(&self.name)?))
    }

    /// The path of the kind's objects where this one is.
    ///
    /// # Errors
    /// When its namespace would lead elsewhere.
    pub fn collection(&self) -> Result<String, Failure> {
        self.scope().map(namespace_part).transpose()?;
        Ok(self.resource.path(self.scope()))
    }

    pub fn scope(&self) -> Option<&str> {
        self.resource.namespaced.then_some(self.namespace.as_str())
    }

    /// `deployment.apps/web`.
    pub fn shown(&self) -> String {
        format!("{}/{}", self.resource.printed(), self.name)
    }

    pub fn of(resource: &Resource, object: Value) -> Self {
        let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
        let (namespace, name) = (text("namespace"), text("name"));
        Self { resource: resource.clone(), namespace, name, source: String::new(), object }
    }
}

/// What words on the command line mean.
#[derive(Debug, Clone)]
pub enum Target {
    /// All objects of a kind that selectors let through.
    Kind(Resource),
    Named(Resource, String),
}

/// Reads `TYPE[,TYPE…] [NAME…]` and `TYPE/NAME…`.
///
/// # Errors
/// When they are mixed, or a word means no kind.
pub fn targets(session: &Session, words: &[String]) -> Result<Vec<Target>, Failure> {
    if words.iter().any(|word| word.contains('/')) {
        return by_pairs(session, words);
    }
    let Some(kinds) = words.first() else { return Ok(Vec::new()) };
    let mut resources: Vec<Resource> = Vec::new();
    for word in kinds.split(',').filter(|word| !word.is_empty() || kinds.split(',').count() == 1) {
        let category = session.catalogue()?.category(word);
        if category.is_empty() {
            resources.push(session.resource(word)?);
        } else {
            resources.extend(category.into_iter().cloned());
        }
    }
    let mut kinds: Vec<Resource> = Vec::new();
    for resource in resources {
        if !kinds.contains(&resource) {
            kinds.push(resource);
        }
    }
    if words.len() == 1 {
        return Ok(kinds.into_iter().map(Target::Kind).collect());
    }
    let named =
        |kind: &Resource| words[1..].iter().map(|name| Target::Named(kind.clone(), name.clone())).collect();
    Ok(kinds.iter().flat_map(|kind| -> Vec<Target> { named(kind) }).collect())
}

fn by_pairs(session: &Session, words: &[String]) -> Result<Vec<Target>, Failure> {
    let mut targets = Vec::new();
    for word in words {
        let Some((kind, name)) = word.split_once('/') else {
            return Err(Failure::message(
                "there is no need to specify a resource type as a separate argument when passing arguments in \
                 resource/name form (e.g. 'kubectl get resource/<resource_name>' instead of 'kubectl get resource \
                 resource/<resource_name>'",
            ));
        };
        if name.contains('/') {
            return Err(Failure::message("arguments in resource/name form may not have more than one slash"));
        }
        if kind.is_empty() || name.is_empty() || kind.contains(',') {
            return Err(Failure::message(
                "arguments in resource/name form must have a single resource and name",
            ));
        }
        targets.push(Target::Named(session.resource(kind)?, name.to_owned()));
    }
    Ok(targets)
}

/// The objects of files: manifests, folders of manifests, URLs, `-`.
///
/// # Errors
/// When a file is not there, is no manifest, or has a kind that the server has not.
pub fn manifests(session: &Session) -> Result<Vec<Info>, Failure> {
    if !session.flags.text("kustomize").is_empty() {
        return Err(Failure::message("knarr kubectl does not know \"-k\" yet; use the stock kubectl"));
    }
    let mut infos = Vec::new();
    let mut failures = Vec::new();
    for (object, source) in texts(session)? {
        match info(session, object, &source) {
            Ok(info) => infos.push(info),
            Err(failure) => failures.push(failure),
        }
    }
    // The other commands have words of their own for it, or do nothing.
    let needs_one = !["delete", "get", "replace"].contains(&session.command.as_str());
    if infos.is_empty() && failures.is_empty() && needs_one {
        return Err(Failure::message(
            "no objects passed to ".to_owned() + session.command.split(' ').next().unwrap_or(""),
        ));
    }
    Failure::all(failures)?;
    Ok(infos)
}

/// The objects of files as they are there, each with where it was read.
///
/// # Errors
/// When a file is not there, or cannot be read.
pub fn texts(session: &Session) -> Result<Vec<(Value, String)>, Failure> {
    let mut objects = Vec::new();
    for name in session.flags.list("filename") {
        for (source, text) in read(session, name)? {
            for document in documents(&source, &text)? {
                objects.extend(flattened(document).into_iter().map(|object| (object, source.clone())));
            }
        }
    }
    Ok(objects)
}

/// The texts of a file, folder, address or standard input, each with where it was read.
///
/// # Errors
/// When it cannot be read.
pub fn read(session: &Session, name: &str) -> Result<Vec<(String, String)>, Failure> {
    if name == "-" {
        let mut text = String::new();
        let read = std::io::stdin().lock().take(LONGEST_BYTES).read_to_string(&mut text);
        read.map_err(|e| Failure::message(format!("STDIN: {e}")))?;
        return Ok(vec![("STDIN".into(), text)]);
    }
    if name.starts_with("http://") || name.starts_with("https://") {
        return Ok(vec![(name.to_owned(), crate::fetch::url(session, name)?)]);
    }
    let missing = || Failure::message(format!("the path {} does not exist", quoted(name)));
    let path = Path::new(name);
    if name.contains(['*', '?', '[']) && !path.exists() {
        let found = glob::paths(name);
        if found.is_empty() {
            return Err(missing());
        }
        let mut all = Vec::new();
        for file in found {
            all.extend(read(session, &file)?);
        }
        return Ok(all);
    }
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => missing(),
        _ => Failure::message(format!(
            "the path {} cannot be accessed: stat {name}: {}",
            quoted(name),
            os_words(&error)
        )),
    })?;
    let mut files = Vec::new();
    if metadata.is_dir() {
        listed(path, session.flags.bool("recursive"), &mut files)?;
        if files.is_empty() {
            return Err(Failure::message(format!(
                "error reading [{name}]: recognized file extensions are [.json .yaml .yml]"
            )));
        }
    } else {
        files.push(path.to_owned());
    }
    files.into_iter().map(|file| Ok((file.display().to_string(), text(&file)?))).collect()
}

fn listed(folder: &Path, recursive: bool, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::message(format!("open {}: {}", folder.display(), os_words(&e)));
    let mut entries: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        entries.push(entry.map_err(failed)?.path());
    }
    entries.sort();
    for path in entries {
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() {
            if recursive && !path.is_symlink() {
                listed(&path, true, files)?;
            }
        } else if matches!(extension, Some("json" | "yaml" | "yml")) {
            files.push(path);
        }
    }
    Ok(())
}

/// A file's text.
///
/// # Errors
/// When it cannot be read.
pub fn text(file: &Path) -> Result<String, Failure> {
    let failed = |e: std::io::Error| Failure::message(format!("open {}: {}", file.display(), os_words(&e)));
    let mut text = String::new();
    let opened = std::fs::File::open(file).map_err(failed)?;
    opened.take(LONGEST_BYTES).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// The documents of a file: JSON values, one after the other, or YAML's.
fn documents(source: &str, text: &str) -> Result<Vec<Value>, Failure> {
    let wrong = |kind: &str, why: String| {
        Failure::message(format!("error parsing {source}: error converting {kind} to JSON: {why}"))
    };
    if text.trim_start().starts_with('{') {
        let values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        if let Ok(values) = values.collect::<Result<Vec<_>, _>>() {
            return Ok(values);
        }
    }
    let mut values = Vec::new();
    for part in yaml_parts(text) {
        let value: Value = serde_saphyr::from_str(&part).map_err(|e| wrong("YAML", e.to_string()))?;
        if !value.is_null() {
            values.push(value);
        }
    }
    Ok(values)
}

/// The documents of a YAML file, divided by lines of `---`. Each starts where it does in the file, after as many empty
/// lines, so that what is said of a line names the file's.
fn yaml_parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for (number, line) in text.lines().enumerate() {
        let divides = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.trim().is_empty() || rest.trim().starts_with('#'));
        if divides {
            parts.push("\n".repeat(number + 1));
        } else if let Some(part) = parts.last_mut() {
            part.push_str(line);
            part.push('\n');
        }
    }
    let is_empty =
        |part: &String| part.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
    parts.retain(|part| !is_empty(part));
    parts
}

/// The items of a list, else the object itself.
fn flattened(document: Value) -> Vec<Value> {
    let is_list =
        document["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) && document["items"].is_array();
    match document {
        Value::Object(mut map) if is_list => match map.remove("items") {
            Some(Value::Array(items)) => items.into_iter().flat_map(flattened).collect(),
            _ => Vec::new(),
        },
        other => vec![other],
    }
}

fn info(session: &Session, object: Value, source: &str) -> Result<Info, Failure> {
    let field = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (field("apiVersion"), field("kind"));
    let missing = |what: &str| {
        let shown = crate::gojson::compact(&object);
        let why = format!("Object '{what}' is missing in '{shown}'");
        Failure::message(format!(
            "error validating {}: error validating data: [{}]; if you choose to ignore these errors, turn validation off with --validate=false",
            quoted(source),
            why
        ))
    };
    if kind.is_empty() || api_version.is_empty() {
        return Err(match (kind.is_empty(), session.command.as_str()) {
            (true, "create" | "apply") if api_version.is_empty() => Failure::message(format!(
                "error validating {}: error validating data: [apiVersion not set, kind not set]; if you choose to ignore these errors, turn validation off with --validate=false",
                quoted(source)
            )),
            (true, "create" | "apply") => Failure::message(format!(
                "error validating {}: error validating data: kind not set; if you choose to ignore these errors, turn validation off with --validate=false",
                quoted(source)
            )),
            (false, "create" | "apply") => Failure::message(format!(
                "error validating {}: error validating data: apiVersion not set; if you choose to ignore these errors, turn validation off with --validate=false",
                quoted(source)
            )),
            (true, _) => missing("Kind"),
            (false, _) => missing("apiVersion"),
        });
    }
    let Some(resource) = session.of_kind(&api_version, &kind)? else {
        let text = format!(
            "resource mapping not found for name: {} namespace: {} from {}: no matches for kind {} in version {}\nensure CRDs are installed first",
            quoted(object["metadata"]["name"].as_str().unwrap_or_default()),
            quoted(object["metadata"]["namespace"].as_str().unwrap_or_default()),
            quoted(source),
            quoted(&kind),
            quoted(&api_version)
        );
        // Where several objects are read, what failed is said without a prefix.
        return Err(if session.command == "get" { Failure::Verbatim(text) } else { Failure::Message(text) });
    };
    let mut info = Info::of(&resource, object);
    source.clone_into(&mut info.source);
    namespaced(session, &mut info)?;
    Ok(info)
}

/// An object of a file without a namespace is in the one that counts; one of another namespace than asked for is refused.
fn namespaced(session: &Session, info: &mut Info) -> Result<(), Failure> {
    if !info.resource.namespaced {
        info.namespace.clear();
        return Ok(());
    }
    let wanted = session.namespace()?;
    if info.namespace.is_empty() {
        wanted.clone_into(&mut info.namespace);
        if let Some(metadata) = info.object["metadata"].as_object_mut() {
            metadata.insert("namespace".into(), wanted.into());
        } else {
            info.object["metadata"] = serde_json::json!({"namespace": wanted});
        }
    } else if session.settings()?.namespace_by_flag && info.namespace != wanted {
        return Err(Failure::message(format!(
            "the namespace from the provided object {} does not match the namespace {}. You must pass '--namespace={}' to perform this operation.",
            quoted(&info.namespace),
            quoted(wanted),
            info.namespace
        )));
    }
    Ok(())
}

/// The objects that files or words mean, read from the server unless files say them.
pub struct Wanted<'a> {
    pub words: &'a [String],
    pub selector: String,
    pub field_selector: String,
    pub all_namespaces: bool,
}

/// Reads the objects from the server.
///
/// # Errors
/// In the first place what is wrong with the words; then, beside what was found, what was not.
pub fn fetch(session: &Session, wanted: &Wanted<'_>) -> Result<(Vec<Info>, Vec<Failure>), Failure> {
    let mut infos = Vec::new();
    let mut failures = Vec::new();
    let client = session.client()?;
    for target in targets(session, wanted.words)? {
        match target {
            Target::Named(resource, name) => {
                checked_name(wanted)?;
                let scope = resource.namespaced.then(|| session.namespace()).transpose()?;
                let path = resource.object_path(scope, &name);
                match path.and_then(|path| client.json(&Request::get(path))) {
                    Ok(object) => infos.push(Info::of(&resource, object)),
                    Err(failure) => failures.push(failure),
                }
            }
            Target::Kind(resource) => match list(session, &resource, wanted) {
                Ok(found) => infos.extend(found),
                Err(failure) => failures.push(failure),
            },
        }
    }
    Ok((infos, failures))
}

/// The objects of files as the server has them.
///
/// # Errors
/// When one is not there, or the files cannot be read.
pub fn present(session: &Session) -> Result<Vec<Info>, Failure> {
    let mut infos = manifests(session)?;
    for info in &mut infos {
        info.object = session.client()?.json(&Request::get(info.path()?))?;
    }
    Ok(infos)
}

/// The objects of files or words, as the server has them. A kind alone is not enough, unless a selector is given or
/// `all`.
///
/// # Errors
/// As [`fetch`].
pub fn chosen(
    session: &Session,
    wanted: &Wanted<'_>,
    all: bool,
) -> Result<(Vec<Info>, Vec<Failure>), Failure> {
    let files = !session.flags.list("filename").is_empty() || !session.flags.text("kustomize").is_empty();
    if files && wanted.words.is_empty() {
        return Ok((present(session)?, Vec::new()));
    }
    if files {
        return Err(Failure::message(
            "when paths, URLs, or stdin is provided as resource input, you may not specify resource arguments as well",
        ));
    }
    if wanted.words.is_empty() {
        return Err(Failure::message(
            "You must provide one or more resources by argument or filename.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'\n   '<resource> <name>'\n   '<resource>'",
        ));
    }
    let selecting = all || !wanted.selector.is_empty() || !wanted.field_selector.is_empty();
    if wanted.words.len() == 1 && !wanted.words[0].contains('/') && !selecting {
        return Err(Failure::message("resource(s) were provided, but no name was specified"));
    }
    fetch(session, wanted)
}

/// The objects that words name, as the server has them, or those of files, as the files say them. Flags of other
/// meaning, such as a `--selector`, choose none.
///
/// # Errors
/// As [`fetch`].
pub fn named_or_said(session: &Session) -> Result<(Vec<Info>, Vec<Failure>), Failure> {
    let wanted = Wanted {
        words: session.arguments(),
        selector: String::new(),
        field_selector: String::new(),
        all_namespaces: false,
    };
    if wanted.words.is_empty() && !session.flags.list("filename").is_empty() {
        return Ok((manifests(session)?, Vec::new()));
    }
    chosen(session, &wanted, false)
}

/// Names cannot be given beside selectors or for all namespaces.
pub fn checked_name(wanted: &Wanted<'_>) -> Result<(), Failure> {
    if !wanted.selector.is_empty() || !wanted.field_selector.is_empty() {
        return Err(Failure::message("name cannot be provided when a selector is specified"));
    }
    if wanted.all_namespaces {
        return Err(Failure::message("a resource cannot be retrieved by name across all namespaces"));
    }
    Ok(())
}

/// A refused list says what it was asked for.
pub fn unlisted(failure: Failure, resource: &Resource, selector: &str, field_selector: &str) -> Failure {
    let Failure::Status(mut status) = failure else { return failure };
    if status["code"] == 400 || status["code"] == 404 {
        let what = format!("{}/{}, Resource={}", resource.group, resource.version, resource.plural);
        let message = status["message"].as_str().unwrap_or_default();
        status["message"] = if selector.is_empty() && field_selector.is_empty() {
            format!("Unable to list {}: {message}", quoted(&what)).into()
        } else {
            let (labels, fields) = (quoted(selector), quoted(field_selector));
            format!(
                "Unable to find {} that match label selector {labels}, field selector {fields}: {message}",
                quoted(&what)
            )
            .into()
        };
    }
    Failure::Status(status)
}

/// The objects of a kind, each with its `apiVersion` and `kind`.
///
/// # Errors
/// When the server does not list them.
pub fn list(session: &Session, resource: &Resource, wanted: &Wanted<'_>) -> Result<Vec<Info>, Failure> {
    let scope = if wanted.all_namespaces || !resource.namespaced { None } else { Some(session.namespace()?) };
    let mut infos = Vec::new();
    let mut token = String::new();
    loop {
        let request = Request::get(resource.path(scope))
            .with("labelSelector", &wanted.selector)
            .with("fieldSelector", &wanted.field_selector)
            .with("limit", "500")
            .with("continue", &token);
        let page = session.client()?.json(&request);
        let mut page = page.map_err(|failure| {
            unlisted(failure, resource, wanted.selector.as_str(), &wanted.field_selector)
        })?;
        let items = std::mem::take(&mut page["items"]);
        for mut item in items.as_array().cloned().unwrap_or_default() {
            item["apiVersion"] = resource.api_version().into();
            item["kind"] = resource.kind.as_str().into();
            infos.push(Info::of(resource, item));
        }
        page["metadata"]["continue"].as_str().unwrap_or_default().clone_into(&mut token);
        if token.is_empty() {
            return Ok(infos);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_are_told_apart() {
        let text = "# first\n---\na: 1\n--- # second\nb: 2\n---\n\n---\n# none\n";
        assert_eq!(documents("f", text).expect("read"), [json!({"a": 1}), json!({"b": 2})]);
        assert_eq!(documents("f", "{\"a\": 1}\n{\"b\": 2}").expect("read").len(), 2);
        assert_eq!(documents("f", "{a: 1}").expect("YAML with braces"), [json!({"a": 1})]);
        assert!(documents("f", "a: [").is_err());
    }

    #[test]
    fn an_object_without_a_name_has_no_path() {
        let resource = Resource {
            group: String::new(),
            version: "v1".into(),
            plural: "pods".into(),
            singular: "pod".into(),
            kind: "Pod".into(),
            namespaced: true,
            verbs: Vec::new(),
            short_names: Vec::new(),
            categories: Vec::new(),
        };
        let path = |metadata: Value| Info::of(&resource, json!({"metadata": metadata})).path();
        let named = path(json!({"name": "a:b", "namespace": "n"})).expect("a path");
        assert_eq!(named, "/api/v1/namespaces/n/pods/a%3Ab");
        for (metadata, why) in [
            (json!({"namespace": "n"}), "resource name may not be empty"),
            (json!({"name": "..", "namespace": "n"}), "invalid resource name \"..\": [may not be '..']"),
            (json!({"name": "a", "namespace": "../n"}), "invalid namespace \"../n\": [may not contain '/']"),
        ] {
            assert_eq!(path(metadata).expect_err(why).plain(), why);
        }
    }

    #[test]
    fn lists_are_opened() {
        let list = json!({"kind": "List", "items": [{"kind": "PodList", "items": [{"kind": "Pod"}]}, {"kind": "Node"}]});
        assert_eq!(flattened(list), [json!({"kind": "Pod"}), json!({"kind": "Node"})]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(---\n|[a-z]{1,3}: ?|[\\[\\]{}\"'&*|>-]|\n| ){0,20}") {
            let _ = documents("f", &text);
        }
    }
}
