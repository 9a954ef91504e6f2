//! The tokens of a template's text.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Error,
    Eof,
    Text,
    LeftDelimiter,
    RightDelimiter,
    Space,
    Assign,
    Declare,
    Pipe,
    Character,
    LeftParenthesis,
    RightParenthesis,
    String,
    CharConstant,
    Number,
    Bool,
    Dot,
    Field,
    Variable,
    Identifier,
    /// `if`, `end` and so on.
    Keyword,
    /// Also a keyword, but one that is a value.
    Nil,
}

#[derive(Debug, Clone)]
pub struct Token {
    pub kind: Kind,
    pub text: String,
    /// In bytes from the start of the template's text.
    pub position: usize,
    pub line: usize,
}

const KEYWORDS: [&str; 10] =
    ["block", "break", "continue", "define", "else", "end", "if", "range", "template", "with"];

/// All tokens; the last is the end, or an error.
pub fn tokens(input: &str) -> Vec<Token> {
    let mut lexer = Lexer { input, position: 0, start: 0, line: 1, parentheses: 0, tokens: Vec::new() };
    if let Err(message) = lexer.text() {
        let start_line = lexer.line - lexer.input[lexer.start..lexer.position].matches('\n').count();
        lexer.tokens.push(Token {
            kind: Kind::Error,
            text: message,
            position: lexer.start,
            line: start_line,
        });
    }
    lexer.tokens
}

struct Lexer<'a> {
    input: &'a str,
    position: usize,
    start: usize,
    line: usize,
    parentheses: usize,
    tokens: Vec<Token>,
}

pub fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

