//! `debug`: an ephemeral container in a pod, a changed copy of a pod, or a pod in a node's own namespaces.

mod profiles;

use http::Method;
use serde_json::{Map, Value, json};

use super::Command;
use super::exec::{Attaching, attach_to};
use super::generate::attached;
use crate::builder::{self, FILES_ALONE, Info};
use crate::client::{Request, escaped};
use crate::failure::{Failure, quoted};
use crate::output::{err, out};
use crate::overlay;
use crate::remote::pods;
use crate::session::Session;
use crate::write::{DryRun, STRATEGIC, patch};
use profiles::{Profile, Style};

pub const COMMANDS: [Command; 1] = [Command {
    words: "debug",
    flags: &[
        FILES_ALONE,
        "arguments-only bool=false, attach bool=false, c container text, copy-to text, custom text, env list, \
         image text, image-pull-policy text, keep-annotations bool=false, keep-init-containers bool=true, \
         keep-labels bool=false, keep-liveness bool=false, keep-readiness bool=false, keep-startup bool=false, \
         profile text=legacy, q quiet bool=false, replace bool=false, same-node bool=false, set-image list, \
         share-processes bool=true, i stdin bool=false, target text, t tty bool=false",
    ],
    usage: "(POD | TYPE[[.VERSION].GROUP]/NAME) [ -- COMMAND [args...] ]",
    about: "Create debugging sessions for troubleshooting workloads and nodes",
    run,
}];

/// What is asked for.
struct Asked<'a> {
    session: &'a Session,
    /// The command of the container, behind `--`.
    command: &'a [String],
    environment: Vec<Value>,
    images: Map<String, Value>,
    profile: Profile,
    /// Fields that are laid over the container.
    custom: Option<Value>,
}

fn run(session: &Session) -> Result<(), Failure> {
    let words = session.arguments();
    let (names, command) = match session.flags.dash {
        Some(dash) if words.len() > dash => words.split_at(dash),
        _ => words.split_at(words.len()),
    };
    let asked = Asked {
        session,
        command,
        environment: pairs(session, "env")?
            .into_iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect(),
        images: pairs(session, "set-image")?,
        profile: Profile::named(session.flags.text("profile"))?,
        custom: custom(session.flags.text("custom"))?,
    };
    asked.checked(names)?;
    for info in targets(session, names)? {
        let made = match (info.resource.group.as_str(), info.resource.kind.as_str()) {
            ("", "Node") => asked.on_node(&info.object)?,
            ("", "Pod") if session.flags.text("copy-to").is_empty() => asked.in_pod(&info)?,
            ("", "Pod") => asked.copied(&info.object)?,
            _ => {
                let kind = format!("{}, Kind={}", info.resource.api_version(), info.resource.kind);
                let kind = if info.resource.group.is_empty() { format!("/{kind}") } else { kind };
                return Err(Failure::message(format!("{} not supported by debug", quoted(&kind))));
            }
        };
        let flags = &session.flags;
        let attach = if flags.changed("attach") { flags.bool("attach") } else { flags.bool("stdin") };
        if let (true, (pod, Some(container))) = (attach, made) {
            attached_to(session, &pod, &container)?;
        }
    }
    Ok(())
}

/// `NAME=VALUE` pairs of a flag.
fn pairs(session: &Session, flag: &str) -> Result<Map<String, Value>, Failure> {
    let mut pairs = Map::new();
    for pair in session.flags.list(flag) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(Failure::Verbatim(format!(
                "error: invalid argument {} for \"--{flag}\" flag: {pair} must be formatted as key=value\nSee 'kubectl debug --help' for usage.",
                quoted(pair)
            )));
        };
        pairs.insert(name.to_owned(), value.into());
    }
    Ok(pairs)
}

