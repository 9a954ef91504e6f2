//! What the watch cache must know of the kinds: made from the kind table. Pure.

use resources::KindTable;

use crate::cache::{ResourceSpec, by_paths};

/// A spec for each place where objects are stored. Rows that share a place (versions of a kind)
/// share a spec with the selectable fields of all.
pub fn cache_specs(table: &KindTable) -> Vec<ResourceSpec> {
    let mut places: Vec<(&str, bool, Vec<_>)> = Vec::new();
    for row in table.rows().filter(|row| !row.virtual_kind) {
        let known = places.iter().position(|(prefix, ..)| *prefix == row.storage_prefix);
        let index = known.unwrap_or_else(|| {
            places.push((&row.storage_prefix, row.namespaced(), Vec::new()));
            places.len() - 1
        });
        let fields = &mut places[index].2;
        for (field, absent) in row.selectable_fields.iter().zip(resources::absent_field_values(row)) {
            if !fields.iter().any(|(known, _)| *known == field) {
                fields.push((field, absent));
            }
        }
    }
    places
        .into_iter()
        .map(|(prefix, namespaced, fields)| {
            let paths: Vec<_> = fields.iter().map(|((_, path), absent)| (path.clone(), *absent)).collect();
            ResourceSpec {
                prefix: prefix.to_owned(),
                namespaced,
                field_names: fields.iter().map(|((name, _), _)| name.clone()).collect(),
                extract: by_paths(&paths),
            }
        })
        .collect()
}
