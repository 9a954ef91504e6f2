//! What the watch cache must know of the kinds, derived from the kind table. Pure.

use resources::{KindTable, Resource, SelectableField};

use crate::cache::{Extract, FieldSource, ResourceSpec, Templates, by_fields};

/// The fields of a row that can be found in what is stored. Versions of a custom kind need have nothing in common, so
/// there are none of another version than the stored one.
pub(crate) fn stored_fields(row: &Resource) -> impl Iterator<Item = &SelectableField> {
    let is_stored = row.schema.custom().is_none() || row.group_version() == row.storage_version;
    row.selectable_fields.iter().filter(move |_| is_stored)
}

/// Finds the fields in an object, in their order.
pub(crate) fn fields_of<'a>(fields: impl Iterator<Item = &'a SelectableField>) -> Extract {
    let source = |field: &'a SelectableField| FieldSource {
        path: field.path.as_slice(),
        or: field.or.as_deref(),
        absent: field.absent,
    };
    by_fields(&fields.map(source).collect::<Vec<_>>())
}

/// A spec for each place where objects are stored. Rows that share a place (versions of a kind)
/// share a spec with the selectable fields of all.
pub fn cache_specs(table: &KindTable) -> Vec<ResourceSpec> {
    let mut places: Vec<(&Resource, Vec<_>)> = Vec::new();
    for row in table.rows().filter(|row| row.is_stored()) {
        let known = places.iter().position(|(first, _)| first.storage_prefix == row.storage_prefix);
        let index = known.unwrap_or_else(|| {
            places.push((row, Vec::new()));
            places.len() - 1
        });
        let fields = &mut places[index].1;
        for field in stored_fields(row) {
            if !fields.contains(&field) {
                fields.push(field);
            }
        }
    }
    places
        .into_iter()
        .map(|(row, fields)| ResourceSpec {
            prefix: row.storage_prefix.to_string(),
            resource: row.group_resource(),
            namespaced: row.namespaced(),
            triggers: (0..fields.len()).filter(|index| fields[*index].trigger).collect(),
            field_names: fields.iter().map(|field| field.name.clone()).collect(),
            extract: fields_of(fields.iter().copied()),
            templates: Templates::default(),
        })
        .collect()
}