fn custom(file: &str) -> Result<Option<Value>, Failure> {
    if file.is_empty() {
        return Ok(None);
    }
    let text = builder::text(std::path::Path::new(file)).map_err(|failure| {
        let why = failure.plain();
        Failure::message(format!("must pass a container spec json file for custom profile: {why}"))
    })?;
    let wrong =
        |why: String| Failure::message(format!("{file} does not contain a valid container spec: {why}"));
    let container: Value = serde_saphyr::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    if !container.is_object() {
        return Err(wrong("it is no object".to_owned()));
    }
    let fixed = ["name", "command", "image", "lifecycle", "volumeDevices"];
    let is_set = |key: &&str| match &container[*key] {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    };
    if fixed.iter().any(is_set) {
        return Err(Failure::message(
            "name, command, image, lifecycle and volume devices are not modifiable via custom profile",
        ));
    }
    Ok(Some(container))
}

fn targets(session: &Session, names: &[String]) -> Result<Vec<Info>, Failure> {
    let mut infos = Vec::new();
    if !session.flags.list("filename").is_empty() {
        infos.extend(builder::manifests(session)?);
    }
    for name in names {
        let words =
            if name.contains('/') { vec![name.clone()] } else { vec!["pods".to_owned(), name.clone()] };
        let wanted = builder::Wanted {
            words: &words,
            selector: String::new(),
            field_selector: String::new(),
            all_namespaces: false,
        };
        let (found, failures) = builder::fetch(session, &wanted)?;
        Failure::all(failures)?;
        infos.extend(found);
    }
    Ok(infos)
}

const POLICIES: [&str; 4] = ["", "Always", "IfNotPresent", "Never"];

