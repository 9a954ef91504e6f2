//! Metrics of pods, objects and other systems, which servers that extend the API say: `custom.metrics.k8s.io` and
//! `external.metrics.k8s.io`. Upstream: `podautoscaler/metrics/client.go` and `k8s.io/metrics/pkg/client`.

use api::selector::LabelSelector;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, ExternalMetricSource, HorizontalPodAutoscalerSpec as Spec, MetricSpec,
    ObjectMetricSource, PodsMetricSource,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as ApiSelector;
use kube::Client;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use resources::KindTable;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::replicas::{Use, milli};

const CUSTOM: &str = "custom.metrics.k8s.io";
const EXTERNAL: &str = "external.metrics.k8s.io";
/// The versions of the first that are understood.
const VERSIONS: [&str; 2] = ["v1beta2", "v1beta1"];
/// What stands for the kind in the path of a namespace's metrics.
const NAMESPACE: &str = "metrics";
/// Where no window is said.
const WINDOW: SignedDuration = SignedDuration::from_mins(1);

/// One value, and of which object it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    /// Empty for what is no object's.
    pub object: String,
    pub used: Use,
}

/// What was asked of each metric of an autoscaler, in their order: nothing of resources, which are asked for elsewhere.
pub(super) type Values = Vec<Option<Result<Vec<Value>, String>>>;

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<Item>,
}

/// A value in any of the versions.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    described_object: Option<Described>,
    timestamp: Option<Timestamp>,
    #[serde(alias = "window")]
    window_seconds: Option<i64>,
    value: String,
}

#[derive(Deserialize)]
struct Described {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    #[serde(default)]
    versions: Vec<Version>,
    preferred_version: Option<Version>,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

/// Who asks, about what of where.
pub(super) struct Asker<'a> {
    pub client: &'a Client,
    pub table: &'a KindTable,
    pub namespace: &'a str,
    /// Of the pods that are scaled.
    pub selector: &'a LabelSelector,
}

impl Asker<'_> {
    /// Asks for the values of all metrics that are no resource.
    pub async fn ask(&self, spec: &Spec) -> Values {
        let mut values = Values::new();
        for metric in spec.metrics.iter().flatten() {
            values.push(self.one(metric).await);
        }
        values
    }

    async fn one(&self, metric: &MetricSpec) -> Option<Result<Vec<Value>, String>> {
        match (&metric.pods, &metric.object, &metric.external) {
            (Some(pods), _, _) => Some(self.of_pods(pods).await),
            (_, Some(object), _) => Some(self.of_object(object).await),
            (_, _, Some(external)) => Some(self.external(external).await),
            _ => None,
        }
    }

    async fn of_pods(&self, source: &PodsMetricSource) -> Result<Vec<Value>, String> {
        let metric = &source.metric;
        let parameters = [
            ("labelSelector", self.selector.to_string()),
            ("metricLabelSelector", selector(metric.selector.as_ref())?),
        ];
        let path = format!("namespaces/{}/pods/*/{}", self.namespace, encoded(&metric.name));
        let list: List = self.custom(&path, &parameters, "pods", "*").await.map_err(of_custom)?;
        if list.items.is_empty() {
            return Err("no metrics returned from custom metrics API".to_owned());
        }
        Ok(list.items.into_iter().map(read).collect())
    }

    async fn of_object(&self, source: &ObjectMetricSource) -> Result<Vec<Value>, String> {
        let (metric, about) = (&source.metric, &source.described_object);
        let (resource, name) = self.resource(about).map_err(of_custom)?;
        let of = match resource.as_str() {
            // A namespace is described by a path of its own; another one than the autoscaler's cannot be asked about.
            NAMESPACE => NAMESPACE.to_owned(),
            _ => format!("{resource}/{}", encoded(name)),
        };
        let path = format!("namespaces/{}/{of}/{}", self.namespace, encoded(&metric.name));
        let parameters = [("metricLabelSelector", selector(metric.selector.as_ref())?)];
        let named = if resource == NAMESPACE { &metric.name } else { name };
        let list: List = self.custom(&path, &parameters, &resource, named).await.map_err(of_custom)?;
        let count = list.items.len();
        if count != 1 {
            let why = format!(
                "the custom metrics API server returned {count} results when we asked for exactly one"
            );
            return Err(of_custom(why));
        }
        Ok(list.items.into_iter().map(read).collect())
    }

    async fn external(&self, source: &ExternalMetricSource) -> Result<Vec<Value>, String> {
        let metric = &source.metric;
        let parameters = [("labelSelector", selector(metric.selector.as_ref())?)];
        let path =
            format!("/apis/{EXTERNAL}/v1beta1/namespaces/{}/{}", self.namespace, encoded(&metric.name));
        let what = format!("get {}.{EXTERNAL}", metric.name);
        let list: Result<List, String> = self.get(&path, &parameters, &what).await;
        let list = list.map_err(|why| format!("unable to fetch metrics from external metrics API: {why}"))?;
        if list.items.is_empty() {
            return Err("no metrics returned from external metrics API".to_owned());
        }
        Ok(list.items.into_iter().map(read).collect())
    }

    /// The resource of an object, with its group where it has one, and the object's name in the API of metrics.
    fn resource<'a>(&self, about: &'a CrossVersionObjectReference) -> Result<(String, &'a str), String> {
        let group = about.api_version.as_deref().and_then(|version| version.split_once('/'));
        let (group, kind) = (group.map_or("", |(group, _)| group), about.kind.as_str());
        if group.is_empty() && kind == "Namespace" {
            return Ok((NAMESPACE.to_owned(), &about.name));
        }
        let row = self.table.rows().find(|row| row.group == group && row.kind == kind);
        let row = row.ok_or_else(|| {
            let whole = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
            format!("unable to map kind {whole} to resource: no matches for kind {kind:?} in group {group:?}")
        })?;
        Ok((row.group_resource().to_string(), &about.name))
    }

    async fn custom<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &[(&str, String)],
        resource: &str,
        name: &str,
    ) -> Result<T, String> {
        let group: Result<Group, kube::Error> =
            self.client.request(request(&format!("/apis/{CUSTOM}"))?).await;
        let group = group.map_err(|error| match client::is_not_found(&error) {
            true => format!("no custom metrics API ({CUSTOM}) registered"),
            false => client::message(&error),
        })?;
        let version = chosen(&group)?;
        let what = format!("get {resource}.{CUSTOM} {name}");
        self.get(&format!("/apis/{CUSTOM}/{version}/{path}"), parameters, &what).await
    }

    /// Asks, and says of what a failure is where the answer does not.
    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &[(&str, String)],
        what: &str,
    ) -> Result<T, String> {
        let given = parameters.iter().filter(|(_, value)| !value.is_empty());
        let query: Vec<String> = given.map(|(key, value)| format!("{key}={}", encoded(value))).collect();
        let path = if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) };
        let answer: Result<T, kube::Error> = self.client.request(request(&path)?).await;
        answer.map_err(|error| {
            let kube::Error::Api(status) = &error else { return client::message(&error) };
            let generic = match status.code {
                404 => "the server could not find the requested resource",
                503 => "the server is currently unable to handle the request",
                _ => return client::message(&error),
            };
            // A server that says more than the code is heard.
            let says_more = status.details.as_ref().is_some_and(|details| !details.kind.is_empty())
                && status.message != generic;
            if says_more { status.message.clone() } else { format!("{generic} ({what})") }
        })
    }
}

