//! Namespaces end in two steps: deletion only marks a namespace; the namespace is removed when the controller has
//! emptied it and removed its entry of `spec.finalizers` through the finalize subresource.

use http::StatusCode;

use crate::handlers::exchange::{finish, read_body};
use crate::handlers::options::WriteOptions;
use crate::handlers::storage::Target;
use crate::handlers::write::{Change, Part, Write};
use crate::handlers::{decode, metadata};
use crate::request::call::Call;
use crate::respond::Outcome;
use crate::respond::negotiate::Answer;

/// PUT of `finalize`: sets `spec.finalizers` and nothing else.
pub(crate) async fn finalize(target: Target, mut call: Call) -> Outcome {
    let answer = Answer::without_table(&call.headers)?;
    let options = WriteOptions::parse("UpdateOptions", &call.query, &call.headers, false)?;
    let bytes = read_body(&target, &mut call).await?;
    let mut warnings = Vec::new();
    let wanted = decode::object(&target.row, &call, &bytes, &options, &mut warnings)?;
    metadata::check_name(&wanted, "", &call.info.name)?;
    let current = target.read_existing("", &call.info.name).await?;
    let attributes = call.attributes();
    let mut write = Write {
        target: &target,
        attributes: &attributes,
        part: Part::Special,
        options,
        warnings,
        view: None,
    };
    let json = write
        .update(current, |_, old| {
            let mut object = old.clone();
            match wanted.at(&["spec", "finalizers"]) {
                Some(finalizers) => object.set_at(&["spec", "finalizers"], finalizers.clone()),
                None => {
                    object.remove_at(&["spec", "finalizers"]);
                }
            }
            object.set_meta_str("resourceVersion", wanted.resource_version());
            Ok(Change { object, managed: false })
        })
        .await?;
    finish(&target, &call, answer, StatusCode::OK, json, &write.warnings)
}
