//! `config`: the kubeconfig files, shown and changed.

mod change;
mod show;

use super::Command;

const CREDENTIALS: &str = "embed-certs bool=false, auth-provider text, auth-provider-arg array, exec-command text, \
     exec-api-version text, exec-arg array, exec-env array, exec-provide-cluster-info bool=false, \
     exec-interactive-mode text";

pub const COMMANDS: [Command; 15] = [
    command(
        "config view",
        &["flatten bool=false, merge bool=true, minify bool=false, raw bool=false", crate::format::FLAGS],
        "",
        "Display merged kubeconfig settings or a specified kubeconfig file",
        show::view,
    ),
    command("config current-context", &[], "", "Display the current-context", show::current_context),
    command(
        "config get-contexts",
        &["no-headers bool=false, o output text"],
        "[(-o|--output=)name)]",
        "Describe one or many contexts",
        show::contexts,
    ),
    command("config get-clusters", &[], "", "Display clusters defined in the kubeconfig", show::clusters),
    command("config get-users", &[], "", "Display users defined in the kubeconfig", show::users),
    command(
        "config use-context|config use",
        &[],
        "CONTEXT_NAME",
        "Set the current-context in a kubeconfig file",
        change::use_context,
    ),
    command(
        "config set-context",
        &["current bool=false"],
        "[NAME | --current] [--cluster=cluster_nickname] [--user=user_nickname] [--namespace=namespace]",
        "Set a context entry in kubeconfig",
        change::set_context,
    ),
    command(
        "config set-cluster",
        &["embed-certs bool=false, proxy-url text"],
        "NAME [--server=server]",
        "Set a cluster entry in kubeconfig",
        change::set_cluster,
    ),
    command(
        "config set-credentials",
        &[CREDENTIALS],
        "NAME [--token=bearer_token]",
        "Set a user entry in kubeconfig",
        change::set_credentials,
    ),
    command(
        "config rename-context",
        &[],
        "CONTEXT_NAME NEW_NAME",
        "Rename a context from the kubeconfig file",
        change::rename_context,
    ),
    command(
        "config delete-context",
        &[],
        "NAME",
        "Delete the specified context from the kubeconfig",
        |session| change::remove(session, "contexts", "context"),
    ),
    command(
        "config delete-cluster",
        &[],
        "NAME",
        "Delete the specified cluster from the kubeconfig",
        |session| change::remove(session, "clusters", "cluster"),
    ),
    command("config delete-user", &[], "NAME", "Delete the specified user from the kubeconfig", |session| {
        change::remove(session, "users", "user")
    }),
    command(
        "config set",
        &["set-raw-bytes bool=false"],
        "PROPERTY_NAME PROPERTY_VALUE",
        "Set an individual value in a kubeconfig file",
        change::set,
    ),
    command(
        "config unset",
        &[],
        "PROPERTY_NAME",
        "Unset an individual value in a kubeconfig file",
        change::unset,
    ),
];

type Run = fn(&crate::session::Session) -> Result<(), crate::failure::Failure>;

const fn command(
    words: &'static str,
    flags: &'static [&'static str],
    usage: &'static str,
    about: &'static str,
    run: Run,
) -> Command {
    Command { words, flags, usage, about, run }
}
