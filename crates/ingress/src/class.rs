//! The class that every cluster has: made where it is missing, and otherwise its user's to change.

use k8s_openapi::api::networking::v1::{IngressClass, IngressClassSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};

use crate::translate::CONTROLLER;

/// The name of the class.
pub const NAME: &str = "knarr";
const DEFAULT_ANNOTATION: &str = "ingressclass.kubernetes.io/is-default-class";

/// Makes the class if there is none of its name: the default one, unless another one is that already.
///
/// # Errors
/// When the API refuses.
pub async fn ensure(client: &Client) -> Result<(), kube::Error> {
    let api: Api<IngressClass> = Api::all(client.clone());
    let classes = api.list(&ListParams::default()).await?.items;
    let Some(class) = missing(&classes) else { return Ok(()) };
    match api.create(&PostParams::default(), &class).await {
        Err(error) if !client::is_already_exists(&error) => Err(error),
        _ => Ok(()),
    }
}

/// The class, where it is missing among those that there are.
fn missing(classes: &[IngressClass]) -> Option<IngressClass> {
    if classes.iter().any(|class| class.metadata.name.as_deref() == Some(NAME)) {
        return None;
    }
    let is_default = |class: &IngressClass| {
        let annotations = class.metadata.annotations.as_ref();
        annotations.and_then(|all| all.get(DEFAULT_ANNOTATION)).is_some_and(|value| value == "true")
    };
    let becomes_default = !classes.iter().any(is_default);
    let annotations = becomes_default.then(|| [(DEFAULT_ANNOTATION.to_owned(), "true".to_owned())].into());
    Some(IngressClass {
        metadata: ObjectMeta { name: Some(NAME.to_owned()), annotations, ..ObjectMeta::default() },
        spec: Some(IngressClassSpec { controller: Some(CONTROLLER.to_owned()), parameters: None }),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn class(name: &str, annotations: &Value) -> IngressClass {
        let class =
            json!({"metadata": {"name": name, "annotations": annotations}, "spec": {"controller": "x/y"}});
        serde_json::from_value(class).expect("a class")
    }

    #[test]
    fn the_class_is_made_once_and_is_the_default_where_none_is() {
        let made = missing(&[class("nginx", &json!({}))]).expect("made");
        assert_eq!(
            made.metadata.annotations,
            Some([(DEFAULT_ANNOTATION.to_owned(), "true".to_owned())].into())
        );
        assert_eq!(made.spec.and_then(|spec| spec.controller).as_deref(), Some("knarr.dev/ingress"));
        let other = class("nginx", &json!({DEFAULT_ANNOTATION: "true"}));
        assert_eq!(missing(&[other]).expect("made").metadata.annotations, None);
        assert_eq!(missing(&[class(NAME, &json!({}))]), None);
    }
}
