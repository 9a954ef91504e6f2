//! The `scale` subresource of what an autoscaler names, of any kind that has one.

use api::{GroupVersion, Object};
use informer::Target;
use k8s_openapi::api::autoscaling::v2::CrossVersionObjectReference;
use kube::Client;
use resources::{KindTable, Resource};
use serde_json::Value;

/// What is scaled, as its scale shows it.
#[derive(Debug, Clone)]
pub(super) struct Scale {
    pub target: Target,
    object: Object,
}

impl Scale {
    /// How many pods are wanted.
    pub fn wanted(&self) -> i32 {
        let wanted = self.object.at(&["spec", "replicas"]).and_then(Value::as_i64).unwrap_or(0);
        i32::try_from(wanted).unwrap_or(i32::MAX)
    }

    /// How many pods there are.
    pub fn present(&self) -> i32 {
        let present = self.object.at(&["status", "replicas"]).and_then(Value::as_i64).unwrap_or(0);
        i32::try_from(present).unwrap_or(i32::MAX)
    }

    /// The pods' labels, in a selector's text; empty where the kind tells none.
    pub fn selector(&self) -> &str {
        self.object.str_at(&["status", "selector"]).unwrap_or_default()
    }

    /// The same with another number of pods wanted.
    pub fn to(&self, replicas: i32) -> Object {
        let mut object = self.object.clone();
        object.set_at(&["spec", "replicas"], replicas.into());
        object
    }

    #[cfg(test)]
    pub fn of(target: Target, object: Object) -> Self {
        Self { target, object }
    }
}

/// Reads the scale of what is referred to; why that cannot be done otherwise.
pub(super) async fn ask(
    client: &Client,
    table: &KindTable,
    namespace: &str,
    reference: &CrossVersionObjectReference,
) -> Result<Scale, String> {
    let target = target(table, namespace, reference)?;
    let request = http::Request::get(target.path()).body(Vec::new()).map_err(|error| error.to_string())?;
    let asked: Result<Value, kube::Error> = client.request(request).await;
    let object = asked.map_err(|error| client::message(&error))?;
    let object = Object::from_value(object).ok_or("the scale is no object")?;
    Ok(Scale { target, object })
}

fn target(
    table: &KindTable,
    namespace: &str,
    reference: &CrossVersionObjectReference,
) -> Result<Target, String> {
    let version = reference.api_version.as_deref().unwrap_or_default();
    let version =
        GroupVersion::parse(version).ok_or_else(|| format!("unexpected GroupVersion string: {version}"))?;
    let named = |row: &&std::sync::Arc<Resource>| row.group == version.group && row.kind == reference.kind;
    let mut rows: Vec<_> = table.rows().filter(named).collect();
    // Every version shows the same objects: that which is named comes first, and one that can be scaled before others.
    rows.sort_by_key(|row| (row.scale().is_none(), row.version != version.version));
    let row = rows
        .first()
        .ok_or_else(|| format!("no matches for kind {:?} in group {:?}", reference.kind, version.group))?;
    let target = Target::new(&row.group, &row.version, &row.plural, namespace, &reference.name);
    Ok(target.subresource("scale"))
}
