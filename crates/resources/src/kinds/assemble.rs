//! Lines and kinds joined into rows.

use std::sync::Arc;

use api::GroupVersionKind;
use api::schema::Shape;

use super::builder::Kind;
use super::line::{self, Line};
use crate::columns::{self, Columns};
use crate::logic::Changes;
use crate::part::{Part, PartHandler};
use crate::row::{Resource, SelectableField};
use crate::schema::Schema;
use crate::schema_data;

/// The rows of `lines`, each completed by its kind.
///
/// # Errors
/// Everything that lines and kinds do not agree on, and paths that lead nowhere.
pub(super) fn assemble(lines: &str, mut kinds: Vec<Kind>) -> Result<Vec<Arc<Resource>>, Vec<String>> {
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    for line in line::all(lines) {
        let place =
            kinds.iter().position(|k| k.group_version == line.group_version && k.plural == line.plural);
        match place {
            Some(place) => rows.extend(row(&line, kinds.swap_remove(place), &mut faults).map(Arc::new)),
            None => faults.push(format!("{} of {} has no kind", line.plural, line.group_version)),
        }
    }
    faults.extend(kinds.iter().map(|k| format!("{} of {} has no line", k.plural, k.group_version)));
    if faults.is_empty() { Ok(rows) } else { Err(faults) }
}

fn row(line: &Line<'_>, kind: Kind, faults: &mut Vec<String>) -> Option<Resource> {
    let what = format!("{} of {}", line.plural, line.group_version);
    let gvk = |gv: &api::GroupVersion| GroupVersionKind::new(&gv.group, &gv.version, line.kind);
    let storage_version = kind.stored.as_ref().map_or(&line.group_version, |(version, _)| version).clone();
    let schemas = (
        schema_data::schema_of_kind(&gvk(&line.group_version)),
        schema_data::schema_of_kind(&gvk(&storage_version)),
    );
    let (Some(schema), Some(stored)) = schemas else {
        faults.push(format!("{what} has no structure"));
        return None;
    };
    for path in kind.selectable.iter().flat_map(|field| [Some(field.path), field.or]).flatten() {
        if !leads_somewhere(&stored, path.split('.')) {
            faults.push(format!("{what} has no field {path} to select by"));
        }
    }
    for field in &kind.immutable {
        if !leads_somewhere(&schema, field.path.iter().map(|step| &**step)) {
            faults.push(format!("{what} has no field {} to keep", field.path.join(".")));
        }
    }
    for path in kind.columns.iter().flat_map(Columns::paths) {
        if !leads_somewhere(&schema, path.iter().copied()) {
            faults.push(format!("{what} has no field {} to show", path.join(".")));
        }
    }
    if kind.immutable.is_empty() == matches!(kind.logic.changes(), Changes::AllButImmutable) {
        let wrong = ["keeps fields that no change is judged by", "names no field to keep"];
        faults.push(format!("{what} {}", wrong[usize::from(kind.immutable.is_empty())]));
    }
    let steps = |path: &'static str| path.split('.').map(Into::into).collect();
    let selectable_fields = kind.selectable.iter().map(|field| {
        let selectable = SelectableField::new(field.name.into(), steps(field.path), &stored);
        match field.or {
            Some(path) => selectable.or(steps(path)),
            None => selectable,
        }
    });
    Some(Resource {
        group: line.group_version.group.clone().into(),
        version: line.group_version.version.clone().into(),
        kind: line.kind.to_owned().into(),
        list_kind: format!("{}List", line.kind).into(),
        plural: line.plural.to_owned().into(),
        singular: line.kind.to_ascii_lowercase().into(),
        short_names: kind.short_names.iter().map(|name| (*name).into()).collect(),
        categories: kind.categories.iter().map(|name| (*name).into()).collect(),
        scope: line.scope,
        verbs: line.verbs.clone(),
        parts: parts(line, kind.parts, &schema, &what, faults),
        selectable_fields: selectable_fields.collect(),
        immutable_fields: kind.immutable,
        schema,
        stored_schema: stored,
        logic: kind.logic,
        rules: kind.rules,
        printer: kind.columns.map_or_else(columns::name_and_age, |columns| Arc::new(columns)),
        storage_prefix: kind.storage_prefix.unwrap_or(kind.plural).into(),
        storage_version,
        convert: kind.stored.map(|(_, convert)| convert),
        conversion: None,
        question: kind.question,
        observed: kind.observed,
        elsewhere: false,
        ttl_s: kind.ttl_s,
        deprecated: kind.deprecated.map(Into::into),
    })
}

/// Whether a path of field names leads to a field of a structure, or to an entry of a map.
fn leads_somewhere<'a>(schema: &Schema, path: impl IntoIterator<Item = &'a str>) -> bool {
    let top = Shape::Struct(schema.id());
    let end = path.into_iter().try_fold(&top, |shape, name| match shape {
        Shape::Struct(id) => schema.types().get(*id).field(name).map(|field| &field.shape),
        Shape::Map(map) => Some(&map.value),
        _ => None,
    });
    end.is_some()
}

fn parts(
    line: &Line<'_>,
    mut handlers: Vec<(&'static str, PartHandler)>,
    schema: &Schema,
    what: &str,
    faults: &mut Vec<String>,
) -> Vec<Part> {
    handlers.push(("status", PartHandler::Status));
    let mut parts = Vec::new();
    for part in &line.parts {
        let Some(place) = handlers.iter().position(|(name, _)| *name == part.name) else {
            faults.push(format!("{} of {what} has no handler", part.name));
            continue;
        };
        let (name, handler) = handlers.swap_remove(place);
        if let PartHandler::Scale(paths) = &handler {
            for path in [&paths.spec_replicas, &paths.status_replicas, &paths.selector] {
                if !leads_somewhere(schema, path.iter().map(|step| &**step)) {
                    faults.push(format!("{what} has no field {} to scale by", path.join(".")));
                }
            }
        }
        let mut kind = part.kind.clone();
        if let Some(options) = connect_options(line.kind, &handler) {
            kind.kind = options;
        }
        parts.push(Part { name: name.into(), kind, verbs: part.verbs.clone(), handler });
    }
    let unused = handlers.iter().filter(|(_, handler)| *handler != PartHandler::Status);
    faults.extend(unused.map(|(name, _)| format!("{what} has no subresource {name}")));
    parts.sort_by(|a, b| a.name.cmp(&b.name));
    parts
}

/// The kind discovery names for a connection, which the OpenAPI document does not say.
fn connect_options(kind: &str, handler: &PartHandler) -> Option<String> {
    let what = match handler {
        PartHandler::Attach => "Attach",
        PartHandler::Exec => "Exec",
        PartHandler::PortForward => "PortForward",
        PartHandler::Proxy(_) => "Proxy",
        _ => return None,
    };
    Some(format!("{kind}{what}Options"))
}
