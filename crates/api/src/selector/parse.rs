//! The grammar of label selector strings:
//! `KEY`, `!KEY`, `KEY = V`, `KEY == V`, `KEY != V`, `KEY in (V, …)`, `KEY notin (V, …)`, `KEY > N`,
//! `KEY < N`, joined by commas (`k8s.io/apimachinery/pkg/labels/selector.go`).

use super::label::{LabelSelector, Operator, Requirement};
use crate::field::FieldError;
use crate::field::Path;
use crate::{Error, names};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    End,
    Close,
    Comma,
    Not,
    DoubleEquals,
    Equals,
    Greater,
    Identifier,
    In,
    Less,
    NotEquals,
    NotIn,
    Open,
    Unknown,
}

/// Tokens of a text, each with its own piece of the text.
struct Lexer<'a> {
    rest: &'a str,
}

const fn is_symbol(b: u8) -> bool {
    matches!(b, b'=' | b'!' | b'(' | b')' | b',' | b'>' | b'<')
}

const fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n')
}

impl<'a> Lexer<'a> {
    fn next(&mut self) -> (Token, &'a str) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let bytes = self.rest.as_bytes();
        let Some(&first) = bytes.first() else { return (Token::End, "") };
        let (token, length) = if is_symbol(first) {
            match (first, bytes.get(1)) {
                (b'=', Some(b'=')) => (Token::DoubleEquals, 2),
                (b'!', Some(b'=')) => (Token::NotEquals, 2),
                (b'=', _) => (Token::Equals, 1),
                (b'!', _) => (Token::Not, 1),
                (b'(', _) => (Token::Open, 1),
                (b')', _) => (Token::Close, 1),
                (b',', _) => (Token::Comma, 1),
                (b'>', _) => (Token::Greater, 1),
                (b'<', _) => (Token::Less, 1),
                _ => (Token::Unknown, 1),
            }
        } else {
            let end = bytes.iter().position(|&b| is_symbol(b) || is_space(b)).unwrap_or(bytes.len());
            match &self.rest[..end] {
                "in" => (Token::In, end),
                "notin" => (Token::NotIn, end),
                _ => (Token::Identifier, end),
            }
        };
        let (text, rest) = self.rest.split_at(length);
        self.rest = rest;
        (token, text)
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    peeked: Option<(Token, &'a str)>,
}

impl<'a> Parser<'a> {
    /// The next token where a name or value may stand: the words `in` and `notin` are names there.
    fn peek(&mut self) -> (Token, &'a str) {
        let (token, text) = *self.peeked.get_or_insert_with(|| self.lexer.next());
        (if matches!(token, Token::In | Token::NotIn) { Token::Identifier } else { token }, text)
    }

    fn take(&mut self) -> (Token, &'a str) {
        let seen = self.peek();
        self.peeked = None;
        seen
    }

    fn take_operator(&mut self) -> (Token, &'a str) {
        self.peeked.take().unwrap_or_else(|| self.lexer.next())
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let (mut token, mut key) = self.take();
        let negated = token == Token::Not;
        if negated {
            (token, key) = self.take();
        }
        if token != Token::Identifier {
            return Err(format!("found '{key}', expected: identifier"));
        }
        let faults = names::qualified_name(key);
        if !faults.is_empty() {
            return Err(FieldError::invalid(&Path::root("<nil>"), key, faults.join("; ")).to_string());
        }
        let make = |operator, values| Requirement::new(key, operator, values).map_err(|e| e.message);
        if negated {
            return make(Operator::DoesNotExist, vec![]);
        }
        if matches!(self.peek().0, Token::End | Token::Comma) {
            return make(Operator::Exists, vec![]);
        }
        let (token, text) = self.take_operator();
        let operator = match token {
            Token::In => Operator::In,
            Token::NotIn => Operator::NotIn,
            Token::Equals => Operator::Equals,
            Token::DoubleEquals => Operator::DoubleEquals,
            Token::NotEquals => Operator::NotEquals,
            Token::Greater => Operator::GreaterThan,
            Token::Less => Operator::LessThan,
            _ => return Err(format!("found '{text}', expected: in, notin, =, ==, !=, gt, lt")),
        };
        let values = match operator {
            Operator::In | Operator::NotIn => self.value_set()?,
            _ => vec![self.single_value()?],
        };
        make(operator, values)
    }

    fn single_value(&mut self) -> Result<String, String> {
        if matches!(self.peek().0, Token::End | Token::Comma) {
            return Ok(String::new());
        }
        match self.take() {
            (Token::Identifier, text) => Ok(text.to_owned()),
            (_, text) => Err(format!("found '{text}', expected: identifier")),
        }
    }

    /// `(a, b)`; an absent value beside a comma or in `()` is the empty one.
    fn value_set(&mut self) -> Result<Vec<String>, String> {
        let (token, text) = self.take();
        if token != Token::Open {
            return Err(format!("found '{text}' expected: '('"));
        }
        let mut values = Vec::new();
        loop {
            match self.peek() {
                (Token::Identifier, text) => {
                    values.push(text.to_owned());
                    self.take();
                }
                (Token::Comma | Token::Close, _) => values.push(String::new()),
                (_, text) if values.is_empty() => {
                    return Err(format!("found '{text}', expected: ',', ')' or identifier"));
                }
                (_, text) => return Err(format!("found '{text}', expected: ',', or identifier")),
            }
            match self.take() {
                (Token::Close, _) => return Ok(values),
                (Token::Comma, _) => {}
                (_, text) => return Err(format!("found '{text}', expected: ',' or ')'")),
            }
        }
    }
}

impl LabelSelector {
    /// Parses the text of a `labelSelector` parameter; the empty text selects everything.
    ///
    /// # Errors
    /// 400 with upstream's text when it cannot be parsed, or is over
    /// [`MAX_SELECTOR_BYTES`](super::MAX_SELECTOR_BYTES).
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > super::MAX_SELECTOR_BYTES {
            let limit = super::MAX_SELECTOR_BYTES;
            return Err(Error::bad_request(format!("label selector is longer than {limit} bytes")));
        }
        let mut parser = Parser { lexer: Lexer { rest: text }, peeked: None };
        let mut requirements = Vec::new();
        if parser.peek().0 == Token::End {
            return Ok(LabelSelector::everything());
        }
        loop {
            let (token, text) = parser.peek();
            if !matches!(token, Token::Identifier | Token::Not) {
                let expected = if requirements.is_empty() {
                    "!, identifier, or 'end of string'"
                } else {
                    "identifier after ','"
                };
                return Err(Error::bad_request(format!("found '{text}', expected: {expected}")));
            }
            let requirement = parser.requirement();
            requirements.push(
                requirement.map_err(|e| Error::bad_request(format!("unable to parse requirement: {e}")))?,
            );
            match parser.take() {
                (Token::End, _) => return Ok(LabelSelector::of(requirements)),
                (Token::Comma, _) => {}
                (_, text) => {
                    let message = format!("found '{text}', expected: ',' or 'end of string'");
                    return Err(Error::bad_request(message));
                }
            }
        }
    }
}
