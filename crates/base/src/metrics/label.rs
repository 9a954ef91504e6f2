//! [`Escaped`]: a label's value that may hold any text.

use std::fmt::{Error, Write};

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

/// The registry writes label values as they are; text that may hold quotes, backslashes or line ends goes in here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Escaped(pub String);

impl EncodeLabelValue for Escaped {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), Error> {
        self.0.chars().try_for_each(|c| match c {
            '"' => encoder.write_str("\\\""),
            '\\' => encoder.write_str("\\\\"),
            '\n' => encoder.write_str("\\n"),
            c => encoder.write_char(c),
        })
    }
}
