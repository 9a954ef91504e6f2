//! From text to whole instructions: parser directives, comments, continued lines, here-documents.
//!
//! Owns the map from the joined text back to lines and columns. Knows of instructions only which may have
//! here-documents.

use crate::error::{Place, SyntaxError};

/// The largest Dockerfile that is read.
pub const FILE_LIMIT_BYTES: usize = 1 << 20;
/// The most instructions of one file.
const INSTRUCTION_LIMIT: usize = 10_000;

/// The directives at the top of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    pub syntax: Option<String>,
    pub check: Option<String>,
    pub escape: char,
}

/// A here-document: the content is all lines up to its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    pub name: String,
    /// With every line's end.
    pub content: String,
    /// Whether variables are replaced in the content.
    pub expand: bool,
    /// Whether leading tabs are removed.
    pub chomp: bool,
}

/// One instruction with all that belongs to it.
#[derive(Debug, Clone)]
pub struct Logical {
    /// Continued lines joined, without comments.
    pub text: String,
    pub heredocs: Vec<Heredoc>,
    /// Where pieces of `text` came from: offset, line, column.
    pieces: Vec<(usize, usize, usize)>,
    pub end_line: usize,
}

impl Logical {
    /// The place of the byte `offset` of the text.
    pub fn place(&self, offset: usize) -> Place {
        let piece = self.pieces.iter().rev().find(|(start, ..)| *start <= offset).copied();
        let (start, line, column) = piece.unwrap_or((0, 1, 1));
        let characters = self.text.get(start..offset).map_or(0, |text| text.chars().count());
        Place { line, column: column + characters, end_line: self.end_line.max(line) }
    }

    pub fn error(&self, offset: usize, message: impl Into<String>) -> SyntaxError {
        SyntaxError { place: self.place(offset), message: message.into() }
    }
}

struct Reader<'a> {
    lines: Vec<&'a str>,
    /// Index of the next line.
    next: usize,
    escape: char,
    warnings: Vec<String>,
}

fn at(line: usize, column: usize, message: impl Into<String>) -> SyntaxError {
    SyntaxError { place: Place { line, column, end_line: line }, message: message.into() }
}

/// Cuts the text into instructions; also warnings about what will be refused one day.
pub fn split(text: &str) -> Result<(Directives, Vec<Logical>, Vec<String>), SyntaxError> {
    if text.len() > FILE_LIMIT_BYTES {
        return Err(at(1, 1, format!("the file is larger than {FILE_LIMIT_BYTES} bytes")));
    }
    if let Some(before) = text.find('\0') {
        return Err(at(text[..before].matches('\n').count() + 1, 1, "the file holds a zero byte"));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<&str> = text.lines().map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
    let directives = directives(&lines)?;
    let mut reader = Reader { lines, next: 0, escape: directives.escape, warnings: Vec::new() };
    let mut all = Vec::new();
    while let Some(logical) = reader.logical()? {
        if all.len() == INSTRUCTION_LIMIT {
            return Err(logical.error(0, format!("more than {INSTRUCTION_LIMIT} instructions")));
        }
        all.push(logical);
    }
    Ok((directives, all, reader.warnings))
}

fn directives(lines: &[&str]) -> Result<Directives, SyntaxError> {
    let mut found = Directives { syntax: None, check: None, escape: '\\' };
    let mut seen = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some((key, value)) = directive(line) else { break };
        let key = key.to_ascii_lowercase();
        if !["syntax", "check", "escape"].contains(&key.as_str()) {
            break;
        }
        if seen.contains(&key) {
            return Err(at(index + 1, 1, format!("only one {key} parser directive can be used")));
        }
        match (key.as_str(), value) {
            ("syntax", value) => found.syntax = Some(value.to_owned()),
            ("check", value) => found.check = Some(value.to_owned()),
            (_, "\\") => {}
            (_, "`") => found.escape = '`',
            (_, value) => {
                let column = line.len() - value.len() + 1;
                let text = format!("invalid escape token '{value}' does not match ` or \\");
                return Err(at(index + 1, column, text));
            }
        }
        seen.push(key);
    }
    Ok(found)
}

/// `# key = value`.
fn directive(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.trim().strip_prefix('#')?.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let word =
        key.starts_with(|c: char| c.is_ascii_alphabetic()) && key.chars().all(|c| c.is_ascii_alphanumeric());
    (word && !value.is_empty()).then_some((key, value))
}

impl Reader<'_> {
    fn logical(&mut self) -> Result<Option<Logical>, SyntaxError> {
        let mut logical =
            Logical { text: String::new(), heredocs: Vec::new(), pieces: Vec::new(), end_line: 0 };
        let mut blank_inside = false;
        while let Some(line) = self.lines.get(self.next).copied() {
            self.next += 1;
            let trimmed = line.trim_start();
            let first = logical.pieces.is_empty();
            if trimmed.starts_with('#') || trimmed.is_empty() {
                blank_inside |= !first && trimmed.is_empty();
                continue;
            }
            let kept = if first { trimmed } else { line };
            let column = line[..line.len() - kept.len()].chars().count() + 1;
            logical.pieces.push((logical.text.len(), self.next, column));
            logical.end_line = self.next;
            match continued(kept, self.escape) {
                Some(part) => logical.text.push_str(part),
                None => {
                    logical.text.push_str(kept);
                    break;
                }
            }
        }
        if logical.pieces.is_empty() {
            return Ok(None);
        }
        if blank_inside {
            let line = logical.pieces[0].1;
            self.warnings.push(format!("line {line}: an empty line within a continued instruction"));
        }
        if may_have_heredocs(&logical.text) {
            self.heredocs(&mut logical)?;
        }
        Ok(Some(logical))
    }

    fn heredocs(&mut self, logical: &mut Logical) -> Result<(), SyntaxError> {
        for (offset, name, expand, chomp) in heredoc_words(&logical.text) {
            let mut content = String::new();
            loop {
                let Some(line) = self.lines.get(self.next) else {
                    return Err(logical.error(offset, format!("unterminated heredoc {name}")));
                };
                self.next += 1;
                let bare = if chomp { line.trim_start_matches('\t') } else { line };
                if bare == name {
                    break;
                }
                content.push_str(bare);
                content.push('\n');
            }
            logical.end_line = self.next;
            logical.heredocs.push(Heredoc { name, content, expand, chomp });
        }
        Ok(())
    }
}

