//! The values of an object that selectors refer to, extracted from its bytes in one pass.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Labels, and the values of the selectable fields in the order of the spec's field names.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Extracted {
    pub labels: BTreeMap<String, String>,
    pub fields: Vec<String>,
}

/// Looks into an object's JSON. Of an error, `is_data` says that the JSON is whole: the object then has no labels
/// and no fields. One whose JSON is broken is left out.
pub type Extract = Arc<dyn Fn(&[u8]) -> Result<Extracted, serde_json::Error> + Send + Sync>;

/// Where the value of a field is found.
#[derive(Debug, Clone, Copy)]
pub struct FieldSource<'a, S> {
    pub path: &'a [S],
    /// Looked at where there is nothing at `path`.
    pub or: Option<&'a [S]>,
    /// What the field reads as where an object does not have it.
    pub absent: &'static str,
}

/// An extractor for fields that are scalars at known paths, each with what it reads as where it is absent.
pub fn by_paths<S: AsRef<str>>(paths: &[(Vec<S>, &'static str)]) -> Extract {
    let sources: Vec<_> =
        paths.iter().map(|(path, absent)| FieldSource { path: path.as_slice(), or: None, absent }).collect();
    by_fields(&sources)
}

/// An extractor for fields that are scalars. Numbers and booleans are as JSON writes them.
pub fn by_fields<S: AsRef<str>>(fields: &[FieldSource<'_, S>]) -> Extract {
    let mut wanted = Wanted::default();
    for (index, field) in fields.iter().enumerate() {
        wanted.add(field.path, index);
    }
    let mut absent: Vec<String> = fields.iter().map(|field| field.absent.to_owned()).collect();
    // Second sources have places behind those of the fields, which take what is found there.
    let mut seconds = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        if let Some(path) = field.or {
            seconds.push(index);
            wanted.add(path, absent.len());
            absent.push(String::new());
        }
    }
    wanted.at(&["metadata", "labels"]).labels = true;
    let own = fields.len();
    Arc::new(move |bytes| {
        let mut out = Extracted { labels: BTreeMap::new(), fields: absent.clone() };
        let mut json = serde_json::Deserializer::from_slice(bytes);
        Walk { wanted: &wanted, out: &mut out }.deserialize(&mut json)?;
        json.end()?;
        for (second, index) in seconds.iter().enumerate() {
            if out.fields[*index].is_empty() {
                out.fields.swap(own + second, *index);
            }
        }
        out.fields.truncate(own);
        Ok(out)
    })
}

/// The paths as a tree.
#[derive(Default)]
struct Wanted {
    below: BTreeMap<String, Wanted>,
    /// The fields whose value stands here.
    fields: Vec<usize>,
    labels: bool,
}

impl Wanted {
    fn at<S: AsRef<str>>(&mut self, path: &[S]) -> &mut Wanted {
        path.iter().fold(self, |node, step| node.below.entry(step.as_ref().to_owned()).or_default())
    }

    fn add<S: AsRef<str>>(&mut self, path: &[S], index: usize) {
        self.at(path).fields.push(index);
    }
}

/// Finds what is wanted below a key, which is not copied.
struct Below<'a>(&'a Wanted);

impl<'de, 'a> DeserializeSeed<'de> for Below<'a> {
    type Value = Option<&'a Wanted>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Below<'a> {
    type Value = Option<&'a Wanted>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.below.get(key))
    }
}

struct Walk<'a> {
    wanted: &'a Wanted,
    out: &'a mut Extracted,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Walk<'_> {
    fn set(self, value: &dyn fmt::Display) {
        for index in &self.wanted.fields {
            self.out.fields[*index] = value.to_string();
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if self.wanted.labels {
            while let Some((key, value)) = map.next_entry::<String, Option<String>>()? {
                self.out.labels.insert(key, value.unwrap_or_default());
            }
            return Ok(());
        }
        while let Some(below) = map.next_key_seed(Below(self.wanted))? {
            match below {
                Some(wanted) => map.next_value_seed(Walk { wanted, out: &mut *self.out })?,
                None => map.next_value::<IgnoredAny>().map(drop)?,
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        if self.wanted.labels {
            return Err(E::custom("metadata.labels is no object"));
        }
        self.set(&value);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.set(&value);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.set(&value);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.set(&value);
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.set(&value);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_taken_from_its_second_source_where_the_first_has_nothing() {
        let source = FieldSource { path: &["source", "component"][..], or: Some(&["by"]), absent: "" };
        let by = FieldSource { path: &["by"], or: None, absent: "" };
        let extract = by_fields(&[source, by]);
        let fields = |object: &str| extract(object.as_bytes()).unwrap().fields;
        assert_eq!(fields(r#"{"source":{"component":"a"},"by":"b"}"#), ["a", "b"]);
        assert_eq!(fields(r#"{"by":"b"}"#), ["b", "b"]);
        assert_eq!(fields(r#"{"source":{}}"#), ["", ""]);
    }

    #[test]
    fn fields_and_labels_come_out_and_the_rest_is_passed_over() {
        let extract = by_paths(&[
            (vec!["spec", "nodeName"], ""),
            (vec!["spec", "on"], "false"),
            (vec!["status", "n"], "0"),
            (vec!["type"], ""),
            (vec!["spec", "off"], "false"),
        ]);
        let object = br#"{"spec":{"nodeName":"n\u0031","on":true,"other":{"nodeName":"x"},"list":[{"on":false}]},
            "metadata":{"name":"a","labels":{"app":"b","e":""},"annotations":{"labels":"no"}},"status":{"n":3},"type":null}"#;
        let got = extract(object).unwrap();
        assert_eq!(got.fields, ["n1", "true", "3", "", "false"]);
        assert_eq!(got.labels, BTreeMap::from([("app".into(), "b".into()), ("e".into(), String::new())]));
        assert!(extract(b"{\"spec\":").is_err_and(|e| e.is_eof()));
        assert!(extract(b"{} {}").is_err_and(|e| e.is_syntax()));
        assert!(extract(br#"{"metadata":{"labels":"x"}}"#).is_err_and(|e| e.is_data()));
        assert!(extract(br#"{"metadata":{"labels":null}}"#).is_ok());
    }
}
