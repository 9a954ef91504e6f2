//! A generated line of `data/rows.txt`, taken apart:
//! `group/version plural Kind scope verb,verb subresource:verb,verb:group/version/Kind …`.

use api::{GroupVersion, GroupVersionKind};

use crate::row::Scope;
use crate::verb::Verb;

/// The properties of a resource in upstream's OpenAPI document.
pub(super) struct Line<'a> {
    pub group_version: GroupVersion,
    pub plural: &'a str,
    pub kind: &'a str,
    pub scope: Scope,
    pub verbs: Vec<Verb>,
    pub parts: Vec<LinePart<'a>>,
}

/// The properties of a subresource in upstream's OpenAPI document.
pub(super) struct LinePart<'a> {
    pub name: &'a str,
    pub verbs: Vec<Verb>,
    pub kind: GroupVersionKind,
}

/// All lines; comments left out.
pub(super) fn all(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| parse(line).expect("the generator writes whole lines"))
}

fn parse(line: &str) -> Option<Line<'_>> {
    let mut words = line.split(' ');
    let (group, version) = words.next()?.split_once('/')?;
    let (plural, kind) = (words.next()?, words.next()?);
    let scope = if words.next()? == "namespaced" { Scope::Namespaced } else { Scope::Cluster };
    let verbs = verbs(words.next()?);
    let parts = words.map(part).collect::<Option<Vec<_>>>()?;
    Some(Line { group_version: GroupVersion::new(group, version), plural, kind, scope, verbs, parts })
}

fn part(word: &str) -> Option<LinePart<'_>> {
    let mut words = word.splitn(3, ':');
    let (name, listed) = (words.next()?, words.next()?);
    let mut kind = words.next()?.split('/');
    let kind = GroupVersionKind::new(kind.next()?, kind.next()?, kind.next()?);
    Some(LinePart { name, verbs: verbs(listed), kind })
}

fn verbs(text: &str) -> Vec<Verb> {
    Verb::ALL.into_iter().filter(|verb| text.split(',').any(|word| word == verb.as_str())).collect()
}
