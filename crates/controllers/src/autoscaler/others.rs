//! How many pods the metrics of pods, objects and other systems ask for, and what a status says of them. Pure. Upstream:
//! `computeStatusFor…Metric` in `horizontal.go`.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::quantity::Quantity;
use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{
    ExternalMetricSource, ExternalMetricStatus, MetricIdentifier, MetricSpec, MetricStatus,
    MetricValueStatus, ObjectMetricSource, ObjectMetricStatus, PodsMetricSource, PodsMetricStatus,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as ApiSelector;

use super::replicas::{self, Asked, Goal, Tolerance, milli};
use super::scale::Scale;
use super::values::Value;

/// Why a metric asks for nothing.
pub(super) struct Fault {
    pub reason: &'static str,
    pub why: String,
    /// The same with the metric in front.
    pub told: String,
}

/// What a metric asks for.
pub(super) struct Wanted {
    pub replicas: i32,
    /// What the metric is called.
    pub by: String,
    /// What it is now.
    pub status: MetricStatus,
}

/// What one metric is decided from.
pub(super) struct Case<'a> {
    /// The autoscaler's.
    pub namespace: &'a str,
    /// The pods of what is scaled.
    pub pods: &'a [Arc<Pod>],
    pub tolerance: Tolerance,
    pub scale: &'a Scale,
    pub now: Timestamp,
    /// What was answered of the metric.
    pub values: Result<&'a [Value], String>,
}

/// What is compared, in thousandths.
enum Current {
    Value(i64),
    Average(i64),
}

impl Current {
    fn shown(self) -> MetricValueStatus {
        let quantity = |milli| Some(ApiQuantity(Quantity::from_millis(milli).to_string()));
        match self {
            Self::Value(milli) => {
                MetricValueStatus { value: quantity(milli), ..MetricValueStatus::default() }
            }
            Self::Average(milli) => {
                MetricValueStatus { average_value: quantity(milli), ..MetricValueStatus::default() }
            }
        }
    }
}

/// What a metric that is no resource asks for.
pub(super) fn asks(metric: &MetricSpec, case: &Case<'_>) -> Result<Wanted, Fault> {
    match (&metric.pods, &metric.object, &metric.external) {
        (Some(source), _, _) => case.of_pods(source).map_err(|why| Fault {
            reason: "FailedGetPodsMetric",
            told: format!("failed to get pods metric value: {why}"),
            why,
        }),
        (_, Some(source), _) => case.of_object(source),
        (_, _, Some(source)) => case.external(source),
        _ => {
            let why = format!("unknown metric source type {:?}", metric.type_);
            Err(Fault { reason: "InvalidMetricSourceType", told: why.clone(), why })
        }
    }
}

