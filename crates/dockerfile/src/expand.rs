//! Variables in an instruction's words: `$x`, `${x:-y}` and their relatives, with quotes and escapes read as BuildKit
//! reads them.

use crate::glob_text;

/// The longest result of one word.
const RESULT_LIMIT_BYTES: usize = 1 << 20;
/// `${a:-${b:-…}}`
const DEPTH_LIMIT: usize = 32;

/// Why a word cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to process {word:?}: {reason}")]
pub struct ExpandError {
    pub word: String,
    pub reason: String,
}

/// What becomes of quotes and escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quotes {
    /// They are read and removed, as in instructions.
    Removed,
    /// They mean nothing, as in here-documents; an escaped `$` stays as written.
    Kept,
}

/// `word` with its variables replaced; `lookup` returns a variable's value.
pub fn expand(
    word: &str,
    escape: char,
    quotes: Quotes,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<String, ExpandError> {
    let characters: Vec<char> = word.chars().collect();
    let mut reader = Reader { characters: &characters, next: 0, escape, quotes, lookup };
    let result = reader.until(None, quotes == Quotes::Kept, 0);
    result.map_err(|reason| ExpandError { word: word.to_owned(), reason })
}

struct Reader<'a> {
    characters: &'a [char],
    next: usize,
    escape: char,
    quotes: Quotes,
    lookup: &'a dyn Fn(&str) -> Option<String>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.next).copied()
    }

    fn take(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.next += 1;
        Some(character)
    }

    /// Reads up to `stop`, which is consumed, or the end.
    fn until(&mut self, stop: Option<char>, keep_escapes: bool, depth: usize) -> Result<String, String> {
        if depth > DEPTH_LIMIT {
            return Err("variables are nested too deeply".to_owned());
        }
        let mut out = String::new();
        while let Some(character) = self.take() {
            match character {
                c if Some(c) == stop => return Ok(out),
                '$' => out.push_str(&self.dollar(depth)?),
                '\'' if self.quotes == Quotes::Removed => self.single_quoted(&mut out)?,
                '"' if self.quotes == Quotes::Removed => self.double_quoted(&mut out, depth)?,
                c if c == self.escape => {
                    if keep_escapes {
                        out.push(c);
                    }
                    out.extend(self.take());
                }
                other => out.push(other),
            }
            if out.len() > RESULT_LIMIT_BYTES {
                return Err(format!("the result is longer than {RESULT_LIMIT_BYTES} bytes"));
            }
        }
        match stop {
            None => Ok(out),
            Some('}') => Err("syntax error: missing '}'".to_owned()),
            Some(other) => Err(format!("syntax error: missing '{other}' in ${{}}")),
        }
    }

    fn single_quoted(&mut self, out: &mut String) -> Result<(), String> {
        loop {
            match self.take() {
                Some('\'') => return Ok(()),
                Some(character) => out.push(character),
                None => {
                    return Err(
                        "unexpected end of statement while looking for matching single-quote".to_owned()
                    );
                }
            }
        }
    }

    fn double_quoted(&mut self, out: &mut String, depth: usize) -> Result<(), String> {
        loop {
            match self.take() {
                Some('"') => return Ok(()),
                Some('$') => out.push_str(&self.dollar(depth)?),
                Some(c) if c == self.escape => match self.peek() {
                    None => {}
                    Some(next) if next == '"' || next == '$' || next == self.escape => {
                        out.extend(self.take())
                    }
                    Some(_) => out.push(c),
                },
                Some(character) => out.push(character),
                None => {
                    return Err(
                        "unexpected end of statement while looking for matching double-quote".to_owned()
                    );
                }
            }
        }
    }

    fn dollar(&mut self, depth: usize) -> Result<String, String> {
        if self.peek() != Some('{') {
            let name = self.name();
            return Ok(if name.is_empty() { "$".to_owned() } else { self.value(&name).unwrap_or_default() });
        }
        self.next += 1;
        match self.peek() {
            None => return Err("syntax error: missing '}'".to_owned()),
            Some('{' | '}' | ':') => return Err("syntax error: bad substitution".to_owned()),
            Some(_) => {}
        }
        let name = self.name();
        let value = self.value(&name);
        match self.take() {
            Some('}') => Ok(value.unwrap_or_default()),
            Some(':') => {
                let modifier = self.take();
                self.modified(&name, value.filter(|value| !value.is_empty()), modifier, true, depth)
            }
            Some('/') => self.replaced(&value.unwrap_or_default(), depth),
            modifier => self.modified(&name, value, modifier, false, depth),
        }
    }

    fn modified(
        &mut self,
        name: &str,
        value: Option<String>,
        modifier: Option<char>,
        colon: bool,
        depth: usize,
    ) -> Result<String, String> {
        let modifier = modifier.ok_or("syntax error: missing '}'")?;
        let trims = !colon && matches!(modifier, '#' | '%');
        if !trims && !matches!(modifier, '-' | '+' | '?') {
            let colon = if colon { ":" } else { "" };
            return Err(format!("unsupported modifier ({colon}{modifier}) in substitution"));
        }
        let word = self.until(Some('}'), trims, depth + 1)?;
        match (modifier, value) {
            ('-', value) => Ok(value.unwrap_or(word)),
            ('+', value) => Ok(if value.is_some() { word } else { String::new() }),
            ('?', Some(value)) => Ok(value),
            ('?', None) => {
                let fault = if colon { "is not allowed to be empty" } else { "is not allowed to be unset" };
                Err(format!("{name}: {}", if word.is_empty() { fault } else { &word }))
            }
            (_, value) => {
                let longest = word.strip_prefix(modifier);
                let value = value.unwrap_or_default();
                let pattern = longest.unwrap_or(&word);
                let trimmed = match modifier {
                    '#' => glob_text::without_start(&value, pattern, longest.is_some()),
                    _ => glob_text::without_end(&value, pattern, longest.is_some()),
                };
                trimmed.ok_or_else(|| format!("invalid pattern ({word}) in substitution"))
            }
        }
    }

    /// `${x/pattern/text}` and `${x//pattern/text}`.
    fn replaced(&mut self, value: &str, depth: usize) -> Result<String, String> {
        let all = self.peek() == Some('/');
        if all {
            self.next += 1;
        }
        let pattern = self.until(Some('/'), true, depth + 1)?;
        let replacement = self.until(Some('}'), true, depth + 1)?;
        let replaced = glob_text::replaced(value, &pattern, &replacement, all, RESULT_LIMIT_BYTES);
        replaced.ok_or_else(|| format!("invalid pattern ({pattern}) in substitution"))
    }

    fn value(&self, name: &str) -> Option<String> {
        (self.lookup)(name)
    }

    /// A name, the digits of a positional parameter, or a special parameter: those have no value.
    fn name(&mut self) -> String {
        let start = self.next;
        match self.peek() {
            Some(c) if c.is_ascii_digit() => {
                while self.peek().is_some_and(|c| c.is_ascii_digit()) {
                    self.next += 1;
                }
            }
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => self.next += 1,
            _ => {
                while self.peek().is_some_and(|c| c.is_alphanumeric() || c == '_') {
                    self.next += 1;
                }
            }
        }
        self.characters[start..self.next].iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(name: &str) -> Option<String> {
        match name {
            "a" => Some("one".to_owned()),
            "path" => Some("/usr/local/lib.tar.gz".to_owned()),
            "empty" => Some(String::new()),
            _ => None,
        }
    }

    fn expanded(word: &str) -> String {
        match expand(word, '\\', Quotes::Removed, &value) {
            Ok(text) => text,
            Err(error) => format!("! {}", error.reason),
        }
    }

    #[test]
    fn variables_are_replaced() {
        for (word, want) in [
            ("$a-${a}x$none.", "one-onex."),
            ("$", "$"),
            ("$1$@x", "x"),
            (r#"\$a '$a' "$a \" \x" \y"#, r#"$a $a one " \x y"#),
            ("${none:-d$a}${none-d}${empty-d}${empty:-e}", "donede"),
            ("${a:+yes}${a+yes}${empty:+no}${empty+yes}${none+no}", "yesyesyes"),
            ("${none:-${b:-${a}}}", "one"),
            ("${path#*/}", "usr/local/lib.tar.gz"),
            ("${path##*/}", "lib.tar.gz"),
            ("${path%.*}", "/usr/local/lib.tar"),
            ("${path%%.*}", "/usr/local/lib"),
            ("${path/l/L}", "/usr/Local/lib.tar.gz"),
            ("${path//l/L}", "/usr/LocaL/Lib.tar.gz"),
            (r"${path//\//_}", "_usr_local_lib.tar.gz"),
            ("${a:?missing}", "one"),
            ("${none:?give one}", "! none: give one"),
            ("${none?}", "! none: is not allowed to be unset"),
            ("${empty:?}", "! empty: is not allowed to be empty"),
            ("${", "! syntax error: missing '}'"),
            ("${a", "! syntax error: missing '}'"),
            ("${}", "! syntax error: bad substitution"),
            ("${a:x}", "! unsupported modifier (:x) in substitution"),
            ("\"x", "! unexpected end of statement while looking for matching double-quote"),
            ("'x", "! unexpected end of statement while looking for matching single-quote"),
        ] {
            assert_eq!(expanded(word), want, "{word}");
        }
    }

    #[test]
    fn heredocs_keep_quotes() {
        let kept = expand("'$a' \"${a}\" \\$a\n", '\\', Quotes::Kept, &value);
        assert_eq!(kept.as_deref(), Ok("'one' \"one\" \\$a\n"));
    }

    #[test]
    fn hostile_words_are_bounded() {
        let nested = format!("{}x{}", "${n:-".repeat(100), "}".repeat(100));
        assert_eq!(expanded(&nested), "! variables are nested too deeply");
        let long = |_: &str| Some("x".repeat(1000));
        let error = expand(&"$a".repeat(2000), '\\', Quotes::Removed, &long).expect_err("too long");
        assert_eq!(error.reason, "the result is longer than 1048576 bytes");
    }

    proptest! {
        #[test]
        fn nothing_panics(word in "[a${}:'\"\\\\#%/*?+ -]{0,24}") {
            let _ = expand(&word, '\\', Quotes::Removed, &value);
            let _ = expand(&word, '`', Quotes::Kept, &value);
        }

        #[test]
        fn words_without_signs_stay(word in "[a-z0-9 /.]{0,24}") {
            prop_assert_eq!(expanded(&word), word);
        }
    }
}
