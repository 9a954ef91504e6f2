//! A pod's priority comes from its priority class, never from the pod.

use api::{Error, Object};
use serde_json::Value;

use super::plugin::{Immediate, Operation, Review};
use crate::cache::lookup::{Lookup, decode};

const GROUP: &str = "scheduling.k8s.io";
const PLURAL: &str = "priorityclasses";
const DEFAULT_POLICY: &str = "PreemptLowerPriority";

/// The plugin `Priority`.
pub struct Priority {
    lookup: Lookup,
}

/// What a class gives a pod.
struct Class {
    name: String,
    value: i64,
    policy: String,
}

impl Class {
    fn of(object: &Object) -> Self {
        Self {
            name: object.name().to_owned(),
            value: object.at(&["value"]).and_then(Value::as_i64).unwrap_or(0),
            policy: object.str_at(&["preemptionPolicy"]).unwrap_or(DEFAULT_POLICY).to_owned(),
        }
    }
}

impl Priority {
    pub fn new(lookup: Lookup) -> Self {
        Self { lookup }
    }

    /// The class of pods that name none: of several defaults, the one with the lowest value.
    fn default_class(&self) -> Option<Class> {
        let classes = self.lookup.resource(GROUP, PLURAL)?.snapshot(None).entries;
        classes
            .iter()
            .filter_map(|entry| decode::<Object>(entry))
            .filter(is_default)
            .map(|object| Class::of(&object))
            .min_by_key(|class| class.value)
    }

    fn create(&self, review: &Review<'_>, pod: &mut Object) -> Result<(), Error> {
        let named = pod.str_at(&["spec", "priorityClassName"]).unwrap_or_default();
        let class = if named.is_empty() {
            let none = || Class { name: String::new(), value: 0, policy: DEFAULT_POLICY.to_owned() };
            self.default_class().unwrap_or_else(none)
        } else {
            let found = self.lookup.object(GROUP, PLURAL, "", named);
            let missing =
                || review.forbid(Some(pod), format!("no PriorityClass with name {named} was found"));
            Class::of(&found.ok_or_else(missing)?)
        };
        let computed = "priority admission controller computed";
        if let Some(given) = pod.at(&["spec", "priority"]).and_then(Value::as_i64)
            && given != class.value
        {
            return Err(review.forbid(Some(pod), format!(
                "the integer value of priority ({given}) must not be provided in pod spec; {computed} {} from the given PriorityClass name",
                class.value
            )));
        }
        if let Some(given) = pod.str_at(&["spec", "preemptionPolicy"])
            && given != class.policy
        {
            return Err(review.forbid(Some(pod), format!(
                "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; {computed} {} from the given PriorityClass name",
                class.policy
            )));
        }
        if !class.name.is_empty() {
            pod.set_at(&["spec", "priorityClassName"], class.name.into());
        }
        pod.set_at(&["spec", "priority"], class.value.into());
        pod.set_at(&["spec", "preemptionPolicy"], class.policy.into());
        Ok(())
    }
}

fn is_default(class: &Object) -> bool {
    class.at(&["globalDefault"]).and_then(Value::as_bool) == Some(true)
}

impl Immediate for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn change(&self, review: &Review<'_>, object: Option<&mut Object>) -> Result<(), Error> {
        let Some(pod) = object.filter(|_| review.is_about_whole("", "pods")) else { return Ok(()) };
        match (review.operation, review.old) {
            (Operation::Create, _) => self.create(review, pod),
            // What was given at creation stays where an update leaves it out.
            (Operation::Update, Some(old)) => {
                for field in ["priority", "preemptionPolicy"] {
                    if pod.at(&["spec", field]).is_none()
                        && let Some(value) = old.at(&["spec", field])
                    {
                        pod.set_at(&["spec", field], value.clone());
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn check(&self, review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
        let concerned = matches!(review.operation, Operation::Create | Operation::Update)
            && review.is_about_whole(GROUP, PLURAL);
        let Some(class) = object.filter(|class| concerned && is_default(class)) else { return Ok(()) };
        match self.default_class() {
            Some(other) if other.name != class.name() => {
                let why = format!(
                    "PriorityClass {} is already marked as default. Only one default can exist",
                    other.name
                );
                Err(review.forbid(object, why))
            }
            _ => Ok(()),
        }
    }
}
