//! What the watch cache must know of the kinds: made from the kind table. Pure.

use resources::KindTable;

use crate::cache::{FieldSource, ResourceSpec, Templates, by_fields};

/// A spec for each place where objects are stored. Rows that share a place (versions of a kind)
/// share a spec with the selectable fields of all.
pub fn cache_specs(table: &KindTable) -> Vec<ResourceSpec> {
    let mut places: Vec<(&str, bool, Vec<_>)> = Vec::new();
    for row in table.rows().filter(|row| row.question.is_none()) {
        let known = places.iter().position(|(prefix, ..)| *prefix == row.storage_prefix);
        let index = known.unwrap_or_else(|| {
            places.push((&row.storage_prefix, row.namespaced(), Vec::new()));
            places.len() - 1
        });
        let fields = &mut places[index].2;
        for field in &row.selectable_fields {
            if !fields.contains(&field) {
                fields.push(field);
            }
        }
    }
    places
        .into_iter()
        .map(|(prefix, namespaced, fields)| {
            let sources: Vec<_> = fields
                .iter()
                .map(|field| FieldSource { path: &field.path, or: field.or.as_deref(), absent: field.absent })
                .collect();
            ResourceSpec {
                prefix: prefix.to_owned(),
                namespaced,
                triggers: (0..fields.len()).filter(|index| fields[*index].trigger).collect(),
                field_names: fields.iter().map(|field| field.name.clone()).collect(),
                extract: by_fields(&sources),
                templates: Templates::default(),
            }
        })
        .collect()
}
