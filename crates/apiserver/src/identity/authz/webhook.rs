//! [`Webhook`]: asks a server whether a request is allowed, by a SubjectAccessReview.

use std::sync::Arc;

use expressions::{Budget, Type, Value as Cel};
use resources::conditions::{CALL_BUDGET, MATCH_BUDGET};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::authorizer::{Authorizer, Decision};
use super::configuration::AccessWebhook;
use crate::eventual::Eventual;
use crate::remembered::Remembered;
use crate::request::Attributes;
use crate::webhook::Remote;

static ANY: Type = Type::Dyn;
/// Answers to longer questions are not kept, as upstream; in bytes.
const MAX_KEPT: usize = 10_000;

/// See the module's documentation.
pub struct Webhook {
    settings: AccessWebhook,
    remote: Remote,
    answers: Remembered<Arc<str>, Decision>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Review {
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    allowed: bool,
    denied: bool,
    reason: String,
    evaluation_error: String,
}

impl Webhook {
    /// Reads the kubeconfig; nothing is asked yet.
    ///
    /// # Errors
    /// Why the kubeconfig cannot be used.
    pub async fn open(settings: AccessWebhook) -> Result<Self, String> {
        if !matches!(settings.version.as_str(), "v1" | "v1beta1") {
            return Err(format!("unsupported webhook authorizer version {:?}", settings.version));
        }
        let remote = Remote::open(&settings.kubeconfig).await;
        let remote = remote.map_err(|why| format!("{}: {why}", settings.kubeconfig.display()))?;
        Ok(Self { settings, remote, answers: Remembered::default() })
    }

    async fn ask(&self, attributes: &Attributes) -> Decision {
        let spec = spec(attributes);
        match self.concerned(&spec) {
            Ok(true) => {}
            Ok(false) => return Decision::NoOpinion(String::new()),
            Err(why) => return self.failed(&why),
        }
        let mut spec = Value::Object(spec);
        if self.settings.version == "v1beta1" {
            // The older version has another name for the groups.
            if let Some(groups) = spec.as_object_mut().and_then(|spec| spec.remove("groups")) {
                spec["group"] = groups;
            }
        }
        let asked: Arc<str> = spec.to_string().into();
        if let Some(answer) = self.answers.get(&asked) {
            return answer;
        }
        let status = match self.answer(&spec).await {
            Ok(status) => status,
            Err(why) => return self.failed(&why),
        };
        if !status.evaluation_error.is_empty() {
            tracing::debug!(
                webhook = self.settings.name,
                why = status.evaluation_error,
                "an evaluation failed"
            );
        }
        let (decision, counts) = match (status.allowed, status.denied) {
            (true, true) => {
                return self.failed("webhook subject access review returned both allow and deny response");
            }
            (true, false) => (Decision::Allow, self.settings.allowed_for),
            (false, true) => (Decision::Deny(status.reason), self.settings.refused_for),
            (false, false) => (Decision::NoOpinion(status.reason), self.settings.refused_for),
        };
        if asked.len() <= MAX_KEPT {
            self.answers.insert(asked, decision.clone(), counts);
        }
        decision
    }

    /// Whether the server is to be asked.
    fn concerned(&self, spec: &Map<String, Value>) -> Result<bool, String> {
        let mut budget = Budget::steps(MATCH_BUDGET);
        let mut failed = None;
        for (text, program) in &self.settings.conditions {
            let before = budget.part(CALL_BUDGET);
            let mut part = budget.part(CALL_BUDGET);
            let value = program.run(&[Cel::Object(spec, &ANY)], &mut part);
            budget.spend(&before, &part);
            match value {
                Ok(Cel::Bool(true)) => {}
                Ok(Cel::Bool(false)) => return Ok(false),
                Ok(_) => {
                    failed = Some(format!("cel evaluation error: expression '{text}' should return bool"))
                }
                Err(why) => {
                    failed =
                        Some(format!("cel evaluation error: expression '{text}' resulted in error: {why:?}"))
                }
            }
        }
        failed.map_or(Ok(true), Err)
    }

    async fn answer(&self, spec: &Value) -> Result<Status, String> {
        let review = json!({
            "kind": "SubjectAccessReview", "apiVersion": format!("authorization.k8s.io/{}", self.settings.version),
            "metadata": {}, "spec": spec, "status": {"allowed": false},
        });
        let body = review.to_string().into_bytes();
        let answer = self.remote.ask(body, self.settings.timeout).await.map_err(|failure| failure.why)?;
        let review: Review = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
        Ok(review.status)
    }

    fn failed(&self, why: &str) -> Decision {
        tracing::warn!(webhook = self.settings.name, why, "a webhook of authorization gave no decision");
        if self.settings.fails_closed {
            return Decision::Deny(String::new());
        }
        Decision::NoOpinion(String::new())
    }
}

impl Authorizer for Webhook {
    fn asks_others(&self) -> bool {
        true
    }

    fn authorize<'a>(&'a self, attributes: &'a Attributes) -> Eventual<'a, Decision> {
        Eventual::later(self.ask(attributes))
    }
}

/// The `spec` of the review, version `v1`.
fn spec(attributes: &Attributes) -> Map<String, Value> {
    let given = |fields: &[(&str, &str)]| -> Map<String, Value> {
        let fields = fields.iter().filter(|(_, value)| !value.is_empty());
        fields.map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect()
    };
    let mut spec = Map::new();
    if attributes.is_resource {
        let mut asked = given(&[
            ("namespace", &attributes.namespace),
            ("verb", &attributes.verb),
            ("group", &attributes.group),
            ("version", &attributes.version),
            ("resource", &attributes.resource),
            ("subresource", &attributes.subresource),
            ("name", &attributes.name),
        ]);
        for (name, pairs) in
            [("fieldSelector", &attributes.field_selector), ("labelSelector", &attributes.label_selector)]
        {
            if !pairs.is_empty() {
                let one = |(key, value): &(String, String)| json!({"key": key, "operator": "In", "values": [value]});
                let requirements: Vec<_> = pairs.iter().map(one).collect();
                asked.insert(name.to_owned(), json!({"requirements": requirements}));
            }
        }
        spec.insert("resourceAttributes".to_owned(), Value::Object(asked));
    } else {
        let asked = given(&[("path", &attributes.path), ("verb", &attributes.verb)]);
        spec.insert("nonResourceAttributes".to_owned(), Value::Object(asked));
    }
    let user = &attributes.user;
    spec.insert("user".to_owned(), Value::from(user.name.as_str()));
    if !user.groups.is_empty() {
        spec.insert("groups".to_owned(), Value::from(user.groups.as_slice()));
    }
    if !user.extra.is_empty() {
        spec.insert("extra".to_owned(), json!(user.extra));
    }
    if !user.uid.is_empty() {
        spec.insert("uid".to_owned(), Value::from(user.uid.as_str()));
    }
    spec
}

/// Allows everything.
pub struct AlwaysAllow;

impl Authorizer for AlwaysAllow {
    fn authorize<'a>(&'a self, _: &'a Attributes) -> Eventual<'a, Decision> {
        Decision::Allow.into()
    }
}

/// Allows nothing.
pub struct AlwaysDeny;

impl Authorizer for AlwaysDeny {
    fn authorize<'a>(&'a self, _: &'a Attributes) -> Eventual<'a, Decision> {
        Decision::NoOpinion("Everything is forbidden.".to_owned()).into()
    }
}
