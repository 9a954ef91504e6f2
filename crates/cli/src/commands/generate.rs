//! `create KIND` and `run`: objects out of flags.

mod access;
pub mod attached;
mod data;
mod hash;
mod policies;
mod secrets;
mod services;
mod workloads;

pub use policies::{amounts, selecting};

use serde_json::{Map, Value, json};

use super::{Command, create};
use crate::builder::Info;
use crate::failure::Failure;
use crate::overlay::OVERRIDES;
use crate::session::Session;
use crate::write::{DRY_RUN, DryRun, Telling, VALIDATE};
use crate::{format, last_applied};

const COMMON: &str = "field-manager text=kubectl-create, save-config bool=false";
const DATA: &str = "append-hash bool=false, from-env-file list, from-file list, from-literal array";
const SUBJECTS: &str = "group array, serviceaccount array, user array";
const RULES: &str = "resource list, resource-name array, verb list";

const DOCKER: &str = "append-hash bool=false, docker-email text, docker-password text, \
     docker-server text=https://index.docker.io/v1/, docker-username text, from-file list";
const PRIORITY: &str = "description text, global-default bool=false, \
     preemption-policy text=PreemptLowerPriority, value int=0";

/// What makes an object of a session's flags.
type Make = fn(&Session) -> Result<Value, Failure>;

const fn command(
    words: &'static str,
    flags: &'static [&'static str],
    usage: &'static str,
    about: &'static str,
    run: fn(&Session) -> Result<(), Failure>,
) -> Command {
    Command { words, flags, usage, about, run }
}

