//! How rows are run: the cluster they share, the namespace each gets, and what becomes of a panic.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result};
use libtest_mimic::{Arguments, Failed, Trial};
use testing::{Cluster, Fixtures, Registry, Shell, Transcript};

/// A row's number and name, and what it does.
pub type Row = (&'static str, fn(&Scene));

/// Lines of the server's log that a failure shows.
const LOG_LINES: usize = 30;

/// What a row is given.
pub struct Scene {
    /// A terminal in the row's own namespace.
    pub shell: Shell,
    /// That namespace: the row's number.
    pub namespace: String,
    /// What was typed and said so far.
    pub transcript: Transcript,
    cluster: Arc<Cluster>,
}

/// What all rows share; fields are dropped in this order.
struct Stage {
    cluster: Arc<Cluster>,
    /// Where the cluster pulls from.
    _registry: Registry,
}

/// Starts the stage for the first row that needs it, so that a filter that fits none starts nothing.
#[derive(Clone, Default)]
struct Theatre(Arc<OnceLock<Mutex<Result<Stage, String>>>>);

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs the rows the arguments choose on one cluster, and takes it down.
pub fn run(arguments: &Arguments, rows: &[Row]) -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        LAST_PANIC.with(|last| last.replace(panic.to_string()));
    }));
    let theatre = Theatre::default();
    let trials = rows
        .iter()
        .map(|&(name, row)| {
            let theatre = theatre.clone();
            Trial::test(name, move || play(theatre.cluster()?, name, row))
        })
        .collect();
    let conclusion = libtest_mimic::run(arguments, trials);
    match theatre.close() {
        Ok(()) => conclusion.exit_code(),
        Err(error) => {
            eprintln!("the cluster was not taken down: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Theatre {
    fn cluster(&self) -> Result<Arc<Cluster>, Failed> {
        let stage = self.0.get_or_init(|| Mutex::new(begin().map_err(|error| format!("{error:#}"))));
        match &*stage.lock().unwrap_or_else(PoisonError::into_inner) {
            Ok(stage) => Ok(Arc::clone(&stage.cluster)),
            Err(error) => Err(Failed::from(format!("the end-to-end tests cannot run: {error}"))),
        }
    }

    fn close(&self) -> Result<()> {
        let Some(stage) = self.0.get() else { return Ok(()) };
        let mut stage = stage.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(stage) = std::mem::replace(&mut *stage, Err("closed".to_owned())) else { return Ok(()) };
        Arc::into_inner(stage.cluster).context("a row still holds the cluster")?.take_down()
    }
}

fn begin() -> Result<Stage> {
    let fixtures = Fixtures::find()?;
    let registry = Registry::start(&fixtures)?;
    let cluster = Cluster::start(&fixtures, "e2e", 1, Some(&registry.address))?;
    Ok(Stage { cluster: Arc::new(cluster), _registry: registry })
}

/// Runs one row in its own namespace; a panic is its failure, and tells all that was typed and said.
fn play(cluster: Arc<Cluster>, name: &str, row: fn(&Scene)) -> Result<(), Failed> {
    let transcript = Transcript::default();
    let scene = catch_unwind(AssertUnwindSafe(|| {
        Scene::new(Arc::clone(&cluster), name, &transcript).expect("a terminal for the row")
    }));
    let Ok(scene) = scene else { return Err(failure(&cluster, &transcript)) };
    let played = catch_unwind(AssertUnwindSafe(|| row(&scene)));
    let failed = played.is_err().then(|| {
        scene.shell.run("kubectl describe nodes");
        scene.shell.run("kubectl get pods -o wide");
        scene.shell.run("kubectl get events --sort-by=.lastTimestamp");
        failure(&cluster, &transcript)
    });
    // What a row leaves behind would take memory and time from the others.
    scene.shell.run(&format!("kubectl delete namespace {} --wait=false", scene.namespace));
    failed.map_or(Ok(()), Err)
}

fn failure(cluster: &Cluster, transcript: &Transcript) -> Failed {
    let why = LAST_PANIC.with(RefCell::take);
    let log = cluster.log_tail(LOG_LINES);
    Failed::from(format!("{}\n\nthe server's log ends so:\n{log}\n\nFAILED: {why}", transcript.text()))
}

impl Scene {
    fn new(cluster: Arc<Cluster>, row: &str, transcript: &Transcript) -> Result<Self> {
        let namespace: String = row.chars().take_while(|c| *c != '_').collect();
        let kubectl = cluster.fixtures.kubectls().into_iter().next().context("a kubectl")?;
        let shell = cluster.shell(&kubectl, transcript)?;
        shell.ok(&format!("kubectl create namespace {namespace}"));
        shell.ok(&format!("kubectl config set-context --current --namespace {namespace}"));
        shell.ok("kubectl wait --for=create serviceaccount/default --timeout=30s");
        Ok(Self { shell, namespace, transcript: transcript.clone(), cluster })
    }

    /// The cluster all rows share.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Another terminal in the row's namespace, with another kubectl.
    pub fn shell_with(&self, kubectl: &Path) -> Shell {
        let fixtures = &self.cluster.fixtures;
        let parent = self.shell.dir().parent().expect("a terminal's folder lies in the cluster's");
        Shell::new(parent, &self.shell.kubeconfig(), kubectl, &fixtures.knarr, &self.transcript)
            .expect("a folder for a terminal")
    }

    /// A cluster of the row's own; `name` has at most 5 letters and is no other row's.
    pub fn own_cluster(&self, name: &str, nodes: u8) -> (Cluster, Shell) {
        let cluster =
            Cluster::start(&self.cluster.fixtures, name, nodes, None).expect("a cluster of its own");
        let shell =
            cluster.shell(&self.cluster.fixtures.kubectls()[0], &self.transcript).expect("a terminal");
        (cluster, shell)
    }
}
