//! A property: whatever stands in a field of whatever kind, however it is sent, the server answers
//! with the object or with a `Status` that says why not, and what it takes it can show and take again.
//!
//! Every field of every structure is damaged at least once a run, in a way and by a request that a
//! seed decides. A failure names the seed, the turn and the request.

mod fields;
mod request;
mod values;

use std::collections::HashSet;

use api::schema::StructId;
use resources::{Resource, Verb};
use serde_json::Value;

use crate::harness::{Answer, Harness};
use crate::random::{self, Random};
use crate::samples::{collection, named, sample};
use fields::Place;
use request::{Sent, Subject, WAYS, Way};

const BASE: &str = "base";
/// Of fields that stand in several places (a pod's, in all that make pods), one in so many is
/// damaged again.
const REPEATED: usize = 25;
/// Subresources that carry streams, not objects.
const STREAMS: [&str; 5] = ["attach", "exec", "log", "portforward", "proxy"];

/// Whether an answer is one of a server in its right mind; else why not.
pub fn fault(answer: &Answer) -> Option<String> {
    let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else {
        return Some(format!("{}: no JSON: {:?}", answer.status, answer.body));
    };
    let text = |key: &str| body[key].as_str().unwrap_or_default();
    let ok = match answer.status {
        200..300 => !text("kind").is_empty(),
        400..500 => {
            text("kind") == "Status"
                && text("status") == "Failure"
                && !text("reason").is_empty()
                && !text("message").is_empty()
                && body["code"] == answer.status
        }
        // Upstream's words and code for a configuration that is no value of its type.
        500 => {
            text("message").starts_with("failed to create typed patch object (") && text("reason").is_empty()
        }
        _ => false,
    };
    (!ok).then(|| format!("{}: {body}", answer.status))
}

struct Run<'a> {
    harness: &'a Harness,
    seed: u64,
    turn: u64,
    /// Structures' fields that were damaged.
    seen: HashSet<(StructId, String)>,
    faults: Vec<String>,
    /// How many requests succeeded, and how many were refused.
    taken: usize,
    refused: usize,
}

impl Run<'_> {
    /// The next turn's choices, when the place is due.
    fn turn(&mut self, place: &Place) -> Option<Random> {
        self.turn += 1;
        let mut random = Random::new(self.seed, self.turn);
        let first = place.owner().is_none_or(|owner| self.seen.insert(owner));
        (first || random.once_in(REPEATED)).then_some(random)
    }

    async fn kind(&mut self, row: &Resource) {
        let collection = collection(row);
        let base = if row.question.is_some() {
            Value::Null
        } else {
            self.harness.post(&collection, &sample(row, BASE)).await.ok()
        };
        let subject = Subject { row, collection, base };
        for place in fields::all(row.schema.types(), row.schema.id()) {
            if let Some(random) = self.turn(&place)
                && let Err(why) = self.damage(&subject, &place, random).await
            {
                self.faults.push(format!("turn {}, {} of {}: {why}", self.turn, place.pointer(), row.kind));
            }
        }
        if row.question.is_some() {
            return;
        }
        self.companions(&subject).await;
        let listed = self.harness.get(&subject.collection).await;
        if listed.status != 200 {
            self.faults.push(format!("{} are not listed: {:?}", row.plural, listed.body));
        }
        self.harness
            .delete(&format!("{}/{}?gracePeriodSeconds=0", subject.collection, named(&row.plural, BASE)))
            .await;
    }

    /// The kinds that go with subresources.
    async fn companions(&mut self, subject: &Subject<'_>) {
        for info in &subject.row.parts {
            let Some(schema) = resources::schema_of_kind(&info.kind) else { continue };
            if info.name == "status" || STREAMS.contains(&&*info.name) {
                continue;
            }
            for place in fields::all(schema.types(), schema.id()) {
                for verb in [Verb::Create, Verb::Update, Verb::Patch] {
                    if !info.verbs.contains(&verb) {
                        continue;
                    }
                    self.turn += 1;
                    let mut random = Random::new(self.seed, self.turn);
                    // A pod's parts are the whole pod.
                    if info.kind.kind == subject.row.kind && !random.once_in(REPEATED) {
                        continue;
                    }
                    let damage = values::damage(place.shape(), &mut random);
                    let sent = subject.companion(&info.name, verb, &info.kind, &place, &damage);
                    if let Some(why) = fault(&sent.by(self.harness).await) {
                        self.faults.push(format!("turn {}: {why}\n{}", self.turn, sent.describe()));
                    }
                }
            }
        }
    }

    async fn damage(
        &mut self,
        subject: &Subject<'_>,
        place: &Place,
        mut random: Random,
    ) -> Result<(), String> {
        let damage = values::damage(place.shape(), &mut random);
        let way = if subject.row.question.is_some() { Way::Create } else { random.pick(&WAYS) };
        let sent = subject.request(place, &damage, way, &mut random);
        let answer = sent.by(self.harness).await;
        if let Some(why) = fault(&answer) {
            return Err(format!("{why}\n{}", sent.describe()));
        }
        if answer.status < 300 {
            self.taken += 1;
        } else {
            self.refused += 1;
        }
        if way == Way::CreateForReal && answer.status == 201 {
            let shown = self.shown_again(&subject.collection, &answer.json()).await;
            return shown.map_err(|why| format!("{why}\n{}", Sent::describe(&sent)));
        }
        Ok(())
    }

    /// What was taken is shown, in every form, and taken again.
    async fn shown_again(&self, collection: &str, made: &Value) -> Result<(), String> {
        let name = made["metadata"]["name"].as_str().unwrap_or_default();
        let url = format!("{collection}/{name}");
        let got = self.harness.get(&url).await;
        let table = self.harness.get_as(&url, "application/json;as=Table;v=v1;g=meta.k8s.io").await;
        let yaml = self.harness.get_as(&url, "application/yaml").await;
        if (got.status, table.status, yaml.status) != (200, 200, 200) || fault(&table).is_some() {
            return Err(format!("it is not shown: {:?} {:?} {:?}", got.body, table.body, yaml.body));
        }
        let got = got.json();
        let put = self.harness.put(&url, &got).await;
        if put.status != 200 {
            return Err(format!("it is not taken again: {:?}", put.body));
        }
        let version = |o: &Value| o["metadata"]["resourceVersion"].clone();
        let put = put.json();
        if version(&put) != version(&got) {
            return Err(format!("taking it again changed it:\n{got}\n{put}"));
        }
        let deleted = self.harness.delete(&format!("{url}?gracePeriodSeconds=0")).await;
        fault(&deleted).map_or(Ok(()), |why| Err(format!("it is not deleted: {why}")))
    }
}

#[tokio::test]
async fn no_field_of_any_kind_makes_the_server_stumble() {
    let harness = Harness::start().await;
    let seed = random::seed();
    let (seen, faults) = (HashSet::new(), Vec::new());
    let mut run = Run { harness: &harness, seed, turn: 0, seen, faults, taken: 0, refused: 0 };
    for row in resources::builtin().rows().filter(|r| r.supports(Verb::Create)) {
        run.kind(row).await;
    }
    let Run { faults, seen, taken, refused, .. } = run;
    println!("{} fields, {taken} requests taken, {refused} refused", seen.len());
    assert!(seen.len() > 1_000 && taken > 200 && refused > 200, "too little was tried");
    assert!(faults.is_empty(), "seed {seed}, {} faults:\n{}", faults.len(), faults.join("\n\n"));
}
