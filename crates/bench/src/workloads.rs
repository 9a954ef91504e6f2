//! What workloads cost the control plane and how soon they are there, on nodes whose kubelets are played.
//!
//! Start with [`measure`]: a server without a node of its own, nodes as in `scale`, whose kubelets [`hollow`] plays at
//! once, so that all time is the control plane's. Client and server share the cores: processor time is the server's alone.

mod hollow;
mod latencies;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use hyper::Method;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::cluster::Cluster;
use crate::connection::{MERGE_PATCH, Request, Target};
use crate::load::{self, Make};
use crate::scale::objects;
use crate::watch::Watch;
use hollow::Hollow;
use latencies::Latencies;
pub use latencies::objective;

pub const NODES: usize = 1_000;
const NAMESPACE: &str = "bench-workloads";
/// Pods of the Deployment, first and when it is scaled up.
const REPLICAS: usize = 1_000;
const MOST: usize = 10_000;
const COMPLETIONS: usize = 5_000;
const PARALLELISM: usize = 500;
/// How long a Job's pod runs.
const LIFE: Duration = Duration::from_secs(1);

/// A step's time, and the server's processor time until its end.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub took: Duration,
    pub cpu_s: f64,
}

/// What was found.
pub struct Workloads {
    /// All pods of the Deployment are made.
    pub made: Step,
    /// … are ready.
    pub ready: Step,
    pub scaled_up: Step,
    pub scaled_down: Step,
    pub job: Step,
    /// While the Deployment is scaled up.
    pub latencies: Latencies,
}

/// A row of the report: what, its time, its processor time, and the goal where there is one.
pub type Row = (String, String, String, &'static str);

impl Workloads {
    /// The lines of the report.
    pub fn rows(&self) -> Vec<Row> {
        let row = |what: String, step: Step, pods: usize, goal| {
            let each = step.cpu_s * 1e3 / pods as f64;
            (
                what,
                format!("{:.2} s", step.took.as_secs_f64()),
                format!("{:.2} s; {each:.2} s", step.cpu_s),
                goal,
            )
        };
        let through = Step {
            took: self.scaled_up.took + self.scaled_down.took,
            cpu_s: self.scaled_up.cpu_s + self.scaled_down.cpu_s,
        };
        let more = MOST - REPLICAS;
        vec![
            row(format!("Deployment of {REPLICAS}: its pods are made"), self.made, REPLICAS, "≤ 2 s"),
            row("… are Ready".to_owned(), self.ready, REPLICAS, ""),
            row(format!("scaled to {MOST}: all Ready"), self.scaled_up, more, ""),
            row("scaled to 0: all gone".to_owned(), self.scaled_down, MOST, ""),
            row("… both together".to_owned(), through, MOST, ""),
            row(
                format!("Job of {COMPLETIONS}, {PARALLELISM} at a time, each {} s: complete", LIFE.as_secs()),
                self.job,
                COMPLETIONS,
                "≤ 20 s",
            ),
        ]
    }
}

/// Runs the workloads one after the other.
///
/// # Errors
/// When a request fails, or a workload does not come to its end.
pub async fn measure(knarr: &Path) -> Result<Workloads> {
    let cluster = Cluster::control_plane(knarr)?;
    let target = Target::of(&cluster.kubeconfig())?;
    let stage = Stage { cluster: &cluster, target: &target };
    target
        .ask(Request::json(Method::POST, "/api/v1/namespaces", &crate::objects::namespace(NAMESPACE)))
        .await?;
    let accounts =
        format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts?fieldSelector=metadata.name%3Ddefault");
    Watch::open(&target, &accounts).await?.until(|event| event["type"] == "ADDED").await?;
    let make: Make = Arc::new(|number| Request::json(Method::POST, "/api/v1/nodes", &objects::node(number)));
    load::run(&cluster, &target, (4, NODES), make).await?;
    let _hollow = Hollow::start(&target, LIFE).await?;

    let (made, ready) = stage.deploy().await?;
    let (scaled_up, latencies) = stage.scale_up().await?;
    let scaled_down = stage.scale(0).await?;
    let job = stage.job().await?;
    Ok(Workloads { made, ready, scaled_up, scaled_down, job, latencies })
}

struct Stage<'a> {
    cluster: &'a Cluster,
    target: &'a Target,
}

