//! Where the members of a JSON document stand, for messages about them. Only read when there is something to report.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::field::Path;

/// How many members stand before one of a path.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Met {
    times: usize,
    pub first: usize,
    /// Of the second one.
    pub again: Option<usize>,
}

/// Where the members of these paths stand. Those that are not there have no place.
pub(super) fn of<'p>(json: &[u8], paths: impl Iterator<Item = &'p str>) -> HashMap<String, Met> {
    let met = paths.map(|path| (path.to_owned(), Met::default())).collect();
    let walk = RefCell::new(Walk { members: 0, met });
    // What has been decoded before can be read again; were it not so, places would be missing and nothing else.
    let read = At { path: &Path::root(""), walk: &walk }
        .deserialize(&mut serde_json::Deserializer::from_slice(json));
    let mut met = walk.into_inner().met;
    met.retain(|_, met| met.times > 0 && read.is_ok());
    met
}

struct Walk {
    members: usize,
    met: HashMap<String, Met>,
}

impl Walk {
    fn meet(&mut self, path: &Path<'_>) {
        let place = self.members;
        self.members += 1;
        let Some(met) = self.met.get_mut(&path.to_string()) else { return };
        met.times += 1;
        match met.times {
            1 => met.first = place,
            2 => met.again = Some(place),
            _ => {}
        }
    }
}

/// Reads a value at a path.
struct At<'a> {
    path: &'a Path<'a>,
    walk: &'a RefCell<Walk>,
}

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut index = 0;
        while items.next_element_seed(At { path: &self.path.index(index), walk: self.walk })?.is_some() {
            index += 1;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(key) = members.next_key::<String>()? {
            let path = self.path.child(&key);
            self.walk.borrow_mut().meet(&path);
            members.next_value_seed(At { path: &path, walk: self.walk })?;
        }
        Ok(())
    }
}
