//! Pods run on those nodes that their namespace names in an annotation. Off by default, as upstream
//! (`plugin/pkg/admission/podnodeselector`), whose file of default selectors is not read.

use api::{Error, Object};
use serde_json::{Map, Value};

use super::plugin::{Immediate, Operation, Review};
use crate::cache::lookup::Lookup;

const ANNOTATION: &str = "scheduler.alpha.kubernetes.io/node-selector";

/// The plugin `PodNodeSelector`.
pub struct PodNodeSelector {
    lookup: Lookup,
}

impl PodNodeSelector {
    pub fn new(lookup: Lookup) -> Self {
        Self { lookup }
    }

    /// The labels that the request's namespace wants of nodes.
    fn wanted(&self, review: &Review<'_>) -> Result<Map<String, Value>, Error> {
        let namespace = self.lookup.object("", "namespaces", "", &review.attributes.namespace);
        let Some(namespace) = namespace else { return Ok(Map::new()) };
        let text =
            namespace.annotations().find(|(key, _)| *key == ANNOTATION).map(|(_, text)| text.to_owned());
        let Some(text) = text else { return Ok(Map::new()) };
        let mut wanted = Map::new();
        for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
            let Some((key, value)) = pair.split_once('=') else {
                let why = format!("Invalid selector: {text}: each requirement has to be KEY=VALUE");
                return Err(Error::bad_request(why));
            };
            wanted.insert(key.trim().to_owned(), value.trim().trim_start_matches('=').into());
        }
        Ok(wanted)
    }
}

impl Immediate for PodNodeSelector {
    fn name(&self) -> &'static str {
        "PodNodeSelector"
    }

    fn change(&self, review: &Review<'_>, object: Option<&mut Object>) -> Result<(), Error> {
        let concerned = review.operation == Operation::Create && review.is_about_whole("", "pods");
        let Some(pod) = object.filter(|_| concerned) else { return Ok(()) };
        let wanted = self.wanted(review)?;
        if wanted.is_empty() {
            return Ok(());
        }
        let mut selector = match pod.at(&["spec", "nodeSelector"]) {
            Some(Value::Object(selector)) => selector.clone(),
            _ => Map::new(),
        };
        if wanted.iter().any(|(key, value)| selector.get(key).is_some_and(|given| given != value)) {
            let why = "pod node label selector conflicts with its namespace node label selector";
            return Err(review.forbid(Some(pod), why));
        }
        selector.extend(wanted);
        pod.set_at(&["spec", "nodeSelector"], Value::Object(selector));
        Ok(())
    }
}
