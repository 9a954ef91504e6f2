//! From a template's text to nodes. The grammar has no tokens: each function reads on from a position.

use super::{Error, MAX_DEPTH, Node, Slice, error};
use crate::printing::{go_text, quoted};

/// The nodes of a template: texts and lists (what stands in a pair of braces).
pub fn template(text: &str, depth: usize) -> Result<Vec<Node>, Error> {
    if depth > MAX_DEPTH {
        return error("expression is nested too deeply");
    }
    let mut reader = Reader { rest: text, depth };
    let mut nodes = Vec::new();
    while !reader.rest.is_empty() {
        let at = reader.rest.find('{').unwrap_or(reader.rest.len());
        let (plain, rest) = reader.rest.split_at(at);
        if !plain.is_empty() {
            nodes.push(Node::Text(plain.to_owned()));
        }
        reader.rest = rest;
        if let Some(inside) = rest.strip_prefix('{') {
            reader.rest = inside;
            nodes.push(Node::List(reader.action()?));
        }
    }
    Ok(nodes)
}

/// What stands in the braces of an expression that is part of another.
fn action(text: &str, depth: usize) -> Result<Vec<Node>, Error> {
    match template(&format!("{{{text}}}"), depth + 1)?.into_iter().next() {
        Some(Node::List(nodes)) => Ok(nodes),
        _ => Ok(Vec::new()),
    }
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next();
        self.rest = chars.as_str();
        c
    }

    /// Reads up to and with the closing brace.
    fn action(&mut self) -> Result<Vec<Node>, Error> {
        let mut nodes = Vec::new();
        loop {
            if let Some(rest) = self.rest.strip_prefix('}') {
                self.rest = rest;
                return Ok(nodes);
            }
            if let Some(rest) = self.rest.strip_prefix("[?(") {
                self.rest = rest;
                nodes.push(self.filter()?);
            } else if let Some(rest) = self.rest.strip_prefix("..") {
                self.rest = rest;
                self.recursive(&mut nodes)?;
            } else {
                self.operand(&mut nodes)?;
            }
        }
    }

    fn operand(&mut self, nodes: &mut Vec<Node>) -> Result<(), Error> {
        let before = self.rest;
        match self.next() {
            None | Some('\r' | '\n') => return error("unclosed action"),
            // The current object.
            Some(' ' | '@' | '$') => {}
            Some('[') => self.array(nodes)?,
            Some(quote @ ('"' | '\'')) => nodes.push(self.quoted(before, quote)?),
            Some('.') => nodes.push(self.field()),
            Some(c) if c == '+' || c == '-' || is_digit(c) => {
                self.rest = before;
                nodes.push(self.number()?);
            }
            Some(c) if is_alphanumeric(c) => {
                self.rest = before;
                nodes.push(self.identifier());
            }
            Some(c) => {
                let shown = if go_text::is_printable(c) { format!(" '{c}'") } else { String::new() };
                return error(format!("unrecognized character in action: U+{:04X}{shown}", c as u32));
            }
        }
        Ok(())
    }

    fn identifier(&mut self) -> Node {
        let end = self.rest.find(is_terminator).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        match name {
            "true" => Node::Bool(true),
            "false" => Node::Bool(false),
            _ => Node::Identifier(name.to_owned()),
        }
    }

    fn recursive(&mut self, nodes: &mut Vec<Node>) -> Result<(), Error> {
        if nodes.last() == Some(&Node::Recursive) {
            return error("invalid multiple recursive descent");
        }
        nodes.push(Node::Recursive);
        if self.rest.starts_with(is_alphanumeric) {
            nodes.push(self.field());
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Node, Error> {
        let sign = usize::from(self.rest.starts_with(['+', '-']));
        let digits = self.rest[sign..].find(|c| c != '.' && !is_digit(c)).unwrap_or(self.rest.len() - sign);
        let (text, rest) = self.rest.split_at(sign + digits);
        self.rest = rest;
        if let Ok(whole) = text.parse() {
            return Ok(Node::Int(whole));
        }
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Node::Float(value)),
            _ => error(format!("cannot parse number {text}")),
        }
    }

    /// A field's name up to a terminator that is not escaped.
    fn field(&mut self) -> Node {
        let mut name = String::new();
        loop {
            let before = self.rest;
            match self.next() {
                Some('\\') => name.extend(self.next().filter(|c| *c != '\\')),
                None => break,
                Some(c) if is_terminator(c) => {
                    self.rest = before;
                    break;
                }
                Some(c) => name.push(c),
            }
        }
        if name == "*" { Node::Wildcard } else { Node::Field(name) }
    }

    fn quoted(&mut self, before: &'a str, quote: char) -> Result<Node, Error> {
        let mut previous = quote;
        loop {
            match self.next() {
                None | Some('\n') => return error("unterminated quoted string"),
                Some(c) if c == quote && previous != '\\' => break,
                Some(c) => previous = c,
            }
        }
        let text = &before[..before.len() - self.rest.len()];
        match quoted::unquote(text) {
            Some(value) => Ok(Node::Text(value)),
            None => error(format!("unquote string {text} error invalid syntax")),
        }
    }

    fn array(&mut self, nodes: &mut Vec<Node>) -> Result<(), Error> {
        let end = self.rest.find([']', '\n']).filter(|end| self.rest[*end..].starts_with(']'));
        let Some(end) = end else { return error("unterminated array") };
        let text = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        let text = if text == "*" { ":" } else { text };
        if text.contains(',') {
            let parts =
                text.split(',').map(|part| action(&format!("[{}]", part.trim_matches(' ')), self.depth));
            nodes.push(Node::Union(parts.collect::<Result<_, _>>()?));
            return Ok(());
        }
        let key =
            text.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')).filter(|key| !key.contains('\''));
        if let Some(key) = key.filter(|_| text.len() >= 2) {
            nodes.extend(action(&format!(".{key}"), self.depth)?);
            return Ok(());
        }
        nodes.push(Node::Array(slice(text)?));
        Ok(())
    }

    fn filter(&mut self) -> Result<Node, Error> {
        let begin = self.rest;
        let mut quote = None;
        let mut closed = false;
        let mut previous = '(';
        let length = loop {
            let read = begin.len() - self.rest.len();
            match self.next() {
                None | Some('\n') => return error("unterminated filter"),
                Some(c @ ('"' | '\'')) => match quote {
                    None => quote = Some(c),
                    Some(open) if open == c && previous != '\\' => closed = true,
                    Some(_) => {}
                },
                Some(')') if quote.is_some() == closed => break read,
                Some(_) => {}
            }
            previous = begin[..begin.len() - self.rest.len()].chars().next_back().unwrap_or('(');
        };
        if self.next() != Some(']') {
            return error("unclosed array expect ]");
        }
        self.comparison(&begin[..length])
    }

    /// `LEFT OPERATOR RIGHT`, or an expression alone: whether there is something.
    fn comparison(&self, text: &str) -> Result<Node, Error> {
        let is_operator = |c: char| matches!(c, '!' | '<' | '>' | '=');
        let start = text.find(is_operator).filter(|start| *start > 0);
        let parts = start.and_then(|start| {
            let rest = &text[start..];
            let mut length = rest.find(|c| !is_operator(c)).unwrap_or(rest.len());
            // Something has to be left for the right side.
            if length == rest.len() {
                length -= 1;
            }
            (length > 0).then(|| (&text[..start], &rest[..length], &rest[length..]))
        });
        match parts {
            Some((left, operator, right)) => Ok(Node::Filter {
                left: action(left, self.depth)?,
                right: action(right, self.depth)?,
                operator: operator.to_owned(),
            }),
            None => Ok(Node::Filter {
                left: action(text, self.depth)?,
                right: Vec::new(),
                operator: "exists".to_owned(),
            }),
        }
    }
}

/// `FROM[:TO[:STEP]]`, each of which may be left out.
fn slice(text: &str) -> Result<Slice, Error> {
    let mut parts = [None; 3];
    for (index, part) in text.splitn(4, ':').enumerate() {
        let digits = part.strip_prefix('-').unwrap_or(part);
        if index > 2 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return error(format!("invalid array index {text}"));
        }
        parts[index] = Some(part);
    }
    let number = |part: Option<&str>| match part {
        None | Some("") => Ok(None),
        Some(part) => match part.parse::<i64>() {
            Ok(value) => Ok(Some(value)),
            Err(_) => error(format!("array index {part} is not a number")),
        },
    };
    let from = number(parts[0])?;
    let single = parts[1].is_none();
    let to = if single { Some(from.unwrap_or(0).saturating_add(1)) } else { number(parts[1])? };
    Ok(Slice { from, to, step: number(parts[2])?, single })
}

fn is_terminator(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}')
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_alphabetic() || c.is_numeric()
}
