//! Service accounts: references to secrets are names alone.

use api::Object;
use serde_json::Value;

use crate::columns::basic;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::part::PartHandler;
use crate::validation::warnings;

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new("v1", "serviceaccounts", ServiceAccount)
        .short("sa")
        .returns_deleted()
        .columns(basic::SERVICE_ACCOUNT)
        .part("token", PartHandler::Token)
}

struct ServiceAccount;

impl Logic for ServiceAccount {
    fn prepare_create(&self, object: &mut Object) {
        prepare(object);
    }

    fn prepare_update(&self, new: &mut Object, _old: &Object) {
        prepare(new);
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Any("references may come and go")
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        warnings::service_account(object)
    }
}

fn prepare(account: &mut Object) {
    for secret in account.0.get_mut("secrets").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(reference) = secret.as_object_mut() {
            reference.retain(|key, _| key == "name");
        }
    }
}
