//! An agent's answer at `/stats/summary`, of which only CPU and memory are read.
//! Upstream: `staging/src/k8s.io/kubelet/pkg/apis/stats/v1alpha1`.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::history::{Point, Points, Sample};

#[derive(Deserialize)]
struct Summary {
    node: Figures,
    #[serde(default)]
    pods: Vec<Pod>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pod {
    pod_ref: Reference,
    #[serde(default)]
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Reference {
    name: String,
    namespace: String,
}

#[derive(Deserialize)]
struct Container {
    name: String,
    #[serde(flatten)]
    figures: Figures,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    start_time: Option<Timestamp>,
    cpu: Option<Cpu>,
    memory: Option<Memory>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cpu {
    time: Option<Timestamp>,
    usage_core_nano_seconds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    working_set_bytes: Option<u64>,
}

impl Figures {
    /// `None` without any of the figures, as of what has ended.
    fn point(&self) -> Option<Point> {
        let cpu = self.cpu.as_ref()?;
        Some(Point {
            at: cpu.time?,
            started: self.start_time,
            cpu_ns: cpu.usage_core_nano_seconds?,
            memory_bytes: self.memory.as_ref()?.working_set_bytes?,
        })
    }
}

/// Reads the answer to who asked at `taken`.
///
/// # Errors
/// When it is no summary.
pub(crate) fn read(json: &[u8], taken: Timestamp) -> Result<Sample, serde_json::Error> {
    let summary: Summary = serde_json::from_slice(json)?;
    let mut pods: HashMap<(String, String), Points> = HashMap::new();
    for pod in summary.pods {
        let points = pods.entry((pod.pod_ref.namespace, pod.pod_ref.name)).or_default();
        for container in pod.containers {
            let Some(point) = container.figures.point() else { continue };
            // A pod may have two sandboxes for a while: what counts is what started last.
            match points.get(&container.name) {
                Some(known) if known.started > point.started => {}
                _ => drop(points.insert(container.name, point)),
            }
        }
    }
    let node = summary.node.point().map(|point| (String::new(), point)).into_iter().collect();
    Ok(Sample { taken, node, pods })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_figures_is_left_out() {
        let json = br#"{"node": {"nodeName": "n", "startTime": "1970-01-01T00:00:00Z",
            "cpu": {"time": "1970-01-01T00:00:09Z", "usageCoreNanoSeconds": 7}, "memory": {"workingSetBytes": 8}},
          "pods": [{"podRef": {"name": "p", "namespace": "d", "uid": "u"}, "containers": [
            {"name": "a", "startTime": "1970-01-01T00:00:01Z", "rootfs": {},
             "cpu": {"time": "1970-01-01T00:00:08.5Z", "usageCoreNanoSeconds": 5, "usageNanoCores": null},
             "memory": {"time": "1970-01-01T00:00:08Z", "workingSetBytes": 6}},
            {"name": "b"}, {"name": "c", "cpu": {"time": null, "usageCoreNanoSeconds": 1}, "memory": {"workingSetBytes": 1}}]}]}"#;
        let at = |ms| Timestamp::from_millisecond(ms).expect("in range");
        let sample = read(json, at(10_000)).expect("a summary");
        let point = |started, at, cpu_ns, memory_bytes| Point { at, started, cpu_ns, memory_bytes };
        assert_eq!(sample.node, Points::from([(String::new(), point(Some(at(0)), at(9000), 7, 8))]));
        let expected = Points::from([("a".to_owned(), point(Some(at(1000)), at(8500), 5, 6))]);
        assert_eq!(sample.pods, HashMap::from([(("d".to_owned(), "p".to_owned()), expected)]));
        assert!(read(b"{", at(0)).is_err() && read(b"{\"node\": 1}", at(0)).is_err());
    }
}
