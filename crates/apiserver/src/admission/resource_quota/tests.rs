//! What becomes of a charge when the request tries again.

use futures::FutureExt;
use serde_json::{Value, json};

use super::*;
use crate::admission::Rounds;
use crate::request::{Attributes, User};
use crate::testing::Fixture;

fn service(ports: usize, version: &str) -> Object {
    let ports: Vec<Value> =
        (0..ports).map(|port| json!({"name": format!("p{port}"), "port": port + 80})).collect();
    let object = json!({"metadata": {"name": "s", "namespace": "a", "uid": "u", "resourceVersion": version},
        "spec": {"type": "NodePort", "ports": ports}});
    Object::from_value(object).expect("an object")
}

/// An update from `old` to a service of so many ports.
fn update(
    quota: &ResourceQuota,
    old: &Object,
    ports: usize,
    held: Option<Reservation>,
) -> Result<Option<Reservation>, Error> {
    let table = resources::builtin();
    let attributes = Attributes {
        user: Arc::new(User::default()),
        is_resource: true,
        namespace: "a".to_owned(),
        name: "s".to_owned(),
        ..Attributes::default()
    };
    let review = Review {
        attributes: &attributes,
        resource: table.find("", "v1", "services").expect("served"),
        operation: Operation::Update,
        old: Some(old),
        dry_run: false,
        options: None,
        rounds: Rounds::default(),
    };
    let mut next = service(ports, old.resource_version());
    quota.reserve(&review, Some(&mut next), held).into_future().now_or_never().expect("from memory")
}

#[tokio::test]
async fn another_try_replaces_the_charge_and_a_refused_one_gives_it_back() {
    let f = Fixture::new().await;
    let limits = json!({"metadata": {"name": "q", "namespace": "a", "uid": "q"}, "spec": {"hard": {"services.nodeports": "3"}}});
    f.put("resourcequotas/a/q", &limits).await;
    let old = service(1, "");
    f.put("services/specs/a/s", &old.clone().into_value()).await;
    let quota = ResourceQuota::new(f.lookup.clone(), Arc::new(base::SystemClock));
    let stored = f.lookup.object("", "services", "a", "s").expect("stored");
    let first = update(&quota, &stored, 3, None).expect("granted").expect("charged");
    // The race is lost, and the same is asked for again: it counts once.
    let second = update(&quota, &stored, 3, Some(first)).expect("granted").expect("charged");
    // A try that wants too much is refused, and what it held is free again.
    let refused = update(&quota, &stored, 4, Some(second)).map(drop).expect_err("too much");
    assert!(refused.message.ends_with(
        "exceeded quota: q, requested: services.nodeports=3, used: services.nodeports=1, limited: services.nodeports=3"
    ), "{}", refused.message);
    assert!(update(&quota, &stored, 3, None).expect("granted").is_some());
    f.stop().await;
}
