//! Pods: how soon one runs and is gone, and a hundred at once.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::Result;
use http_body_util::BodyExt;
use hyper::Method;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::connection::{Request, Target};
use crate::load::percentile;
use crate::objects;
use crate::watch::Watch;

const NAMESPACE: &str = "bench-pods";
const SINGLE: usize = 20;
pub const REPLICAS: usize = 100;

/// What was found.
pub struct Pods {
    pub running_p50: Duration,
    pub running_p99: Duration,
    pub gone_p50: Duration,
    pub replicas_ready: Duration,
    /// The server's processor time until then.
    pub replicas_cpu_s: f64,
    pub replicas_gone: Duration,
}

/// Runs the pods.
pub async fn measure(cluster: &Cluster, target: &Target) -> Result<Pods> {
    target.ask(Request::json(Method::POST, "/api/v1/namespaces", &objects::namespace(NAMESPACE))).await?;
    // A pod needs its account.
    let accounts =
        format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts?fieldSelector=metadata.name%3Ddefault");
    Watch::open(target, &accounts).await?.until(|event| event["type"] == "ADDED").await?;
    let (mut running, mut gone) = (Vec::new(), Vec::new());
    for number in 0..SINGLE {
        let (to_running, to_gone) = single(target, &format!("single-{number}")).await?;
        running.push(to_running);
        gone.push(to_gone);
    }
    let (replicas_ready, replicas_cpu_s, replicas_gone) = replicas(cluster, target, NAMESPACE).await?;
    Ok(Pods {
        running_p50: percentile(&mut running, 50),
        running_p99: percentile(&mut running, 99),
        gone_p50: percentile(&mut gone, 50),
        replicas_ready,
        replicas_cpu_s,
        replicas_gone,
    })
}

async fn single(target: &Target, name: &str) -> Result<(Duration, Duration)> {
    let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    let mut watch = Watch::open(target, &format!("{pods}?fieldSelector=metadata.name%3D{name}")).await?;
    let mut connection = target.connect().await?;
    let created = Instant::now();
    let create = Request::json(Method::POST, pods.as_str(), &objects::sleeping_pod(NAMESPACE, name));
    connection.send(create).await?.collect().await?;
    watch.until(|event| is_ready(&event["object"])).await?;
    let running = created.elapsed();
    let deleted = Instant::now();
    target.ask(Request::plain(Method::DELETE, format!("{pods}/{name}"))).await?;
    watch.until(|event| event["type"] == "DELETED").await?;
    Ok((running, deleted.elapsed()))
}

/// Runs [`REPLICAS`] pods of a Deployment and deletes it: the time until all are ready, the server's processor time for
/// that in seconds, and the time until all are gone.
pub async fn replicas(
    cluster: &Cluster,
    target: &Target,
    namespace: &str,
) -> Result<(Duration, f64, Duration)> {
    let name = "many";
    let pods = format!("/api/v1/namespaces/{namespace}/pods?labelSelector=app%3D{name}");
    let deployments = format!("/apis/apps/v1/namespaces/{namespace}/deployments");
    let mut watch = Watch::open(target, &pods).await?;
    let (mut there, mut ready) = (HashSet::new(), HashSet::new());
    let (cpu, created) = (cluster.cpu_s()?, Instant::now());
    let create =
        Request::json(Method::POST, deployments.as_str(), &objects::deployment(namespace, name, REPLICAS));
    target.ask(create).await?;
    watch
        .until(|event| {
            let pod = &event["object"];
            let pod_name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            if is_ready(pod) {
                ready.insert(pod_name.clone());
            }
            there.insert(pod_name);
            ready.len() == REPLICAS
        })
        .await?;
    let (to_ready, cpu) = (created.elapsed(), cluster.cpu_s()? - cpu);
    let deleted = Instant::now();
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
    target.ask(Request::json(Method::DELETE, format!("{deployments}/{name}"), &options)).await?;
    watch
        .until(|event| {
            let pod_name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
            if event["type"] == "DELETED" {
                there.remove(pod_name);
            } else {
                there.insert(pod_name.to_owned());
            }
            there.is_empty()
        })
        .await?;
    Ok((to_ready, cpu, deleted.elapsed()))
}

/// Running, Ready, and with an address.
fn is_ready(pod: &Value) -> bool {
    let status = &pod["status"];
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    status["phase"] == "Running"
        && status["podIP"].is_string()
        && conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
