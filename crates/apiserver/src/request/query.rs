//! [`Query`]: the parameters of a request's URL. Pure.

use std::borrow::Cow;
use std::num::{IntErrorKind, ParseIntError};

use percent_encoding::percent_decode_str;

/// Decoded parameters in the order given. Undecodable ones are read with replacement characters,
/// so that they match nothing rather than fail.
#[derive(Debug, Clone, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads `a=1&b=x%20y`; `+` stands for a space.
    pub fn parse(raw: &str) -> Self {
        let pairs = raw
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode(key), decode(value))
            })
            .collect();
        Self { pairs }
    }

    /// The first value of a parameter.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// The first value, where it is not empty.
    pub fn non_empty(&self, key: &str) -> Option<&str> {
        self.get(key).filter(|v| !v.is_empty())
    }

    /// All values of a parameter.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// A boolean parameter, read as upstream does: present and neither `0` nor `false`.
    pub fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(|v| v != "0" && !v.eq_ignore_ascii_case("false"))
    }

    /// An integer parameter; `None` when absent or empty.
    ///
    /// # Errors
    /// Bad request when it is there and no integer.
    pub fn integer(&self, key: &str) -> Result<Option<i64>, api::Error> {
        match self.non_empty(key) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|error: ParseIntError| {
                let why = match error.kind() {
                    IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
                    _ => "invalid syntax",
                };
                api::Error::bad_request(format!("strconv.ParseInt: parsing {text:?}: {why}"))
            }),
        }
    }
}

fn decode(text: &str) -> String {
    let spaced: Cow<'_, str> =
        if text.contains('+') { text.replace('+', " ").into() } else { Cow::Borrowed(text) };
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_decode() {
        let q = Query::parse("command=ls&command=-l%20a&watch&limit=5&x=a+b&bad=z");
        assert_eq!(q.all("command").collect::<Vec<_>>(), ["ls", "-l a"]);
        assert!(q.flag("watch") && !q.flag("none"));
        assert!(!Query::parse("watch=false").flag("watch"));
        assert_eq!(q.integer("limit").unwrap(), Some(5));
        assert_eq!(q.get("x"), Some("a b"));
        assert!(q.integer("bad").is_err());
    }

    proptest! {
        #[test]
        fn any_query_is_read(raw in "[a-z=&%+0-9]{0,40}|\\PC{0,40}") {
            let query = Query::parse(&raw);
            let _ = (query.flag("a"), query.integer("a"), query.all("a").count());
        }

        #[test]
        fn a_parameter_is_read_as_it_was_written(key in "\\PC{1,10}", value in "\\PC{0,20}") {
            let encoded = |text: &str| {
                percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
            };
            let query = Query::parse(&format!("{}={}&b=1", encoded(&key), encoded(&value)));
            prop_assert_eq!(query.get(&key), Some(value.as_str()));
        }
    }
}
