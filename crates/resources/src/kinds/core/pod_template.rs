//! Pod templates.

use api::Object;
use api::field::ErrorList;

use crate::columns::workload;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::validation::pod;

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new("v1", "podtemplates", PodTemplate)
        .counts_changes()
        .created_by_put()
        .returns_deleted()
        .printed(workload::POD_TEMPLATE, workload::pod_template)
}

struct PodTemplate;

impl Logic for PodTemplate {
    fn default(&self, object: &mut Object) {
        defaults::pod_template(object);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        pod::pod_template(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Any("nothing is made of a template but by who reads it")
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        pod::template_warnings_at(object, &["template"])
    }
}