fn of_custom(why: String) -> String {
    format!("unable to fetch metrics from custom metrics API: {why}")
}

fn request(path: &str) -> Result<http::Request<Vec<u8>>, String> {
    http::Request::get(path).body(Vec::new()).map_err(|error| error.to_string())
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A metric's selector as a text; that of none is empty.
fn selector(of: Option<&ApiSelector>) -> Result<String, String> {
    let Some(selector) = of else { return Ok(String::new()) };
    let value = serde_json::to_value(selector).map_err(|error| error.to_string())?;
    LabelSelector::from_object(&value).map(|selector| selector.to_string()).map_err(|error| error.message)
}

/// The version that the server prefers, if it is understood, or the first that is.
fn chosen(group: &Group) -> Result<&str, String> {
    let offered =
        group.preferred_version.iter().chain(&group.versions).map(|version| version.version.as_str());
    let mut known = offered.filter(|version| VERSIONS.contains(version));
    known.next().ok_or_else(|| "no known available metric versions found".to_owned())
}

fn read(item: Item) -> Value {
    Value {
        object: item.described_object.map(|described| described.name).unwrap_or_default(),
        used: Use {
            milli: milli(&item.value),
            at: item.timestamp.unwrap_or(Timestamp::UNIX_EPOCH),
            window: item.window_seconds.map_or(WINDOW, SignedDuration::from_secs),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_of_all_versions_are_read() {
        let described = json!({"kind": "Pod", "name": "p"});
        let items = [
            json!({"describedObject": described, "metric": {"name": "m"}, "timestamp": "2026-01-01T00:00:00Z",
                "windowSeconds": 30, "value": "1500m"}),
            json!({"describedObject": described, "metricName": "m", "timestamp": "2026-01-01T00:00:00Z",
                "window": 30, "value": "1500m"}),
        ];
        for item in items {
            let value = read(serde_json::from_value(item).expect("a value"));
            assert_eq!(
                (value.object.as_str(), value.used.milli, value.used.window.as_secs()),
                ("p", 1500, 30)
            );
        }
        let external =
            json!({"metricName": "m", "metricLabels": {}, "timestamp": "2026-01-01T00:00:00Z", "value": "2"});
        let value = read(serde_json::from_value(external).expect("a value"));
        assert_eq!((value.object.as_str(), value.used.milli, value.used.window), ("", 2000, WINDOW));
    }

    #[test]
    fn a_version_is_chosen_that_is_understood() {
        let group = |preferred: &str, versions: &[&str]| -> Group {
            let version = |version: &str| json!({"groupVersion": "x", "version": version});
            let versions: Vec<_> = versions.iter().map(|name| version(name)).collect();
            serde_json::from_value(json!({"preferredVersion": version(preferred), "versions": versions}))
                .expect("a group")
        };
        assert_eq!(chosen(&group("v1beta1", &["v1beta1", "v1beta2"])), Ok("v1beta1"));
        assert_eq!(chosen(&group("v3", &["v3", "v1beta2"])), Ok("v1beta2"));
        assert!(chosen(&group("v3", &["v3"])).is_err());
    }
}
