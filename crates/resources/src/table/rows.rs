//! Makes the built-in rows: the generated lines of `data/rows.txt` joined with the facts written
//! by hand.
//!
//! A line is `group/version plural Kind scope verb,verb subresource:verb,verb:group/version/Kind …`.

use std::borrow::Cow;
use std::sync::Arc;

use api::{GroupVersion, GroupVersionKind};

use super::facts;
use crate::part::Part;
use crate::row::{Resource, Scope, SelectableField, Verb};
use crate::{columns, schema_data, strategy};

const ROWS: &str = include_str!("../../data/rows.txt");

/// One line, taken apart.
struct Line {
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
    scope: Scope,
    verbs: Vec<Verb>,
    /// (name, verbs, group/version/Kind).
    subresources: Vec<(&'static str, &'static str, &'static str)>,
}

fn lines() -> impl Iterator<Item = Line> {
    ROWS.lines().filter(|l| !l.starts_with('#')).map(|line| {
        let mut words = line.split(' ');
        let mut next = || words.next().expect("a generated line has at least five words");
        let (group, version) = next().split_once('/').expect("group and version are joined by a slash");
        let (plural, kind) = (next(), next());
        let scope = if next() == "namespaced" { Scope::Namespaced } else { Scope::Cluster };
        let verbs = parse_verbs(next());
        let subresources = words.map(|w| {
            let mut parts = w.splitn(3, ':');
            let mut part = || parts.next().expect("a subresource is written name:verbs:kind");
            (part(), part(), part())
        });
        Line { group, version, plural, kind, scope, verbs, subresources: subresources.collect() }
    })
}

fn parse_verbs(text: &str) -> Vec<Verb> {
    Verb::ALL.into_iter().filter(|v| text.split(',').any(|word| word == v.as_str())).collect()
}

/// All built-in rows in discovery's order.
pub(super) fn builtin() -> Vec<Arc<Resource>> {
    let lines: Vec<Line> = lines().collect();
    let versions = lines.iter().map(|l| GroupVersion::new(l.group, l.version)).collect();
    let order = facts::in_discovery_order(versions);
    let mut rows: Vec<Arc<Resource>> = lines.iter().map(|l| Arc::new(row(l))).collect();
    rows.sort_by_cached_key(|r| order.iter().position(|gv| *gv == r.group_version()));
    rows
}

fn row(line: &Line) -> Resource {
    let facts = facts::find(line.group, line.plural);
    let gvk = GroupVersionKind::new(line.group, line.version, line.kind);
    let schema = schema_data::schema_of_kind(&gvk)
        .expect("the generator writes the structure of every resource's kind");
    let stored = facts::stored_as(line.group, line.version, line.plural);
    let storage_version = stored.map_or_else(|| gvk.group_version(), |s| s.version());
    let stored_kind = GroupVersionKind::new(&storage_version.group, &storage_version.version, line.kind);
    let stored_schema = schema_data::schema_of_kind(&stored_kind)
        .expect("the generator writes the structure of every resource's kind");
    Resource {
        group: line.group.into(),
        version: line.version.into(),
        kind: line.kind.into(),
        plural: line.plural.into(),
        singular: line.kind.to_ascii_lowercase().into(),
        short_names: facts.short_names.iter().map(|&s| s.into()).collect(),
        categories: facts.categories.iter().map(|&s| s.into()).collect(),
        scope: line.scope,
        verbs: line.verbs.clone(),
        parts: parts(line),
        schema,
        strategy: strategy::strategy_for(line.group, line.kind),
        printer: columns::printer_of(line.group, line.kind),
        selectable_fields: facts
            .fields
            .iter()
            .map(|(name, path)| SelectableField::new((*name).into(), split(path), &stored_schema))
            .collect(),
        storage_prefix: facts.storage_prefix.unwrap_or(line.plural).into(),
        storage_version,
        convert: stored.map(|s| s.convert),
        virtual_kind: line.verbs == [Verb::Create],
        ttl_s: facts.ttl_s,
        deprecated: facts.deprecated.map(Into::into),
    }
}

fn split(path: &'static str) -> Vec<Cow<'static, str>> {
    path.split('.').map(Into::into).collect()
}

fn parts(line: &Line) -> Vec<Part> {
    let parts = line.subresources.iter().map(|(name, verbs, kind)| {
        let mut words = kind.split('/');
        let mut word = || words.next().expect("a kind is written group/version/Kind");
        let mut kind = GroupVersionKind::new(word(), word(), word());
        let handler = facts::handler_of(line.plural, name);
        if let Some(options) = facts::connect_options(line.kind, &handler) {
            kind.kind = options;
        }
        Part { name: (*name).into(), kind, verbs: parse_verbs(verbs), handler }
    });
    let mut parts: Vec<Part> = parts.collect();
    parts.sort_by(|a, b| a.name.cmp(&b.name));
    parts
}
