//! From tokens to nodes.

use std::collections::BTreeMap;

use super::lex::{self, Kind, Token};
use super::node::{Branch, Call, Node, Operand, OperandKind, Pipe};
use super::{MAX_DEPTH, NAME, functions, number};
use crate::printing::{go_text, quoted};

type Trees = BTreeMap<String, Vec<Node>>;

/// The template of a text and those that it defines, by name.
pub fn parse(text: &str) -> Result<Trees, String> {
    let mut parser = Parser {
        tokens: lex::tokens(text),
        next: 0,
        variables: vec!["$".to_owned()],
        loops: 0,
        depth: 0,
        action_line: 0,
        trees: Trees::new(),
    };
    let main = parser.top()?;
    // An empty text does not take the place of a template that it defines by its own name.
    if !is_empty(&main) || !parser.trees.contains_key(NAME) {
        parser.trees.insert(NAME.to_owned(), main);
    }
    Ok(parser.trees)
}

fn is_empty(nodes: &[Node]) -> bool {
    nodes.iter().all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
}

/// What ends a list of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    End,
    Else,
}

impl End {
    fn shown(self) -> &'static str {
        match self {
            Self::End => "{{end}}",
            Self::Else => "{{else}}",
        }
    }
}

enum Step {
    Node(Node),
    End(End),
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    variables: Vec<String>,
    loops: usize,
    depth: usize,
    action_line: usize,
    trees: Trees,
}

