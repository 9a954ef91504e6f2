//! A damaged field as a request: how it is sent, and to what.

use api::GroupVersionKind;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use resources::{Resource, Verb};
use serde_json::{Value, json};

use super::BASE;
use super::fields::{self, Place};
use super::values::{self, Damage};
use crate::harness::{Answer, Harness};
use crate::random::Random;
use crate::samples::{named, sample};

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const DRY: &str = "?dryRun=All";

/// How a damaged field is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Create,
    CreateForReal,
    Put,
    PutStatus,
    Merge,
    MergeStatus,
    Strategic,
    JsonPatch,
    Apply,
    ApplyYaml,
    ApplyNew,
}

pub const WAYS: [Way; 11] = [
    Way::Create,
    Way::CreateForReal,
    Way::Put,
    Way::PutStatus,
    Way::Merge,
    Way::MergeStatus,
    Way::Strategic,
    Way::JsonPatch,
    Way::Apply,
    Way::ApplyYaml,
    Way::ApplyNew,
];

/// A request.
pub struct Sent {
    method: Method,
    url: String,
    content_type: &'static str,
    body: String,
}

impl Sent {
    fn new(method: Method, url: String, content_type: &'static str, body: &Value) -> Self {
        Self { method, url, content_type, body: values::text(body) }
    }

    pub async fn by(&self, harness: &Harness) -> Answer {
        let request = Request::builder()
            .method(self.method.clone())
            .uri(&self.url)
            .header("content-type", self.content_type)
            .body(Full::new(Bytes::from(self.body.clone())))
            .expect("a request that can be sent");
        harness.send(request).await
    }

    /// What to show when the answer is wrong.
    pub fn describe(&self) -> String {
        let body: String = self.body.chars().take(2_000).collect();
        format!("{} {} {}\n{body}", self.method, self.url, self.content_type)
    }
}

/// The object with the damage done.
fn damaged(mut object: Value, place: &Place, damage: &Damage) -> Value {
    let value = match damage {
        Damage::Value(value) => value.clone(),
        Damage::Unknown(name) => {
            unknown(fields::plausible(resources::builtin_types(), place.shape(), 0), name)
        }
    };
    place.set(resources::builtin_types(), &mut object, value);
    object
}

/// An object with a field nobody knows.
fn unknown(mut object: Value, name: &str) -> Value {
    match &mut object {
        Value::Object(fields) => drop(fields.insert(name.to_owned(), 1.into())),
        other => *other = json!({ name: 1 }),
    }
    object
}

/// What stands in the damaged field.
fn content(damage: &Damage) -> Value {
    match damage {
        Damage::Value(value) => value.clone(),
        Damage::Unknown(name) => unknown(json!({}), name),
    }
}

/// A kind under test.
pub struct Subject<'a> {
    pub row: &'a Resource,
    pub collection: String,
    /// What is there to be changed.
    pub base: Value,
}

impl Subject<'_> {
    fn existing(&self, subresource: &str) -> String {
        format!("{}/{}{subresource}{DRY}", self.collection, named(&self.row.plural, BASE))
    }

    pub fn request(&self, place: &Place, damage: &Damage, way: Way, random: &mut Random) -> Sent {
        match way {
            Way::Create | Way::CreateForReal => {
                let dry = if way == Way::Create { "dryRun=All" } else { "" };
                let strict = if random.once_in(4) { "&fieldValidation=Strict" } else { "" };
                let url = format!("{}?{dry}{strict}", self.collection);
                Sent::new(Method::POST, url, JSON, &damaged(sample(self.row, "new"), place, damage))
            }
            Way::Put | Way::PutStatus => {
                let url = self.existing(if way == Way::Put { "" } else { "/status" });
                Sent::new(Method::PUT, url, JSON, &damaged(self.base.clone(), place, damage))
            }
            Way::Merge => self.patch("", MERGE, place, damage, random),
            Way::MergeStatus => self.patch("/status", MERGE, place, damage, random),
            Way::Strategic => self.patch("", STRATEGIC, place, damage, random),
            Way::JsonPatch => self.json_patch(place, damage, random),
            Way::Apply | Way::ApplyYaml | Way::ApplyNew => {
                let name = if way == Way::ApplyNew { "applied" } else { BASE };
                let url = format!(
                    "{}/{}{DRY}&fieldManager=m&force=true",
                    self.collection,
                    named(&self.row.plural, name)
                );
                let config = damaged(sample(self.row, name), place, damage);
                let mut sent = Sent::new(Method::PATCH, url, "application/apply-patch+yaml", &config);
                if way == Way::ApplyYaml {
                    sent.body.insert_str(0, "# no JSON\n");
                }
                sent
            }
        }
    }

    fn patch(
        &self,
        subresource: &str,
        kind: &'static str,
        place: &Place,
        damage: &Damage,
        random: &mut Random,
    ) -> Sent {
        let patch = if random.once_in(2) {
            let top = damaged(sample(self.row, BASE), place, damage)[place.top()].take();
            json!({ place.top(): top })
        } else {
            place.around(content(damage))
        };
        Sent::new(Method::PATCH, self.existing(subresource), kind, &patch)
    }

    fn json_patch(&self, place: &Place, damage: &Damage, random: &mut Random) -> Sent {
        let op = random.pick(&["add", "replace", "remove", "test", "move", "copy"]);
        let from = random.pick(&["/metadata", "/spec", "/metadata/name", "", "/x/-"]);
        let patch = if random.once_in(2) {
            json!([{"op": op, "path": place.pointer(), "value": content(damage), "from": from}])
        } else {
            let whole = damaged(self.base.clone(), place, damage)[place.top()].take();
            json!([{"op": "add", "path": format!("/{}", place.top()), "value": whole}])
        };
        Sent::new(Method::PATCH, self.existing(""), "application/json-patch+json", &patch)
    }

    /// A request to a subresource with a kind of its own.
    pub fn companion(
        &self,
        name: &str,
        verb: Verb,
        gvk: &GroupVersionKind,
        place: &Place,
        damage: &Damage,
    ) -> Sent {
        let url = self.existing(&format!("/{name}"));
        let object = json!({
            "apiVersion": gvk.group_version().to_string(), "kind": gvk.kind, "metadata": {"name": BASE},
        });
        match verb {
            Verb::Create => Sent::new(Method::POST, url, JSON, &damaged(object, place, damage)),
            Verb::Update => Sent::new(Method::PUT, url, JSON, &damaged(object, place, damage)),
            _ => Sent::new(Method::PATCH, url, MERGE, &place.around(content(damage))),
        }
    }
}
