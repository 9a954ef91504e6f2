//! Fields that are of one of several forms: in JSON whichever it is, in protobuf a message with a field for each.
//! Source: `k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1/generated.proto`.

use serde_json::{Map, Value};

use super::encode::{Encoder, put_bytes, put_varint};
use super::wire::{Reader, Wire};
use super::{Walk, message_of};
use crate::schema::{Field, Struct};

/// What a field's forms are. The structure is the one that has the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Union {
    /// A structure, or a list of them.
    OneOrMany,
    /// A structure, or whether there may be any value.
    OneOrAny,
    /// By name: a structure, or a list of texts.
    OneOrTexts,
}

/// The number of the field with the structure, where it is not the first.
const SCHEMA_AFTER_FLAG: u32 = 2;

impl Walk<'_> {
    /// Reads a field.
    pub(super) fn union(
        &self,
        of: Union,
        owner: &Struct,
        field: &Field,
        wire: Wire<'_>,
        map: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), String> {
        let depth = depth.checked_sub(1).ok_or("it is nested too deep")?;
        let name = field.name.to_string();
        match of {
            Union::OneOrMany => {
                let mut found = (None, None);
                let mut reader = Reader::new(wire.bytes()?);
                while let Some((number, part)) = reader.next()? {
                    match number {
                        1 => found.0 = Some(self.whole(owner, part, depth)?),
                        2 => {
                            let item = self.whole(owner, part, depth)?;
                            found.1.get_or_insert_with(Vec::new).push(item);
                        }
                        _ => {}
                    }
                }
                map.extend(found.1.map(Value::Array).or(found.0).map(|value| (name, value)));
            }
            Union::OneOrAny => {
                let (mut allows, mut schema) = (false, None);
                let mut reader = Reader::new(wire.bytes()?);
                while let Some((number, part)) = reader.next()? {
                    match number {
                        1 => allows = part.number()? != 0,
                        SCHEMA_AFTER_FLAG => schema = Some(self.whole(owner, part, depth)?),
                        _ => {}
                    }
                }
                map.insert(name, schema.unwrap_or(Value::Bool(allows)));
            }
            Union::OneOrTexts => {
                let entries = map.entry(name).or_insert_with(|| Value::Object(Map::new()));
                let Value::Object(entries) = entries else { return Ok(()) };
                let (mut key, mut value) = (String::new(), Value::Array(Vec::new()));
                let mut reader = Reader::new(wire.bytes()?);
                while let Some((number, part)) = reader.next()? {
                    match number {
                        1 => part.text()?.clone_into(&mut key),
                        2 => value = self.one_or_texts(owner, part, depth)?,
                        _ => {}
                    }
                }
                entries.insert(key, value);
            }
        }
        Ok(())
    }

    fn one_or_texts(&self, owner: &Struct, wire: Wire<'_>, depth: usize) -> Result<Value, String> {
        let (mut schema, mut texts) = (None, Vec::new());
        let mut reader = Reader::new(wire.bytes()?);
        while let Some((number, part)) = reader.next()? {
            match number {
                1 => schema = Some(self.whole(owner, part, depth)?),
                2 => texts.push(part.text()?.into()),
                _ => {}
            }
        }
        Ok(schema.unwrap_or(Value::Array(texts)))
    }

    fn whole(&self, structure: &Struct, wire: Wire<'_>, depth: usize) -> Result<Value, String> {
        let mut map = Map::new();
        self.message(message_of(structure), structure, wire.bytes()?, &mut map, depth)?;
        Ok(Value::Object(map))
    }
}

impl Encoder<'_> {
    /// Writes a field.
    pub(super) fn union(
        &self,
        of: Union,
        owner: &Struct,
        number: u32,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let mut part = Vec::new();
        match (of, value) {
            (_, Value::Null) => return Ok(()),
            (Union::OneOrMany, Value::Object(schema)) => self.whole(1, owner, schema, &mut part)?,
            (Union::OneOrMany, Value::Array(schemas)) => {
                for schema in schemas.iter().filter_map(Value::as_object) {
                    self.whole(2, owner, schema, &mut part)?;
                }
            }
            (Union::OneOrAny, Value::Object(schema)) => {
                // What has a structure allows what fits it.
                put_varint(&mut part, 1, 1);
                self.whole(SCHEMA_AFTER_FLAG, owner, schema, &mut part)?;
            }
            (Union::OneOrAny, Value::Bool(allows)) => put_varint(&mut part, 1, u64::from(*allows)),
            (Union::OneOrTexts, Value::Object(entries)) => {
                for (key, value) in entries {
                    let (mut entry, mut inner) = (Vec::new(), Vec::new());
                    put_bytes(&mut entry, 1, key.as_bytes());
                    match value {
                        Value::Object(schema) => self.whole(1, owner, schema, &mut inner)?,
                        Value::Array(texts) => {
                            let texts = texts.iter().filter_map(Value::as_str);
                            texts.for_each(|text| put_bytes(&mut inner, 2, text.as_bytes()));
                        }
                        other => return Err(format!("{other} stands where a schema or texts belong")),
                    }
                    put_bytes(&mut entry, 2, &inner);
                    put_bytes(out, number, &entry);
                }
                return Ok(());
            }
            (_, other) => return Err(format!("{other} stands where a schema belongs")),
        }
        put_bytes(out, number, &part);
        Ok(())
    }

    fn whole(
        &self,
        number: u32,
        structure: &Struct,
        fields: &Map<String, Value>,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let mut part = Vec::new();
        self.message(message_of(structure), structure, fields, &mut part)?;
        put_bytes(out, number, &part);
        Ok(())
    }
}