impl Asked<'_> {
    fn flag(&self, name: &str) -> &str {
        self.session.flags.text(name)
    }

    fn checked(&self, names: &[String]) -> Result<(), Failure> {
        let flags = &self.session.flags;
        let no = |why: &str| Err(Failure::message(why));
        let (image, container) = (self.flag("image"), self.flag("container"));
        if flags.changed("attach") && flags.bool("attach") && image.is_empty() && container.is_empty() {
            return no(
                "you must specify --container or create a new container using --image in order to attach.",
            );
        }
        if !self.flag("copy-to").is_empty() {
            if image.is_empty() && self.images.is_empty() && self.command.is_empty() {
                return no("you must specify --image, --set-image or command arguments.");
            }
            if !self.command.is_empty() && container.is_empty() && image.is_empty() {
                return no("you must specify an existing container or a new image when specifying args.");
            }
        } else if flags.bool("replace") {
            return no("--replace may only be used with --copy-to.");
        } else if flags.bool("same-node") {
            return no("--same-node may only be used with --copy-to.");
        } else if !self.images.is_empty() {
            return no("--set-image may only be used with --copy-to.");
        } else if image.is_empty() {
            return no("you must specify --image when not using --copy-to.");
        }
        if !image.is_empty() && !is_image(image) {
            let why = format!("invalid image name {}: invalid reference format", quoted(image));
            return Err(Failure::message(why));
        }
        if names.is_empty() && flags.list("filename").is_empty() {
            return no("NAME or filename is required for debug");
        }
        if !POLICIES.contains(&self.flag("image-pull-policy")) {
            let why = format!("invalid image pull policy: {}", self.flag("image-pull-policy"));
            return Err(Failure::message(why));
        }
        for (name, image) in &self.images {
            let image = image.as_str().unwrap_or_default();
            if !is_image(image) {
                return Err(Failure::message(format!(
                    "invalid image name {} for container {}: invalid reference format",
                    quoted(image),
                    quoted(name)
                )));
            }
        }
        self.told()
    }

    /// What is said before anything is done.
    fn told(&self) -> Result<(), Failure> {
        let flags = &self.session.flags;
        let target = self.flag("target");
        if !target.is_empty() {
            if !self.flag("copy-to").is_empty() {
                return Err(Failure::message(
                    "--target is incompatible with --copy-to. Use --share-processes instead.",
                ));
            }
            if !flags.bool("quiet") {
                out(&format!(
                    "Targeting container {}. If you don't see processes from this container it may be because the container runtime doesn't support this feature.\n",
                    quoted(target)
                ))?;
            }
        }
        if flags.bool("tty") && !flags.bool("stdin") {
            return Err(Failure::message("-i/--stdin is required for containers with -t/--tty=true"));
        }
        if self.profile == Profile::Legacy {
            err(
                "--profile=legacy is deprecated and will be removed in the future. It is recommended to explicitly specify a profile, for example \"--profile=general\".\n",
            );
        }
        Ok(())
    }

    /// A new container of this name.
    fn container(&self, name: &str) -> Value {
        let mut container = json!({"name": name, "resources": {}, "terminationMessagePolicy": "File"});
        self.change(&mut container);
        if self.session.flags.bool("arguments-only") && !self.command.is_empty() {
            container["args"] = json!(self.command);
        }
        container
    }

    /// What the flags say of a container, a new one or one that is there.
    fn change(&self, container: &mut Value) {
        let flags = &self.session.flags;
        if !self.command.is_empty() {
            if flags.bool("arguments-only") {
                container["args"] = json!(self.command);
            } else {
                container["command"] = json!(self.command);
                without(container, "args");
            }
        }
        if !self.environment.is_empty() {
            container["env"] = json!(self.environment);
        }
        for (field, flag) in [("image", "image"), ("imagePullPolicy", "image-pull-policy")] {
            if !self.flag(flag).is_empty() {
                container[field] = self.flag(flag).into();
            }
        }
        for field in ["stdin", "tty"] {
            without(container, field);
            if flags.bool(field) {
                container[field] = true.into();
            }
        }
    }

    /// The name of the new container: one that no container of the pod has.
    fn name(&self, pod: &Value) -> Result<String, Failure> {
        if !self.flag("container").is_empty() {
            return Ok(self.flag("container").to_owned());
        }
        let name = loop {
            let name = format!("debugger-{}", base::random::name_suffix(5));
            if pods::container(pod, &name).is_none() {
                break name;
            }
        };
        if !self.session.flags.bool("quiet") {
            out(&format!("Defaulting debug container name to {name}.\n"))?;
        }
        Ok(name)
    }

    /// Lays the custom fields over the container of this name.
    fn customized(&self, pod: &mut Value, list: &str, name: &str) -> Result<(), Failure> {
        let Some(custom) = &self.custom else { return Ok(()) };
        let mut custom = custom.clone();
        custom["name"] = name.into();
        let change = json!({"spec": {list: [custom]}});
        *pod = overlay::laid(pod, &change, overlay::Kind::Strategic)?;
        Ok(())
    }

    fn in_pod(&self, info: &Info) -> Result<(Value, Option<String>), Failure> {
        let mut pod = info.object.clone();
        let name = self.name(&pod)?;
        let mut container = self.container(&name);
        if !self.flag("target").is_empty() {
            container["targetContainerName"] = self.flag("target").into();
        }
        let list = "ephemeralContainers";
        push(&mut pod["spec"][list], container);
        self.profile.apply(self.session, &mut pod, list, &name, Style::Ephemeral);
        self.customized(&mut pod, list, &name)?;
        let last = pod["spec"][list].as_array().and_then(|all| all.last()).cloned();
        warn(&last.unwrap_or_default(), &pod);
        // Of two of one name, the server refuses to change the one that is there.
        let container = pods::container(&pod, &name).cloned().unwrap_or_default();
        // A new item comes first unless the patch says otherwise.
        let order = pod["spec"][list].as_array().into_iter().flatten();
        let order: Vec<Value> = order.map(|container| json!({"name": container["name"]})).collect();
        let change = json!({"spec": {format!("$setElementOrder/{list}"): order, list: [container]}});
        let change = change.to_string().into_bytes();
        let mut request = patch(info, STRATEGIC, change, "", DryRun::None)?;
        request.path.push_str("/ephemeralcontainers");
        match self.session.client()?.json(&request) {
            Ok(pod) => Ok((pod, Some(name))),
            // Without the part of the API, the answer names no pod.
            Err(Failure::Status(status)) if status["code"] == 404 && status["details"]["name"].is_null() => {
                let why = quoted(status["message"].as_str().unwrap_or_default());
                Err(Failure::message(format!(
                    "ephemeral containers are disabled for this cluster (error from server: {why})"
                )))
            }
            Err(failure) => Err(failure),
        }
    }

    fn on_node(&self, node: &Value) -> Result<(Value, Option<String>), Failure> {
        let node = node["metadata"]["name"].as_str().unwrap_or_default();
        let container = if self.flag("container").is_empty() { "debugger" } else { self.flag("container") };
        let name = format!("node-debugger-{node}-{}", base::random::name_suffix(5));
        if !self.session.flags.bool("quiet") {
            out(&format!("Creating debugging pod {name} with container {container} on node {node}.\n"))?;
        }
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "kubectl-debug"}},
            "spec": {"containers": [self.container(container)], "nodeName": node, "restartPolicy": "Never",
                "tolerations": [{"operator": "Exists"}]}});
        self.profile.apply(self.session, &mut pod, "containers", container, Style::Node);
        self.customized(&mut pod, "containers", container)?;
        Ok((self.create(self.session.namespace()?, &pod)?, Some(container.to_owned())))
    }

    fn copied(&self, original: &Value) -> Result<(Value, Option<String>), Failure> {
        let flags = &self.session.flags;
        let metadata = &original["metadata"];
        let mut copy = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": self.flag("copy-to"), "namespace": metadata["namespace"]},
            "spec": original["spec"]});
        for key in ["labels", "annotations"] {
            if !metadata[key].is_null() {
                copy["metadata"][key] = metadata[key].clone();
            }
        }
        without(&mut copy["spec"], "ephemeralContainers");
        if flags.changed("share-processes") {
            copy["spec"]["shareProcessNamespace"] = flags.bool("share-processes").into();
        }
        if !flags.bool("same-node") {
            without(&mut copy["spec"], "nodeName");
        }
        for container in copy["spec"]["containers"].as_array_mut().into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default();
            if let Some(image) = self.images.get(name).or(self.images.get("*")) {
                container["image"] = image.clone();
            }
        }
        let Some(name) = self.changed(&mut copy)? else {
            return Ok((self.created_copy(original, &copy)?, None));
        };
        self.profile.apply(self.session, &mut copy, "containers", &name, Style::Copy);
        self.customized(&mut copy, "containers", &name)?;
        warn(&pods::container(&copy, &name).cloned().unwrap_or_default(), &copy);
        Ok((self.created_copy(original, &copy)?, Some(name)))
    }

    /// Changes the container that is named, or adds a new one. `None` where images alone are changed.
    fn changed(&self, copy: &mut Value) -> Result<Option<String>, Failure> {
        let named = self.flag("container");
        let lists = ["containers", "initContainers"].into_iter();
        let list = lists.clone().find(|list| {
            copy["spec"][*list].as_array().is_some_and(|all| all.iter().any(|c| c["name"] == named))
        });
        if let Some(list) = list {
            let all = copy["spec"][list].as_array_mut().into_iter().flatten();
            all.filter(|container| container["name"] == named).for_each(|container| self.change(container));
            return Ok(Some(named.to_owned()));
        }
        if self.flag("image").is_empty() {
            if !self.images.is_empty() {
                return Ok(None);
            }
            return Err(Failure::message("you must specify image when creating new container"));
        }
        let name = self.name(copy)?;
        let container = self.container(&name);
        push(&mut copy["spec"]["containers"], container);
        Ok(Some(name))
    }

    fn created_copy(&self, original: &Value, copy: &Value) -> Result<Value, Failure> {
        let namespace = original["metadata"]["namespace"].as_str().unwrap_or_default();
        let made = self.create(namespace, copy)?;
        if self.session.flags.bool("replace") {
            let name = original["metadata"]["name"].as_str().unwrap_or_default();
            let path =
                format!("/api/v1/namespaces/{}/pods/{}", escaped(namespace), crate::client::name_part(name)?);
            let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0});
            self.session.client()?.send(&Request::new(Method::DELETE, path).json(&options))?;
        }
        Ok(made)
    }

    fn create(&self, namespace: &str, pod: &Value) -> Result<Value, Failure> {
        let path = format!("/api/v1/namespaces/{}/pods", escaped(namespace));
        self.session.client()?.json(&Request::new(Method::POST, path).json(pod))
    }
}