pub const COMMANDS: [Command; 23] = [
    command(
        "create namespace|create ns",
        &[format::FLAGS, DRY_RUN, VALIDATE, COMMON],
        "NAME",
        "Create a namespace with the specified name",
        |session| made(session, data::namespace),
    ),
    command(
        "create serviceaccount|create sa",
        &[format::FLAGS, DRY_RUN, VALIDATE, COMMON],
        "NAME",
        "Create a service account with the specified name",
        |session| made(session, data::service_account),
    ),
    command(
        "create configmap|create cm",
        &[format::FLAGS, DRY_RUN, VALIDATE, COMMON, DATA],
        "NAME",
        "Create a config map from a local file, directory or literal value",
        |session| made(session, data::config_map),
    ),
    command(
        "create secret generic",
        &[format::FLAGS, DRY_RUN, VALIDATE, COMMON, DATA, "type text"],
        "NAME",
        "Create a secret from a local file, directory, or literal value",
        |session| made(session, secrets::generic),
    ),
    command(
        "create deployment|create deploy",
        &[format::FLAGS, DRY_RUN, VALIDATE, COMMON, "image list, port int=-1, r replicas int=1"],
        "NAME --image=image -- [COMMAND] [args...]",
        "Create a deployment with the specified name",
        |session| made(session, workloads::deployment),
    ),
    command(
        "create job",
        &[format::FLAGS, DRY_RUN, VALIDATE, COMMON, "from text, image text"],
        "NAME --image=image -- [COMMAND] [args...]",
        "Create a job with the specified name",
        |session| made(session, workloads::job),
    ),
    command(
        "create role",
        &[format::FLAGS, DRY_RUN, VALIDATE, COMMON, RULES],
        "NAME --verb=verb --resource=resource.group/subresource",
        "Create a role with single rule",
        |session| made(session, access::role),
    ),
    command(
        "create clusterrole",
        &[format::FLAGS, DRY_RUN, VALIDATE, COMMON, RULES, "aggregation-rule text, non-resource-url list"],
        "NAME --verb=verb --resource=resource.group",
        "Create a cluster role",
        |session| made(session, access::cluster_role),
    ),
    command(
        "create rolebinding",
        &[format::FLAGS, DRY_RUN, VALIDATE, COMMON, SUBJECTS, "clusterrole text, role text"],
        "NAME --clusterrole=NAME|--role=NAME [--user=username] [--group=groupname]",
        "Create a role binding for a particular role or cluster role",
        |session| made(session, access::role_binding),
    ),
    command(
        "create clusterrolebinding",
        &[format::FLAGS, DRY_RUN, VALIDATE, COMMON, SUBJECTS, "clusterrole text"],
        "NAME --clusterrole=NAME [--user=username] [--group=groupname]",
        "Create a cluster role binding for a particular cluster role",
        |session| made(session, access::cluster_role_binding),
    ),
    command(
        "create secret docker-registry",
        &[format::FLAGS, DRY_RUN, VALIDATE, COMMON, DOCKER],
        "NAME --docker-username=user --docker-password=password [--docker-server=string] [--from-file=[key=]source]",
        "Create a secret for use with a Docker registry",
        |session| made(session, secrets::docker_registry),
    ),
    command(
        "create secret tls",
        &[format::FLAGS, DRY_RUN, VALIDATE, COMMON, "append-hash bool=false, cert text, key text"],
        "NAME --cert=path/to/cert/file --key=path/to/key/file",
        "Create a TLS secret",
        |session| made(session, secrets::tls),
    ),
    command(
        "create service clusterip|create svc clusterip",
        &[format::FLAGS, DRY_RUN, VALIDATE, COMMON, "clusterip text, tcp list"],
        "NAME [--tcp=<port>:<targetPort>]",
        "Create a ClusterIP service",
        |session| made(session, services::cluster_ip),
    ),
    command(
        "create service nodeport|create svc nodeport",
        &[format::FLAGS, DRY_RUN, VALIDATE, COMMON, "node-port int=0, tcp list"],
        "NAME [--tcp=port:targetPort]",
        "Create a NodePort service",
        |session| made(session, services::node_port),
    ),
    command(
        "create service loadbalancer|create svc loadbalancer",
        &[format::FLAGS, DRY_RUN, VALIDATE, COMMON, "tcp list"],
        "NAME [--tcp=port:targetPort]",
        "Create a LoadBalancer service",
        |session| made(session, services::load_balancer),
    ),
    command(
        "create service externalname|create svc externalname",
        &[format::FLAGS, DRY_RUN, VALIDATE, COMMON, "external-name text, tcp list"],
        "NAME --external-name external.name",
        "Create an ExternalName service",
        |session| made(session, services::external_name),
    ),
    command(
        "create cronjob|create cj",
        &[format::FLAGS, DRY_RUN, VALIDATE, COMMON, "image text, restart text, schedule text"],
        "NAME --image=image --schedule='0/5 * * * ?' -- [COMMAND] [args...]",
        "Create a cron job with the specified name",
        |session| made(session, workloads::cron_job),
    ),
    command(
        "create ingress|create ing",
        &[
            format::FLAGS,
            DRY_RUN,
            VALIDATE,
            COMMON,
            "annotation array, class text, default-backend text, rule array",
        ],
        "NAME --rule=host/path=service:port[,tls[=secret]]",
        "Create an ingress with the specified name",
        |session| made(session, services::ingress),
    ),
    command(
        "create poddisruptionbudget|create pdb",
        &[
            format::FLAGS,
            DRY_RUN,
            VALIDATE,
            COMMON,
            "max-unavailable text, min-available text, selector text",
        ],
        "NAME --selector=SELECTOR --min-available=N",
        "Create a pod disruption budget with the specified name",
        |session| made(session, policies::budget),
    ),
    command(
        "create priorityclass|create pc",
        &[format::FLAGS, DRY_RUN, VALIDATE, COMMON, PRIORITY],
        "NAME --value=VALUE --global-default=BOOL",
        "Create a priority class with the specified name",
        |session| made(session, policies::priority),
    ),
    command(
        "create quota|create resourcequota",
        &[format::FLAGS, DRY_RUN, VALIDATE, COMMON, "hard text, scopes text"],
        "NAME [--hard=key1=value1,key2=value2] [--scopes=Scope1,Scope2]",
        "Create a quota with the specified name",
        |session| made(session, policies::quota),
    ),
    command(
        "create token",
        &[
            format::FLAGS,
            "audience array, bound-object-kind text, bound-object-name text, bound-object-uid text, duration duration=0s",
        ],
        "SERVICE_ACCOUNT_NAME",
        "Request a service account token",
        policies::token,
    ),
    command(
        "run",
        &[
            format::FLAGS,
            DRY_RUN,
            VALIDATE,
            "annotations array, command bool=false, env array, field-manager text=kubectl-run, \
          cascade text=background?background, expose bool=false, force bool=false, grace-period int=-1, \
          image text, image-pull-policy text, l labels text, port text, privileged bool=false, restart text=Always, \
          save-config bool=false, timeout duration=0s, wait bool=false",
            OVERRIDES,
            attached::FLAGS,
        ],
        "NAME --image=image [--env=\"key=value\"] [--port=port] [--dry-run=server|client] [-- COMMAND] [args...]",
        "Run a particular image on the cluster",
        attached::run,
    ),
];

