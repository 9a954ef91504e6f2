//! What is wrong with a text that is no JSON, in the words of Go's `encoding/json`, which clients know from upstream.
//! Looked for only after decoding has failed.

/// The end of the text where more was to come.
const END: &str = "unexpected end of JSON input";

/// The first fault of the text's syntax; `None` where the syntax is right.
pub(super) fn fault(text: &[u8]) -> Option<String> {
    let mut scan = Scan { text, at: 0 };
    match scan.document() {
        Ok(()) => None,
        Err(Fault::End) => Some(END.to_owned()),
        Err(Fault::Here(context)) => {
            let found = text.get(scan.at).copied().map_or_else(String::new, quoted);
            Some(format!("invalid character {found} {context}"))
        }
    }
}

enum Fault {
    /// The text ends too early.
    End,
    /// The present byte does not belong where it is.
    Here(String),
}

/// A byte as Go quotes it.
fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => r#"'"'"#.to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        0x20..=0x7e | 0xa1..=0xac | 0xae..=0xff => format!("'{}'", char::from(byte)),
        0x7f..=0xa0 | 0xad => format!("'\\u{byte:04x}'"),
        other => format!("'\\x{other:02x}'"),
    }
}

/// A container that is open.
#[derive(Clone, Copy, PartialEq)]
enum Open {
    Object,
    Array,
}

struct Scan<'t> {
    text: &'t [u8],
    at: usize,
}

impl Scan<'_> {
    /// The byte at the present place.
    fn peek(&self) -> Result<u8, Fault> {
        self.text.get(self.at).copied().ok_or(Fault::End)
    }

    fn skip_space(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).count();
    }

    /// One value and nothing behind it. No recursion: the text may nest as deep as it is long.
    fn document(&mut self) -> Result<(), Fault> {
        let mut open = Vec::new();
        loop {
            self.skip_space();
            if !self.begin(&mut open)? {
                continue;
            }
            // A value has ended.
            loop {
                self.skip_space();
                let Some(container) = open.last().copied() else {
                    return match self.text.get(self.at) {
                        None => Ok(()),
                        Some(_) => Err(here("after top-level value")),
                    };
                };
                match (container, self.peek()?) {
                    (Open::Object, b',') => {
                        self.at += 1;
                        self.key()?;
                        break;
                    }
                    (Open::Array, b',') => {
                        self.at += 1;
                        break;
                    }
                    (Open::Object, b'}') | (Open::Array, b']') => {
                        self.at += 1;
                        open.pop();
                    }
                    (Open::Object, _) => return Err(here("after object key:value pair")),
                    (Open::Array, _) => return Err(here("after array element")),
                }
            }
        }
    }

    /// Reads a simple value, or the beginning of a container. Whether a value has ended.
    fn begin(&mut self, open: &mut Vec<Open>) -> Result<bool, Fault> {
        match self.peek()? {
            b'{' => {
                self.at += 1;
                self.skip_space();
                if self.peek()? == b'}' {
                    self.at += 1;
                    return Ok(true);
                }
                open.push(Open::Object);
                self.key()?;
                Ok(false)
            }
            b'[' => {
                self.at += 1;
                self.skip_space();
                if self.peek()? == b']' {
                    self.at += 1;
                    return Ok(true);
                }
                open.push(Open::Array);
                Ok(false)
            }
            b'"' => self.string().map(|()| true),
            b'-' | b'0'..=b'9' => self.number().map(|()| true),
            b't' => self.literal("true").map(|()| true),
            b'f' => self.literal("false").map(|()| true),
            b'n' => self.literal("null").map(|()| true),
            _ => Err(here("looking for beginning of value")),
        }
    }

    /// A key and its colon.
    fn key(&mut self) -> Result<(), Fault> {
        self.skip_space();
        if self.peek()? != b'"' {
            return Err(here("looking for beginning of object key string"));
        }
        self.string()?;
        self.skip_space();
        if self.peek()? != b':' {
            return Err(here("after object key"));
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<(), Fault> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => {
                    self.at += 1;
                    match self.peek()? {
                        b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => self.at += 1,
                        b'u' => {
                            self.at += 1;
                            for _ in 0..4 {
                                if !self.peek()?.is_ascii_hexdigit() {
                                    return Err(here(r"in \u hexadecimal character escape"));
                                }
                                self.at += 1;
                            }
                        }
                        _ => return Err(here("in string escape code")),
                    }
                }
                0..=0x1f => return Err(here("in string literal")),
                _ => self.at += 1,
            }
        }
    }

    fn number(&mut self) -> Result<(), Fault> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        match self.peek()? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits(),
            _ => return Err(here("in numeric literal")),
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.some_digits("after decimal point in numeric literal")?;
        }
        if matches!(self.text.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.text.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits("in exponent of numeric literal")?;
        }
        Ok(())
    }

    fn some_digits(&mut self, context: &str) -> Result<(), Fault> {
        if !self.peek()?.is_ascii_digit() {
            return Err(here(context));
        }
        self.digits();
        Ok(())
    }

    fn digits(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    }

    fn literal(&mut self, word: &str) -> Result<(), Fault> {
        for expected in word.bytes() {
            if self.peek()? != expected {
                let expected = char::from(expected);
                return Err(here(&format!("in literal {word} (expecting '{expected}')")));
            }
            self.at += 1;
        }
        Ok(())
    }
}

fn here(context: &str) -> Fault {
    Fault::Here(context.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn faults_are_said_as_go_says_them() {
        let cases = [
            ("", END),
            ("{", END),
            (r#"{"a": "b"#, END),
            ("[1,", END),
            ("tru", END),
            ("{\"a\":1}}", "invalid character '}' after top-level value"),
            ("<html>", "invalid character '<' looking for beginning of value"),
            ("{a: 1}", "invalid character 'a' looking for beginning of object key string"),
            ("{\"a\":1,}", "invalid character '}' looking for beginning of object key string"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 \"b\":2}", "invalid character '\"' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("nil", "invalid character 'i' in literal null (expecting 'u')"),
            ("\"\\x\"", "invalid character 'x' in string escape code"),
            ("\"a\nb\"", r"invalid character '\n' in string literal"),
            ("\"\\u00g0\"", r"invalid character 'g' in \u hexadecimal character escape"),
            ("-x", "invalid character 'x' in numeric literal"),
            ("1.x", "invalid character 'x' after decimal point in numeric literal"),
            ("1ex", "invalid character 'x' in exponent of numeric literal"),
            ("'a'", r"invalid character '\'' looking for beginning of value"),
        ];
        for (text, expected) in cases {
            assert_eq!(fault(text.as_bytes()).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(fault(br#" {"a": [1, {}, [], "x\u00e4", -0.5e+3, true, false, null]} "#), None);
        assert_eq!(fault("[".repeat(100_000).as_bytes()).as_deref(), Some(END));
    }

    proptest! {
        #[test]
        fn what_is_json_has_no_fault_and_what_has_none_is_json(
            text in r#"[\[\]{},:"0-9a-e.tru\\ -]{0,12}"#,
        ) {
            let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(fault(text.as_bytes()).is_none(), is_json, "{}", text);
        }
    }
}
