//! The scale subresource: an `autoscaling/v1` Scale over an object's replica counts.

use std::borrow::Cow;

use api::codec::structure;
use api::field::{FieldError, Path};
use api::managed::{self, OneField, Writer};
use api::selector::LabelSelector;
use api::{Error, GroupKind, GroupVersionKind, Object};
use http::StatusCode;
use resources::ScalePaths;
use serde_json::{Value, json};

use super::decode;
use super::delete::namespace_of;
use super::exchange::read_body;
use super::options::WriteOptions;
use super::patch::{Patch, PatchType};
use super::storage::Target;
use super::table;
use super::write::{Change, Part, View, Write};
use crate::request::call::Call;
use crate::respond::negotiate::{Answer, Shape};
use crate::respond::{self, Outcome};

fn scale_kind() -> GroupVersionKind {
    GroupVersionKind::new("autoscaling", "v1", "Scale")
}

/// The Scale of an object.
fn scale_of(paths: &ScalePaths, object: &Object) -> Result<Object, Error> {
    let count = |path: &[Cow<'static, str>]| object.at(path).and_then(Value::as_i64).unwrap_or(0);
    let selector = match object.at(&paths.selector) {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) if value.get("matchLabels").is_some() || value.get("matchExpressions").is_some() => {
            LabelSelector::from_object(value)?.to_string()
        }
        Some(value) => {
            let labels = value.as_object().into_iter().flatten();
            LabelSelector::from_labels(labels.filter_map(|(k, v)| Some((k.as_str(), v.as_str()?))))
                .to_string()
        }
    };
    let mut metadata = serde_json::Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object.metadata().and_then(|m| m.get(field)) {
            metadata.insert(field.into(), value.clone());
        }
    }
    let mut scale = Object::default();
    scale.set_type(&scale_kind());
    scale.0.insert("metadata".into(), Value::Object(metadata));
    // As upstream, which leaves a wish for none out and tells of none that are there.
    let wanted = Some(count(&paths.spec_replicas)).filter(|wanted| *wanted != 0);
    scale.0.insert("spec".into(), wanted.map_or_else(|| json!({}), |wanted| json!({"replicas": wanted})));
    let mut status = json!({"replicas": count(&paths.status_replicas)});
    if !selector.is_empty() {
        status["selector"] = selector.into();
    }
    scale.0.insert("status".into(), status);
    Ok(scale)
}

fn shown(target: &Target, call: &Call, answer: Answer, scale: Object) -> Outcome {
    let value = match answer.shape {
        Shape::Whole => scale.into_value(),
        Shape::Metadata(partial) => table::metadata_only(&scale, partial.version),
        Shape::Table(version) => {
            let form = table::Form::parse(version, &call.query)?;
            let (now, revision) = (target.context.deps.clock.now(), scale.resource_version().to_owned());
            form.table_of(resources::columns::scale(), &[scale], now, &revision, true)
        }
    };
    respond::value(StatusCode::OK, answer, &value)
}

/// GET, PUT and PATCH of the scale of an object that has its figures at `paths`.
pub(crate) async fn answer(target: Target, paths: &ScalePaths, call: Call) -> Outcome {
    // Before anything is written.
    let form = Answer::negotiate(&call.headers, true)?;
    if call.info.verb == "get" {
        let current = target.read_existing(&namespace_of(&target, &call), &call.info.name).await?;
        return shown(&target, &call, form, scale_of(paths, &current.object)?);
    }
    change(target, paths, call, form).await
}

/// PUT and PATCH of a scale: only the wanted count reaches the object.
async fn change(target: Target, paths: &ScalePaths, mut call: Call, form: Answer) -> Outcome {
    let is_patch = call.info.verb == "patch";
    let kind = if is_patch { Some(PatchType::of(&call.headers)?) } else { None };
    let options = WriteOptions::parse(
        if is_patch { "PatchOptions" } else { "UpdateOptions" },
        &call.query,
        &call.headers,
        kind == Some(PatchType::Apply),
    )?;
    let bytes = read_body(&target, &mut call).await?;
    let schema = resources::schema_of_kind(&scale_kind())
        .ok_or_else(|| Error::internal("the Scale kind has no structure"))?;
    if is_patch {
        call.notes.received_patch(&bytes);
    }
    let mut warnings = Vec::new();
    let asked = match kind {
        None => Asked::Whole(decode::companion(&call, &bytes, &scale_kind())?),
        Some(PatchType::Apply) => {
            let config = decode::applied_as((&scale_kind(), &schema), &bytes, &options, &mut warnings)?;
            Asked::Applied(config, options.manager.clone(), options.force)
        }
        Some(kind) => Asked::Patch(Patch::read(kind, bytes, &mut Vec::new())?),
    };
    let namespace = namespace_of(&target, &call);
    let current = target.read_existing(&namespace, &call.info.name).await?;
    let attributes = call.attributes();
    let part = Part::of(&attributes);
    let view = ByScale { paths, name: &call.info.name };
    let (now, version) = (target.context.deps.clock.now(), target.row.group_version().to_string());
    let field = OneField { whole: &paths.spec_replicas, version: &version, part: &["spec", "replicas"] };
    let mut write =
        Write { target: &target, attributes: &attributes, part, options, warnings, view: Some(&view) };
    let json = write
        .update(current, |_, old| {
            let mut scale = match &asked {
                Asked::Patch(patch) => patch.apply(&scale_of(paths, old)?, &schema)?,
                Asked::Whole(whole) => whole.clone(),
                Asked::Applied(config, manager, force) => {
                    let mut live = scale_of(paths, old)?;
                    field.show(old, &mut live);
                    let own = scale_kind().group_version().to_string();
                    let writer = Writer { manager, api_version: &own, subresource: "scale", now };
                    managed::apply(schema.types(), schema.id(), Some(&live), config.clone(), *force, &writer)?
                }
            };
            structure::check(schema.types(), schema.id(), &mut scale)?;
            let (mut object, version) = (old.clone(), scale.resource_version().to_owned());
            let managed = matches!(asked, Asked::Applied(..));
            if managed {
                field.put(&scale, &mut object);
            }
            view.put(&mut object, scale)?;
            object.set_meta_str("resourceVersion", &version);
            Ok(Change { object, managed })
        })
        .await?;
    let object: Object = serde_json::from_slice(&json).map_err(Error::internal)?;
    shown(&target, &call, form, scale_of(paths, &object)?)
}

/// What is to become of a scale.
enum Asked {
    Whole(Object),
    Patch(Patch),
    /// A configuration, with its manager and whether conflicts are passed over.
    Applied(Object, String, bool),
}

/// An object as its scale, of which the wanted count is all that can be changed.
struct ByScale<'a> {
    paths: &'a ScalePaths,
    /// Of the object.
    name: &'a str,
}

impl View for ByScale<'_> {
    fn show(&self, object: &Object) -> Result<Object, Error> {
        scale_of(self.paths, object)
    }

    fn put(&self, object: &mut Object, shown: Object) -> Result<(), Error> {
        object.set_at(&self.paths.spec_replicas, wanted(&shown, self.name)?.into());
        Ok(())
    }
}

fn wanted(scale: &Object, name: &str) -> Result<i64, Error> {
    let replicas = scale.at(&["spec", "replicas"]).and_then(Value::as_i64).unwrap_or(0);
    if replicas < 0 {
        let path = Path::root("spec");
        let error =
            FieldError::invalid(&path.child("replicas"), replicas, "must be greater than or equal to 0");
        return Err(Error::invalid(&GroupKind::new("autoscaling", "Scale"), name, &vec![error]));
    }
    Ok(replicas)
}