pub fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.input[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.position += c.len_utf8();
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    /// Moves on to `position`, counting lines.
    fn skip_to(&mut self, position: usize) {
        self.line += self.input[self.position..position].matches('\n').count();
        self.position = position;
    }

    fn ignore(&mut self) {
        self.start = self.position;
    }

    fn emit(&mut self, kind: Kind) {
        let text = &self.input[self.start..self.position];
        let line = self.line - text.matches('\n').count();
        self.tokens.push(Token { kind, text: text.to_owned(), position: self.start, line });
        self.start = self.position;
    }

    /// The whole input: texts and actions in turn.
    fn text(&mut self) -> Result<(), String> {
        loop {
            let Some(at) = self.rest().find("{{") else {
                self.skip_to(self.input.len());
                if self.position > self.start {
                    self.emit(Kind::Text);
                }
                self.emit(Kind::Eof);
                return Ok(());
            };
            let delimiter = self.position + at;
            let plain = &self.input[self.start..delimiter];
            let trims = has_left_marker(&self.input[delimiter + 2..]);
            let kept = if trims { plain.trim_end_matches(is_space).len() } else { plain.len() };
            self.skip_to(self.start + kept);
            if self.position > self.start {
                self.emit(Kind::Text);
            }
            self.skip_to(delimiter);
            self.ignore();
            self.left_delimiter(if trims { 2 } else { 0 })?;
        }
    }

    fn left_delimiter(&mut self, marker: usize) -> Result<(), String> {
        self.position += 2;
        if self.rest()[marker..].starts_with("/*") {
            self.skip_to(self.position + marker);
            self.ignore();
            return self.comment();
        }
        self.emit(Kind::LeftDelimiter);
        self.skip_to(self.position + marker);
        self.ignore();
        self.parentheses = 0;
        while self.inside()? {}
        Ok(())
    }

    fn comment(&mut self) -> Result<(), String> {
        self.position += 2;
        let Some(length) = self.rest().find("*/") else { return Err("unclosed comment".to_owned()) };
        self.skip_to(self.position + length + 2);
        let Some(marker) = self.at_right_delimiter() else {
            return Err("comment ends before closing delimiter".to_owned());
        };
        self.skip_to(self.position + marker + 2);
        self.after_delimiter(marker);
        Ok(())
    }

    /// The length of the trim marker before the closing delimiter, where that is next.
    fn at_right_delimiter(&self) -> Option<usize> {
        let rest = self.rest();
        let marked = rest.strip_prefix(is_space).and_then(|rest| rest.strip_prefix('-'));
        if marked.is_some_and(|rest| rest.starts_with("}}")) {
            return Some(2);
        }
        rest.starts_with("}}").then_some(0)
    }

    fn after_delimiter(&mut self, marker: usize) {
        if marker > 0 {
            let rest = self.rest();
            self.skip_to(self.position + rest.len() - rest.trim_start_matches(is_space).len());
        }
        self.ignore();
    }

    /// One token of an action; false when the action is closed.
    fn inside(&mut self) -> Result<bool, String> {
        if let Some(marker) = self.at_right_delimiter() {
            if self.parentheses > 0 {
                return Err("unclosed left paren".to_owned());
            }
            self.skip_to(self.position + marker);
            self.ignore();
            self.position += 2;
            self.emit(Kind::RightDelimiter);
            self.after_delimiter(marker);
            return Ok(false);
        }
        let Some(c) = self.next() else { return Err("unclosed action".to_owned()) };
        match c {
            _ if is_space(c) => self.space(),
            '=' => self.emit(Kind::Assign),
            ':' => {
                if self.next() != Some('=') {
                    return Err("expected :=".to_owned());
                }
                self.emit(Kind::Declare);
            }
            '|' => self.emit(Kind::Pipe),
            '"' => self.quoted('"', Kind::String, "unterminated quoted string")?,
            '`' => self.raw()?,
            '\'' => self.quoted('\'', Kind::CharConstant, "unterminated character constant")?,
            '$' => self.name(Kind::Variable)?,
            '.' if !self.rest().starts_with(|c: char| c.is_ascii_digit()) => self.name(Kind::Field)?,
            '.' | '+' | '-' | '0'..='9' => self.number()?,
            _ if is_alphanumeric(c) => self.identifier()?,
            '(' => {
                self.parentheses += 1;
                self.emit(Kind::LeftParenthesis);
            }
            ')' => {
                let Some(left) = self.parentheses.checked_sub(1) else {
                    return Err("unexpected right paren".to_owned());
                };
                self.parentheses = left;
                self.emit(Kind::RightParenthesis);
            }
            '!'..='~' => self.emit(Kind::Character),
            _ => return Err(format!("unrecognized character in action: {}", named(c))),
        }
        Ok(true)
    }

    /// A run of spaces, of which the last may belong to the marker of the closing delimiter.
    fn space(&mut self) {
        loop {
            let before_marker = self.position - 1;
            let marked = &self.input[before_marker..];
            if marked.strip_prefix(is_space).is_some_and(|rest| rest.starts_with("-}}")) {
                // Give the space back.
                if marked.starts_with('\n') {
                    self.line -= 1;
                }
                self.position = before_marker;
                break;
            }
            if !self.peek().is_some_and(is_space) {
                break;
            }
            self.next();
        }
        if self.position > self.start {
            self.emit(Kind::Space);
        }
    }

    fn quoted(&mut self, quote: char, kind: Kind, unterminated: &str) -> Result<(), String> {
        loop {
            match self.next() {
                Some('\\') => {
                    if self.next().is_none_or(|c| c == '\n') {
                        return Err(unterminated.to_owned());
                    }
                }
                None | Some('\n') => return Err(unterminated.to_owned()),
                Some(c) if c == quote => break,
                Some(_) => {}
            }
        }
        self.emit(kind);
        Ok(())
    }

    fn raw(&mut self) -> Result<(), String> {
        let Some(length) = self.rest().find('`') else {
            self.skip_to(self.input.len());
            return Err("unterminated raw quoted string".to_owned());
        };
        self.skip_to(self.position + length + 1);
        self.emit(Kind::String);
        Ok(())
    }

    fn at_terminator(&self) -> bool {
        self.peek().is_none_or(|c| is_space(c) || matches!(c, '.' | ',' | '|' | ':' | ')' | '('))
            || self.rest().starts_with("}}")
    }

    /// What follows `.` or `$`.
    fn name(&mut self, kind: Kind) -> Result<(), String> {
        if self.at_terminator() {
            self.emit(if kind == Kind::Variable { Kind::Variable } else { Kind::Dot });
            return Ok(());
        }
        self.word()?;
        self.emit(kind);
        Ok(())
    }

    fn word(&mut self) -> Result<(), String> {
        while self.peek().is_some_and(is_alphanumeric) {
            self.next();
        }
        match self.peek() {
            Some(c) if !self.at_terminator() => Err(format!("bad character {}", named(c))),
            _ => Ok(()),
        }
    }

    fn identifier(&mut self) -> Result<(), String> {
        self.word()?;
        let kind = match &self.input[self.start..self.position] {
            "nil" => Kind::Nil,
            "true" | "false" => Kind::Bool,
            word if KEYWORDS.contains(&word) => Kind::Keyword,
            _ => Kind::Identifier,
        };
        self.emit(kind);
        Ok(())
    }

    fn number(&mut self) -> Result<(), String> {
        let text = &self.input[self.start..];
        let length = super::number::scan(text);
        let ends = !text[length..].starts_with(is_alphanumeric);
        self.position = self.start + length;
        if !ends || text[length..].starts_with(['+', '-']) {
            let bad = text[..length].to_owned() + &text[length..].chars().take(1).collect::<String>();
            return Err(format!("bad number syntax: {}", crate::printing::go_text::quote(&bad)));
        }
        self.emit(Kind::Number);
        Ok(())
    }
}

fn has_left_marker(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|rest| rest.starts_with(is_space))
}

/// `%#U`
fn named(c: char) -> String {
    let code = format!("U+{:04X}", c as u32);
    if crate::printing::go_text::is_printable(c) { format!("{code} '{c}'") } else { code }
}