/// The line without the character that continues it on the next one.
fn continued(line: &str, escape: char) -> Option<&str> {
    let part = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!part.ends_with(escape)).then_some(part)
}

fn may_have_heredocs(text: &str) -> bool {
    let mut words = text.split_ascii_whitespace().map(str::to_ascii_uppercase);
    let word = match words.next() {
        Some(first) if first == "ONBUILD" => words.next(),
        first => first,
    };
    matches!(word.as_deref(), Some("RUN" | "COPY" | "ADD"))
}

/// The words `<<NAME` of an instruction outside quotes: offset, name, whether variables are replaced, whether tabs go.
fn heredoc_words(text: &str) -> Vec<(usize, String, bool, bool)> {
    let mut found = Vec::new();
    let (mut quote, mut word_start, mut escaped) = (None, true, false);
    for (offset, character) in text.char_indices() {
        let starts = word_start && quote.is_none() && !escaped;
        if starts && let Some(word) = heredoc_word(&text[offset..]) {
            found.push((offset, word.0, word.1, word.2));
        }
        word_start = character.is_ascii_whitespace() || (starts && character.is_ascii_digit());
        escaped = character == '\\' && !escaped && quote != Some('\'');
        match (quote, character) {
            _ if escaped => {}
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
    }
    found
}

fn heredoc_word(text: &str) -> Option<(String, bool, bool)> {
    let rest = text.strip_prefix("<<")?;
    let (rest, chomp) = rest.strip_prefix('-').map_or((rest, false), |rest| (rest, true));
    let word = rest.split(|c: char| c.is_ascii_whitespace() || matches!(c, ';' | '|' | '&' | '>')).next()?;
    let (name, expand) = match word.chars().next()? {
        quote @ ('"' | '\'') => (word.strip_prefix(quote)?.strip_suffix(quote)?, false),
        _ => (word, true),
    };
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    plain.then(|| (name.to_owned(), expand, chomp))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(file: &str) -> Vec<String> {
        split(file).expect("it is a Dockerfile").1.into_iter().map(|logical| logical.text).collect()
    }

    #[test]
    fn lines_are_joined_without_comments() {
        let file = "# a comment\n\nRUN a && \\\n# inside\n  b \\\t \n\n  c\nRUN d \\\\\n#last";
        assert_eq!(texts(file), ["RUN a &&   b   c", "RUN d \\\\"]);
        let (.., warnings) = split(file).expect("it is a Dockerfile");
        assert_eq!(warnings, ["line 3: an empty line within a continued instruction"]);
        assert_eq!(texts("\u{feff}FROM a\r\nRUN b \\\r\n c\r\n"), ["FROM a", "RUN b  c"]);
    }

    #[test]
    fn directives_stand_at_the_top() {
        let escape = |file: &str| split(file).map(|(directives, ..)| directives.escape);
        assert_eq!(escape("# escape=`\nFROM a"), Ok('`'));
        assert_eq!(escape("# a comment\n# escape=`\nFROM a"), Ok('\\'), "a comment ends the directives");
        assert_eq!(escape("#syntax=docker/dockerfile:1\n#ESCAPE = `\nFROM a"), Ok('`'));
        assert_eq!(texts("# escape=`\nRUN a `\n b \\\nRUN c"), ["RUN a  b \\", "RUN c"]);
        let refused = |file: &str| split(file).expect_err("refused").to_string();
        assert_eq!(refused("# escape=x"), "1:10: invalid escape token 'x' does not match ` or \\");
        assert_eq!(refused("#check=a\n#check=b"), "2:1: only one check parser directive can be used");
    }

    #[test]
    fn heredocs_belong_to_their_instruction() {
        let file = "RUN cat <<A 3<<-'B' > x && echo '<<C' \"<<D\" \\<<E\n$one\nA\n\ttwo\n\tB\nCOPY <<F /f\nF\nENV a=<<G";
        let (_, all, _) = split(file).expect("it is a Dockerfile");
        let documents: Vec<_> = all.iter().flat_map(|logical| &logical.heredocs).collect();
        let document = |name: &str, content: &str, expand, chomp| Heredoc {
            name: name.to_owned(),
            content: content.to_owned(),
            expand,
            chomp,
        };
        let want = [
            document("A", "$one\n", true, false),
            document("B", "two\n", false, true),
            document("F", "", true, false),
        ];
        assert_eq!(documents, want.iter().collect::<Vec<_>>());
        assert_eq!(all.len(), 3);
        let error = split("FROM a\n\nRUN cat <<EOF\nx").expect_err("it has no end").to_string();
        assert_eq!(error, "3:9: unterminated heredoc EOF");
    }

    #[test]
    fn places_lead_back_through_joined_lines() {
        let (_, all, _) = split("\n  RUN a \\\n  bcd").expect("it is a Dockerfile");
        let place = |offset: usize| (all[0].place(offset).line, all[0].place(offset).column);
        assert_eq!((place(0), place(4)), ((2, 3), (2, 7)));
        let offset = all[0].text.find("bcd").expect("it is there");
        assert_eq!(place(offset), (3, 3));
    }
}