impl Parser {
    fn token(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn peek(&self) -> &Token {
        // The last token is the end or an error; it is never left behind.
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn skip_space(&mut self) {
        while self.peek().kind == Kind::Space {
            self.next += 1;
        }
    }

    fn next_token(&mut self) -> Token {
        self.skip_space();
        self.token()
    }

    fn peek_token(&mut self) -> &Token {
        self.skip_space();
        self.peek()
    }

    fn error<T>(&self, message: &str) -> Result<T, String> {
        // The line of the token that was read last.
        let last = self.next.saturating_sub(1).min(self.tokens.len() - 1);
        Err(format!("template: {NAME}:{}: {message}", self.tokens[last].line))
    }

    fn unexpected<T>(&self, token: &Token, context: &str) -> Result<T, String> {
        if token.kind == Kind::Error {
            let mut extra = String::new();
            if self.action_line != 0 && self.action_line != token.line {
                extra = format!(" in action started at {NAME}:{}", self.action_line);
                if token.text.ends_with(" action") {
                    extra = extra.trim_start_matches(" in action").to_owned();
                }
            }
            return self.error(&format!("{}{extra}", token.text));
        }
        self.error(&format!("unexpected {} in {context}", shown(token)))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Result<Token, String> {
        let token = self.next_token();
        if token.kind == kind { Ok(token) } else { self.unexpected(&token, context) }
    }

    fn is_keyword(&mut self, word: &str) -> bool {
        let token = self.peek_token();
        token.kind == Kind::Keyword && token.text == word
    }

    fn top(&mut self) -> Result<Vec<Node>, String> {
        let mut nodes = Vec::new();
        while self.peek().kind != Kind::Eof {
            if self.peek().kind == Kind::LeftDelimiter {
                let before = self.next;
                self.token();
                if self.is_keyword("define") {
                    self.token();
                    self.definition()?;
                    continue;
                }
                self.next = before;
            }
            match self.text_or_action()? {
                Step::Node(node) => nodes.push(node),
                Step::End(end) => return self.error(&format!("unexpected {}", end.shown())),
            }
        }
        Ok(nodes)
    }

    fn definition(&mut self) -> Result<(), String> {
        let context = "define clause";
        let name = self.next_token();
        if name.kind != Kind::String {
            return self.unexpected(&name, context);
        }
        let name = self.unquoted(&name)?;
        self.expect(Kind::RightDelimiter, context)?;
        let outside = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let loops = std::mem::take(&mut self.loops);
        let (body, end) = self.list()?;
        (self.variables, self.loops) = (outside, loops);
        if end != End::End {
            return self.error(&format!("unexpected {} in {context}", end.shown()));
        }
        self.define(name, body);
        Ok(())
    }

    fn define(&mut self, name: String, body: Vec<Node>) {
        if !is_empty(&body) || !self.trees.contains_key(&name) {
            self.trees.insert(name, body);
        }
    }

    fn list(&mut self) -> Result<(Vec<Node>, End), String> {
        if self.depth >= MAX_DEPTH {
            return self.error("actions are nested too deeply");
        }
        self.depth += 1;
        let mut nodes = Vec::new();
        while self.peek_token().kind != Kind::Eof {
            match self.text_or_action()? {
                Step::Node(node) => nodes.push(node),
                Step::End(end) => {
                    self.depth -= 1;
                    return Ok((nodes, end));
                }
            }
        }
        self.error("unexpected EOF")
    }

    fn text_or_action(&mut self) -> Result<Step, String> {
        let token = self.next_token();
        match token.kind {
            Kind::Text => Ok(Step::Node(Node::Text(token.text))),
            Kind::LeftDelimiter => {
                self.action_line = token.line;
                let step = self.action()?;
                self.action_line = 0;
                Ok(step)
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    fn action(&mut self) -> Result<Step, String> {
        let word = self.peek_token().clone();
        if word.kind != Kind::Keyword {
            let pipe = self.pipeline("command", Kind::RightDelimiter)?;
            return Ok(Step::Node(Node::Action(pipe)));
        }
        self.token();
        let node = match word.text.as_str() {
            "if" => Node::If(self.control("if")?),
            "with" => Node::With(self.control("with")?),
            "range" => Node::Range(self.control("range")?),
            "block" => Node::Template(self.block()?),
            "template" => Node::Template(self.call()?),
            "end" => {
                self.expect(Kind::RightDelimiter, "end")?;
                return Ok(Step::End(End::End));
            }
            "else" => {
                // `{{else if …}}` is `{{else}}{{if …}}`.
                if !self.is_keyword("if") && !self.is_keyword("with") {
                    self.expect(Kind::RightDelimiter, "else")?;
                }
                return Ok(Step::End(End::Else));
            }
            "break" | "continue" => {
                let shown = format!("{{{{{}}}}}", word.text);
                self.expect(Kind::RightDelimiter, &shown)?;
                if self.loops == 0 {
                    return self.error(&format!("{shown} outside {{{{range}}}}"));
                }
                if word.text == "break" { Node::Break } else { Node::Continue }
            }
            _ => return self.unexpected(&word, "command"),
        };
        Ok(Step::Node(node))
    }

    fn control(&mut self, context: &str) -> Result<Branch, String> {
        let visible = self.variables.len();
        let pipe = self.pipeline(context, Kind::RightDelimiter)?;
        let looping = usize::from(context == "range");
        self.loops += looping;
        let (body, end) = self.list()?;
        self.loops -= looping;
        let otherwise = if end == End::End { None } else { Some(self.otherwise(context)?) };
        self.variables.truncate(visible);
        Ok(Branch { pipe, body, otherwise })
    }

    fn otherwise(&mut self, context: &str) -> Result<Vec<Node>, String> {
        if (context == "if" || context == "with") && self.is_keyword(context) {
            if self.depth >= MAX_DEPTH {
                return self.error("actions are nested too deeply");
            }
            self.token();
            self.depth += 1;
            let branch = self.control(context)?;
            self.depth -= 1;
            return Ok(vec![if context == "if" { Node::If(branch) } else { Node::With(branch) }]);
        }
        let (nodes, end) = self.list()?;
        if end != End::End {
            return self.error(&format!("expected end; found {}", end.shown()));
        }
        Ok(nodes)
    }

    fn block(&mut self) -> Result<Call, String> {
        let context = "block clause";
        let (position, name) = self.template_name(context)?;
        let pipe = self.pipeline(context, Kind::RightDelimiter)?;
        let outside = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let loops = std::mem::take(&mut self.loops);
        let (body, end) = self.list()?;
        (self.variables, self.loops) = (outside, loops);
        if end != End::End {
            return self.error(&format!("unexpected {} in {context}", end.shown()));
        }
        self.define(name.clone(), body);
        Ok(Call { position, name, pipe: Some(pipe) })
    }

    fn call(&mut self) -> Result<Call, String> {
        let context = "template clause";
        let (position, name) = self.template_name(context)?;
        if self.peek_token().kind == Kind::RightDelimiter {
            self.token();
            return Ok(Call { position, name, pipe: None });
        }
        let pipe = self.pipeline(context, Kind::RightDelimiter)?;
        Ok(Call { position, name, pipe: Some(pipe) })
    }

    /// Where the name is, and the name.
    fn template_name(&mut self, context: &str) -> Result<(usize, String), String> {
        let name = self.next_token();
        if name.kind != Kind::String {
            return self.unexpected(&name, context);
        }
        Ok((name.position, self.unquoted(&name)?))
    }

    fn unquoted(&self, token: &Token) -> Result<String, String> {
        if let Some(raw) = token.text.strip_prefix('`').and_then(|text| text.strip_suffix('`')) {
            return Ok(raw.replace('\r', ""));
        }
        quoted::unquote(&token.text).map_or_else(|| self.error("invalid syntax"), Ok)
    }

    fn pipeline(&mut self, context: &str, end: Kind) -> Result<Pipe, String> {
        if self.depth >= MAX_DEPTH {
            return self.error("actions are nested too deeply");
        }
        self.depth += 1;
        let mut pipe = Pipe { position: self.peek_token().position, ..Pipe::default() };
        self.declarations(&mut pipe, context)?;
        loop {
            let token = self.next_token();
            match token.kind {
                _ if token.kind == end => break,
                Kind::Bool
                | Kind::CharConstant
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::String
                | Kind::Variable
                | Kind::LeftParenthesis => {
                    self.next -= 1;
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                _ => return self.unexpected(&token, context),
            }
        }
        self.depth -= 1;
        self.check(&pipe, context)?;
        Ok(pipe)
    }

    fn check(&self, pipe: &Pipe, context: &str) -> Result<(), String> {
        if pipe.commands.is_empty() {
            return self.error(&format!("missing value for {context}"));
        }
        let fixed = pipe.commands.iter().skip(1).position(|command| {
            matches!(
                command.first().map(|operand| &operand.kind),
                Some(
                    OperandKind::Bool(_)
                        | OperandKind::Dot
                        | OperandKind::Nil
                        | OperandKind::Number { .. }
                        | OperandKind::String { .. }
                )
            )
        });
        match fixed {
            Some(index) => self.error(&format!("non executable command in pipeline stage {}", index + 2)),
            None => Ok(()),
        }
    }

    /// `$x :=`, `$x =`, and in ranges `$i, $x :=`.
    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Result<(), String> {
        while self.peek_token().kind == Kind::Variable {
            let before = self.next;
            let variable = self.token().text;
            let next = self.peek_token().clone();
            match next.kind {
                Kind::Assign | Kind::Declare => {
                    pipe.assigns = next.kind == Kind::Assign;
                    self.token();
                    pipe.variables.push(variable.clone());
                    self.variables.push(variable);
                    return Ok(());
                }
                Kind::Character if next.text == "," => {
                    self.token();
                    pipe.variables.push(variable.clone());
                    self.variables.push(variable);
                    if context != "range" || pipe.variables.len() > 1 {
                        return self.error(&format!("too many declarations in {context}"));
                    }
                    let kind = self.peek_token().kind;
                    if !matches!(kind, Kind::Variable | Kind::RightDelimiter | Kind::RightParenthesis) {
                        return self.error("range can only initialize variables");
                    }
                }
                _ => {
                    self.next = before;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Result<Vec<Operand>, String> {
        let mut command = Vec::new();
        loop {
            self.skip_space();
            command.extend(self.operand()?);
            let token = self.token();
            match token.kind {
                Kind::Space => {}
                Kind::RightDelimiter | Kind::RightParenthesis => {
                    self.next -= 1;
                    break;
                }
                Kind::Pipe => break,
                _ => return self.unexpected(&token, "operand"),
            }
        }
        if command.is_empty() { self.error("empty command") } else { Ok(command) }
    }

    fn operand(&mut self) -> Result<Option<Operand>, String> {
        let Some(term) = self.term()? else { return Ok(None) };
        if self.peek().kind != Kind::Field {
            return Ok(Some(term));
        }
        let position = self.peek().position;
        let mut fields = Vec::new();
        while self.peek().kind == Kind::Field {
            fields.push(self.token().text[1..].to_owned());
        }
        let kind = match term.kind {
            OperandKind::Field(mut names) => {
                names.extend(fields);
                OperandKind::Field(names)
            }
            OperandKind::Variable(mut names) => {
                names.extend(fields);
                OperandKind::Variable(names)
            }
            OperandKind::Identifier(_) | OperandKind::Chain(..) | OperandKind::Pipe(_) => {
                OperandKind::Chain(Box::new(term), fields)
            }
            _ => {
                let shown = go_text::quote(&term.to_string());
                return self.error(&format!("unexpected . after term {shown}"));
            }
        };
        Ok(Some(Operand { position, kind }))
    }

    fn term(&mut self) -> Result<Option<Operand>, String> {
        let token = self.next_token();
        let kind = match token.kind {
            Kind::Identifier if functions::exists(&token.text) => OperandKind::Identifier(token.text),
            Kind::Identifier => {
                return self.error(&format!("function {} not defined", go_text::quote(&token.text)));
            }
            Kind::Dot => OperandKind::Dot,
            Kind::Nil => OperandKind::Nil,
            Kind::Variable if self.variables.contains(&token.text) => OperandKind::Variable(vec![token.text]),
            Kind::Variable => {
                return self.error(&format!("undefined variable {}", go_text::quote(&token.text)));
            }
            Kind::Field => OperandKind::Field(vec![token.text[1..].to_owned()]),
            Kind::Bool => OperandKind::Bool(token.text == "true"),
            Kind::Number => match number::parse(&token.text) {
                Ok(value) => OperandKind::Number { text: token.text, value },
                Err(message) => return self.error(&message),
            },
            Kind::CharConstant => match quoted::unquote(&token.text) {
                Some(text) if text.chars().count() == 1 => {
                    let code = text.chars().next().map_or(0, |c| i64::from(c as u32));
                    OperandKind::Number { text: token.text, value: number::Constant::Int(code) }
                }
                _ => return self.error(&format!("malformed character constant: {}", token.text)),
            },
            Kind::LeftParenthesis => {
                OperandKind::Pipe(self.pipeline("parenthesized pipeline", Kind::RightParenthesis)?)
            }
            Kind::String => {
                let text = self.unquoted(&token)?;
                OperandKind::String { quoted: token.text, text }
            }
            _ => {
                self.next -= 1;
                return Ok(None);
            }
        };
        let position = match &kind {
            OperandKind::Pipe(pipe) => pipe.position,
            _ => token.position,
        };
        Ok(Some(Operand { position, kind }))
    }
}

/// A token as errors show it.
fn shown(token: &Token) -> String {
    match token.kind {
        Kind::Eof => "EOF".to_owned(),
        Kind::Keyword | Kind::Nil | Kind::Dot => format!("<{}>", token.text),
        _ if token.text.len() > 10 => {
            let start: String = token.text.chars().take(10).collect();
            format!("{}...", go_text::quote(&start))
        }
        _ => go_text::quote(&token.text),
    }
}