/// Whether a text has the form of an image's name, as the reference grammar of the distribution project has it.
fn is_image(text: &str) -> bool {
    const NAME: &str = "[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*";
    const HOST: &str = r"(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?";
    const TAG: &str = r"[\w][\w.-]{0,127}";
    const DIGEST: &str = "[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*[:][[:xdigit:]]{32,}";
    let pattern = format!("^(?-u:(?:{HOST}/)?{NAME}(?:/{NAME})*(?::{TAG})?(?:@{DIGEST})?)$");
    regex::Regex::new(&pattern).is_ok_and(|pattern| pattern.is_match(text))
}

fn without(object: &mut Value, key: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove(key);
    }
}

fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(items) => items.push(item),
        other => *other = json!([item]),
    }
}

/// Warns of rights that a user other than root may not get.
fn warn(container: &Value, pod: &Value) {
    let is_other = |user: &Value| user.as_i64().is_some_and(|user| user != 0);
    let own = &container["securityContext"];
    let has_added = own["capabilities"]["add"].as_array().is_some_and(|added| !added.is_empty());
    if is_other(&pod["spec"]["securityContext"]["runAsUser"])
        && own["runAsUser"] != 0
        && (own["privileged"] == true || has_added)
    {
        err(
            "Warning: Non-root user is configured for the entire target Pod, and some capabilities granted by debug profile may not work. Please consider using \"--custom\" with a custom profile that specifies \"securityContext.runAsUser: 0\".\n",
        );
    }
}

