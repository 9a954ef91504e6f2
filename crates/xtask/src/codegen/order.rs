//! The order of a structure's fields: that of upstream's Go types, which is the order of the protobuf message's fields
//! in its file, not of their numbers.

use std::collections::{BTreeMap, HashMap};

/// In an object whose message holds neither, the type comes first.
const TYPE: [&str; 2] = ["kind", "apiVersion"];

/// The lines of `types`, those of each structure's fields in the order that `messages` has them. Fields that no
/// message has stand at the end, by name.
pub fn apply(types: &str, messages: &str) -> String {
    let messages = members(messages);
    let mut out = String::with_capacity(types.len());
    let mut lines = types.lines().peekable();
    while let Some(line) = lines.next() {
        out.push_str(line);
        out.push('\n');
        let mut fields: BTreeMap<&str, &str> = BTreeMap::new();
        while let Some(field) = lines.next_if(|line| line.starts_with(' ')) {
            fields.insert(name_of(field), field);
        }
        let structure = line.split(' ').next().unwrap_or_default();
        let mut order = Vec::new();
        expand(structure, &messages, &mut order);
        let leading = TYPE.iter().filter(|name| !order.contains(name));
        for name in leading.chain(&order) {
            push(&mut out, fields.remove(name));
        }
        for field in fields.into_values() {
            push(&mut out, Some(field));
        }
    }
    out
}

fn push(out: &mut String, line: Option<&str>) {
    if let Some(line) = line {
        out.push_str(line);
        out.push('\n');
    }
}

fn name_of(field: &str) -> &str {
    field.trim_start().split([' ', '!']).next().unwrap_or_default()
}

/// By message: the names of its fields, and `*` and the name of a message that is embedded.
type Members<'a> = HashMap<&'a str, Vec<&'a str>>;

fn members(text: &str) -> Members<'_> {
    let mut members = Members::new();
    let mut current = "";
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix(' ').and_then(|field| field.split_once(' ')) {
            Some((_, name)) => members.entry(current).or_default().push(name),
            None => current = line,
        }
    }
    members
}

fn expand<'a>(message: &str, members: &Members<'a>, order: &mut Vec<&'a str>) {
    for member in members.get(message).into_iter().flatten() {
        match member.strip_prefix('*') {
            Some(embedded) => expand(embedded, members, order),
            None => order.push(member),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_as_in_their_message_with_the_type_in_front() {
        let types = "# comment\na.Kind gvk=a/v1/Kind\n apiVersion string\n extra string\n first! string\n inner int32\n kind string\n second string\na.Reference\n apiVersion string\n kind string\n name string\n";
        let messages = "# comment\na.Kind\n 2 second\n 7 *a.Inner\n 1 first\na.Inner\n 1 inner\na.Reference\n 1 kind\n 3 name\n 5 apiVersion\n";
        assert_eq!(
            apply(types, messages),
            "# comment\na.Kind gvk=a/v1/Kind\n kind string\n apiVersion string\n second string\n inner int32\n first! string\n extra string\na.Reference\n kind string\n name string\n apiVersion string\n"
        );
    }
}