impl Stage<'_> {
    /// Runs `begin` and follows the object of `path` until `enough` holds of it.
    async fn until(&self, path: &str, begin: Request, enough: impl Fn(&Value) -> bool) -> Result<Step> {
        let mut watch = Watch::open(self.target, path).await?;
        let (cpu, started) = (self.cluster.cpu_s()?, Instant::now());
        self.target.ask(begin).await?;
        watch.until(|event| enough(&event["object"])).await?;
        Ok(Step { took: started.elapsed(), cpu_s: self.cluster.cpu_s()? - cpu })
    }

    async fn deploy(&self) -> Result<(Step, Step)> {
        let deployment = objects::deployment(NAMESPACE, "many", REPLICAS);
        let mut sets = Watch::open(
            self.target,
            &format!("/apis/apps/v1/namespaces/{NAMESPACE}/replicasets?labelSelector=app%3Dmany"),
        )
        .await?;
        let begin = Request::json(Method::POST, deployments(), &deployment);
        let (cpu, started) = (self.cluster.cpu_s()?, Instant::now());
        let made = async {
            sets.until(|event| event["object"]["status"]["replicas"] == REPLICAS).await?;
            Ok(Step { took: started.elapsed(), cpu_s: self.cluster.cpu_s()? - cpu })
        };
        let path = format!("{}?fieldSelector=metadata.name%3Dmany", deployments());
        let ready = self.until(&path, begin, |object| object["status"]["readyReplicas"] == REPLICAS);
        tokio::try_join!(made, ready)
    }

    /// Scales to the most, and finds out what others notice of it.
    async fn scale_up(&self) -> Result<(Step, Latencies)> {
        let watch = Watch::open(self.target, &self.future_pods().await?).await?;
        let (done, ended) = oneshot::channel();
        let scale = async {
            let step = self.scale(MOST).await;
            // Nobody asks any more where that has failed.
            let _ = done.send(());
            step
        };
        let pods = latencies::start(watch, MOST - REPLICAS);
        let (step, requests, pods) = tokio::try_join!(scale, latencies::ask(self.target, ended), pods)?;
        Ok((step, Latencies { requests, pods }))
    }

    /// The path of a watch of the pods that sees nothing of what is there.
    async fn future_pods(&self) -> Result<String> {
        let list = self.target.ask(Request::plain(Method::GET, format!("{}?limit=1", pods()))).await?;
        let revision = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        Ok(format!("{}?resourceVersion={revision}", pods()))
    }

    /// Scales the Deployment; returns when as many pods are ready, and no others are there.
    async fn scale(&self, replicas: usize) -> Result<Step> {
        let begin = Request::patch(
            format!("{}/many/scale", deployments()),
            MERGE_PATCH,
            &json!({"spec": {"replicas": replicas}}),
        );
        if replicas > 0 {
            let path = format!("{}?fieldSelector=metadata.name%3Dmany", deployments());
            return self.until(&path, begin, |object| object["status"]["readyReplicas"] == replicas).await;
        }
        let mut watch = Watch::open(self.target, &self.future_pods().await?).await?;
        let (cpu, started) = (self.cluster.cpu_s()?, Instant::now());
        self.target.ask(begin).await?;
        let mut gone = 0;
        watch
            .until(|event| {
                gone += usize::from(event["type"] == "DELETED");
                gone == MOST
            })
            .await?;
        Ok(Step { took: started.elapsed(), cpu_s: self.cluster.cpu_s()? - cpu })
    }

    async fn job(&self) -> Result<Step> {
        let jobs = format!("/apis/batch/v1/namespaces/{NAMESPACE}/jobs");
        let job = objects::job(NAMESPACE, "count", COMPLETIONS, PARALLELISM);
        let begin = Request::json(Method::POST, jobs.clone(), &job);
        let path = format!("{jobs}?fieldSelector=metadata.name%3Dcount");
        self.until(&path, begin, |object| {
            let mut conditions = object["status"]["conditions"].as_array().into_iter().flatten();
            conditions.any(|condition| condition["type"] == "Complete" && condition["status"] == "True")
                && object["status"]["succeeded"] == COMPLETIONS
        })
        .await
    }
}

fn deployments() -> String {
    format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments")
}

fn pods() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/pods")
}