/// The state of a container of this name.
fn state<'p>(pod: &'p Value, name: &str) -> Option<&'p Value> {
    let lists = ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"].into_iter();
    let mut all = lists.flat_map(|list| pod["status"][list].as_array().into_iter().flatten());
    all.find(|status| status["name"] == name).map(|status| &status["state"])
}

/// Waits for the container, and attaches to it; of one that has ended, prints the log.
fn attached_to(session: &Session, pod: &Value, container: &str) -> Result<(), Failure> {
    let flags = &session.flags;
    let text = |key: &str| pod["metadata"][key].as_str().unwrap_or_default();
    let at = (text("namespace"), text("name"));
    let warned = std::cell::RefCell::new(String::new());
    let pod = pods::until(session, at, None, |pod| {
        let state = state(pod, container)?;
        if !state["running"].is_null() || !state["terminated"].is_null() {
            return Some(pod.clone());
        }
        let why = state["waiting"]["message"].as_str().unwrap_or_default();
        if !why.is_empty() && !flags.bool("quiet") && warned.replace(why.to_owned()) != why {
            err(&format!("Warning: container {container}: {why}\n"));
        }
        None
    })?;
    if state(&pod, container).is_some_and(|state| !state["terminated"].is_null()) {
        return attached::logs(session, at, container);
    }
    let asked = Attaching {
        container,
        stdin: flags.bool("stdin"),
        tty: flags.bool("tty"),
        quiet: flags.bool("quiet"),
    };
    match attach_to(session, &pod, &asked) {
        Err(failure @ (Failure::Message(_) | Failure::Status(_) | Failure::Unreachable(_))) => {
            let (name, why) = (at.1, failure.plain());
            err(&format!("warning: couldn't attach to pod/{name}, falling back to streaming logs: {why}\n"));
            attached::logs(session, at, container)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images_are_told_from_others() {
        for name in ["busybox", "busybox:1.36", "a.b:5000/c/d__e:T", "[::1]:5000/x"] {
            assert!(is_image(name), "{name}");
        }
        for name in ["", "Busybox", "a b", "busybox:", "a//b", "-a"] {
            assert!(!is_image(name), "{name}");
        }
    }
}