/// Makes an object and sends it.
fn made(session: &Session, make: Make) -> Result<(), Failure> {
    let telling = Telling::of(session)?;
    let info = sent(session, make, &telling)?;
    telling.tell(session, &info, "created")
}

fn sent(session: &Session, make: Make, telling: &Telling) -> Result<Info, Failure> {
    object_sent(session, make(session)?, telling)
}

fn object_sent(session: &Session, mut object: Value, telling: &Telling) -> Result<Info, Failure> {
    let field = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (field("apiVersion"), field("kind"));
    let Some(resource) = session.of_kind(&api_version, &kind)? else {
        return Err(Failure::message(format!("no matches for kind {kind:?} in version {api_version:?}")));
    };
    if resource.namespaced && (session.settings()?.namespace_by_flag || telling.dry() != DryRun::Client) {
        object["metadata"]["namespace"] = session.namespace()?.into();
    }
    if session.flags.bool("save-config") {
        last_applied::annotate(&mut object);
    }
    let mut info = Info::of(&resource, object);
    if resource.namespaced && info.namespace.is_empty() {
        session.namespace()?.clone_into(&mut info.namespace);
    }
    if telling.dry() != DryRun::Client {
        let sent = create::post(session, &mut info, telling.dry(), session.flags.text("field-manager"));
        sent.map_err(|failure| failed(failure, session))?;
    }
    Ok(info)
}

/// Some makers say what they were doing.
fn failed(failure: Failure, session: &Session) -> Failure {
    let what = match session.command.as_str() {
        "create configmap" => "configmap:",
        "create serviceaccount" => "serviceaccount:",
        "create secret generic" | "create secret docker-registry" | "create secret tls" => "secret",
        "create rolebinding" => "rolebinding:",
        "create clusterrolebinding" => "clusterrolebinding:",
        "create deployment" => "deployment:",
        "create job" => "job:",
        "create cronjob" => "cronjob:",
        "create ingress" => "ingress:",
        "create poddisruptionbudget" => "poddisruptionbudgets:",
        "create priorityclass" => "priorityclass:",
        "create quota" => "quota:",
        "create service clusterip" => "ClusterIP service:",
        "create service nodeport" => "NodePort service:",
        "create service loadbalancer" => "LoadBalancer service:",
        "create service externalname" => "ExternalName service:",
        _ => return failure,
    };
    failing(what, failure)
}

/// A refusal with what failed.
fn failing(what: &str, failure: Failure) -> Failure {
    match failure {
        Failure::Status(status) => {
            let message = status["message"].as_str().unwrap_or_default();
            Failure::message(format!("failed to create {what} {message}"))
        }
        other => other,
    }
}

/// The name, the one argument before `--`.
fn name(session: &Session) -> Result<&str, Failure> {
    let before = session.flags.dash.unwrap_or(session.arguments().len());
    match &session.arguments()[..before] {
        [name] => Ok(name),
        other => Err(session.usage(&format!("exactly one NAME is required, got {}", other.len()))),
    }
}

/// What stands behind `--`, or behind the name.
fn behind_name(session: &Session) -> Vec<Value> {
    session.arguments().iter().skip(1).map(|word| word.as_str().into()).collect()
}

/// Flags that must be there.
fn required(session: &Session, flags: &[&str]) -> Result<(), Failure> {
    let missing: Vec<String> =
        flags.iter().filter(|flag| !session.flags.changed(flag)).map(|flag| format!("{flag:?}")).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::message(format!("required flag(s) {} not set", missing.join(", "))))
}

/// An object without anything but its name.
fn named(api_version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}})
}

/// `a=b,c=d`.
fn pairs(text: &str) -> Result<Map<String, Value>, Failure> {
    let mut pairs = Map::new();
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(Failure::message(format!("unexpected label spec: {pair}")));
        };
        pairs.insert(key.to_owned(), value.into());
    }
    Ok(pairs)
}
