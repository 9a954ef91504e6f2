//! What the watch cache must know of the kinds, derived from the kind table. Pure.

use resources::{KindTable, Resource};

use crate::cache::{FieldSource, ResourceSpec, Templates, by_fields};

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
        for field in &row.selectable_fields {
            if !fields.contains(&field) {
                fields.push(field);
            }
        }
    }
    places
        .into_iter()
        .map(|(row, fields)| {
            let sources: Vec<_> = fields
                .iter()
                .map(|field| FieldSource { path: &field.path, or: field.or.as_deref(), absent: field.absent })
                .collect();
            ResourceSpec {
                prefix: row.storage_prefix.to_string(),
                resource: row.group_resource(),
                namespaced: row.namespaced(),
                triggers: (0..fields.len()).filter(|index| fields[*index].trigger).collect(),
                field_names: fields.iter().map(|field| field.name.clone()).collect(),
                extract: by_fields(&sources),
                templates: Templates::default(),
            }
        })
        .collect()
}
