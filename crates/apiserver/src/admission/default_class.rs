//! Claims and ingresses that name no class get the cluster's default one.
//!
//! Upstream: `plugin/pkg/admission/storage/storageclass/setdefault` and `plugin/pkg/admission/network/defaultingressclass`.

use api::{Error, Object};

use super::plugin::{Immediate, Operation, Review};
use crate::cache::lookup::{Lookup, decode};

/// The plugin `DefaultStorageClass`.
pub struct DefaultStorageClass {
    lookup: Lookup,
}

/// The plugin `DefaultIngressClass`.
pub struct DefaultIngressClass {
    lookup: Lookup,
}

impl DefaultStorageClass {
    pub fn new(lookup: Lookup) -> Self {
        Self { lookup }
    }
}

impl DefaultIngressClass {
    pub fn new(lookup: Lookup) -> Self {
        Self { lookup }
    }
}

const CLAIM_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const INGRESS_CLASS: &str = "kubernetes.io/ingress.class";

impl Immediate for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    fn change(&self, review: &Review<'_>, object: Option<&mut Object>) -> Result<(), Error> {
        let concerned =
            review.operation == Operation::Create && review.is_about_whole("", "persistentvolumeclaims");
        let Some(claim) = object.filter(|_| concerned) else { return Ok(()) };
        // An empty name is one: a claim without a class.
        if claim.annotation(CLAIM_CLASS).is_some() || claim.str_at(&["spec", "storageClassName"]).is_some() {
            return Ok(());
        }
        let marks = [
            "storageclass.kubernetes.io/is-default-class",
            "storageclass.beta.kubernetes.io/is-default-class",
        ];
        if let Some(class) = default_of(&self.lookup, "storage.k8s.io", "storageclasses", &marks) {
            claim.set_at(&["spec", "storageClassName"], class.into());
        }
        Ok(())
    }
}

impl Immediate for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }

    fn change(&self, review: &Review<'_>, object: Option<&mut Object>) -> Result<(), Error> {
        let concerned =
            review.operation == Operation::Create && review.is_about_whole("networking.k8s.io", "ingresses");
        let Some(ingress) = object.filter(|_| concerned) else { return Ok(()) };
        if ingress.annotation(INGRESS_CLASS).is_some()
            || ingress.str_at(&["spec", "ingressClassName"]).is_some()
        {
            return Ok(());
        }
        let marks = ["ingressclass.kubernetes.io/is-default-class"];
        if let Some(class) = default_of(&self.lookup, "networking.k8s.io", "ingressclasses", &marks) {
            ingress.set_at(&["spec", "ingressClassName"], class.into());
        }
        Ok(())
    }
}

/// The name of the class that is marked as default: of several the newest, of equally old ones the first.
fn default_of(lookup: &Lookup, group: &str, plural: &str, marks: &[&str]) -> Option<String> {
    let classes = lookup.resource(group, plural)?.snapshot(None).entries;
    let marked = classes
        .iter()
        .filter_map(|entry| decode::<Object>(entry))
        .filter(|class| marks.iter().any(|mark| class.annotation(mark) == Some("true")));
    let mut marked: Vec<(String, String)> = marked
        .map(|class| (class.meta_str("creationTimestamp").to_owned(), class.name().to_owned()))
        .collect();
    marked.sort_by(|(a_born, a), (b_born, b)| b_born.cmp(a_born).then_with(|| a.cmp(b)));
    marked.into_iter().next().map(|(_, name)| name)
}