impl Case<'_> {
    fn of_pods(&self, source: &PodsMetricSource) -> Result<Wanted, String> {
        let name = &source.metric.name;
        let values = self.values.clone().map_err(|why| format!("unable to get metric {name}: {why}"))?;
        let used: BTreeMap<_, _> = values.iter().map(|value| (value.object.clone(), value.used)).collect();
        let target = source.target.average_value.as_ref().map_or(0, |target| milli(&target.0));
        let goal = Goal::Average(target);
        let asked = Asked { resource: "", container: None, goal, tolerance: self.tolerance };
        let proposal = replicas::propose(self.pods, used, self.scale.wanted(), asked, self.now)?;
        Ok(Wanted {
            replicas: proposal.replicas,
            by: format!("pods metric {name}"),
            status: MetricStatus {
                type_: "Pods".to_owned(),
                pods: Some(PodsMetricStatus {
                    metric: source.metric.clone(),
                    current: Current::Average(proposal.average_milli).shown(),
                }),
                ..MetricStatus::default()
            },
        })
    }

    fn of_object(&self, source: &ObjectMetricSource) -> Result<Wanted, Fault> {
        let (metric, about, target) = (&source.metric, &source.described_object, &source.target);
        let fault = |why: String, told: String| Fault {
            reason: "FailedGetObjectMetric",
            told: format!("failed to get object metric value: {told}"),
            why,
        };
        let namespace = self.namespace;
        let values = self.values.clone().map_err(|why| {
            format!(
                "unable to get metric {}: {} on {namespace} {}/{why}",
                metric.name, about.kind, about.name
            )
        });
        let sum = values.map(sum);
        let (replicas, current, by) = match (&*target.type_, &target.value, &target.average_value) {
            ("Value", Some(value), _) => {
                let found = sum.and_then(|sum| Ok((self.by_ratio(sum, milli(&value.0))?, sum)));
                let (replicas, sum) = found.map_err(|why| fault(why.clone(), why))?;
                (replicas, Current::Value(sum), format!("{} metric {}", about.kind, metric.name))
            }
            ("AverageValue", _, Some(value)) => {
                let sum = sum.map_err(|why| {
                    fault(why.clone(), format!("failed to get {} object metric: {why}", metric.name))
                })?;
                let (replicas, average) = self.per_pod(sum, milli(&value.0));
                (replicas, Current::Average(average), called(metric))
            }
            _ => {
                let why = "invalid object metric source: neither a value target nor an average value target was set";
                return Err(fault(why.to_owned(), why.to_owned()));
            }
        };
        let object = ObjectMetricStatus {
            described_object: about.clone(),
            metric: metric.clone(),
            current: current.shown(),
        };
        let status =
            MetricStatus { type_: "Object".to_owned(), object: Some(object), ..MetricStatus::default() };
        Ok(Wanted { replicas, by, status })
    }

    fn external(&self, source: &ExternalMetricSource) -> Result<Wanted, Fault> {
        let (metric, target) = (&source.metric, &source.target);
        let fault = |why: String, told: String| Fault {
            reason: "FailedGetExternalMetric",
            told: format!("failed to get {} external metric value: {told}", metric.name),
            why,
        };
        let failed = |why: String| {
            let told = format!("failed to get {} external metric: {why}", metric.name);
            fault(why, told)
        };
        let namespace = self.namespace;
        let values = self.values.clone().map_err(|why| {
            let selector = selector_in_go(metric.selector.as_ref());
            format!("unable to get external metric {namespace}/{}/{selector}: {why}", metric.name)
        });
        let sum = values.map(sum);
        let (replicas, current) = match (&target.average_value, &target.value) {
            (Some(value), _) => {
                let (replicas, average) = self.per_pod(sum.map_err(failed)?, milli(&value.0));
                (replicas, Current::Average(average))
            }
            (None, Some(value)) => {
                let sum = sum.map_err(failed)?;
                (self.by_ratio(sum, milli(&value.0)).map_err(failed)?, Current::Value(sum))
            }
            (None, None) => {
                let why = "invalid external metric source: neither a value target nor an average value target was set";
                return Err(fault(why.to_owned(), why.to_owned()));
            }
        };
        let external = ExternalMetricStatus { metric: metric.clone(), current: current.shown() };
        let status = MetricStatus {
            type_: "External".to_owned(),
            external: Some(external),
            ..MetricStatus::default()
        };
        Ok(Wanted { replicas, by: called(metric), status })
    }

    /// The pods that bring a value of all of them together to the target.
    fn by_ratio(&self, sum: i64, target: i64) -> Result<i32, String> {
        let ratio = sum as f64 / target.max(1) as f64;
        replicas::by_ratio(self.pods, ratio, self.scale.wanted(), self.tolerance)
    }

    /// The pods that share a value so that each has no more than the target, and what each has now.
    fn per_pod(&self, sum: i64, target: i64) -> (i32, i64) {
        replicas::per_pod(sum, target, self.scale.present(), self.tolerance)
    }
}

fn sum(values: &[Value]) -> i64 {
    values.iter().fold(0, |sum, value| sum.saturating_add(value.used.milli))
}

/// How upstream calls metrics that are shared out among the pods, those of objects too.
fn called(metric: &MetricIdentifier) -> String {
    format!("external metric {}({})", metric.name, selector_in_go(metric.selector.as_ref()))
}

/// A selector as Go prints it.
fn selector_in_go(selector: Option<&ApiSelector>) -> String {
    let Some(selector) = selector else { return "nil".to_owned() };
    let labels = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}: {value},"));
    let expressions = selector.match_expressions.iter().flatten().map(|expression| {
        let values = expression.values.as_deref().unwrap_or_default().join(" ");
        let (key, operator) = (&expression.key, &expression.operator);
        format!("LabelSelectorRequirement{{Key:{key},Operator:{operator},Values:[{values}],}},")
    });
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{}}},MatchExpressions:[]LabelSelectorRequirement{{{}}},}}",
        labels.collect::<String>(),
        expressions.collect::<String>()
    )
}
