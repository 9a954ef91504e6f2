//! Tokens into an [`Expr`]; macros are taken apart here.

use crate::lexer::{Token, Unread, tokens};
use crate::syntax::{Each, Expr, Literal, Node, Over, SORT_BY};

/// Expressions inside each other, as upstream limits them.
const MAX_DEPTH: usize = 250;
/// Operators and members one behind the other: trees are walked and dropped one level a call.
const MAX_LINKS: usize = 4_000;
/// The longest text.
const MAX_BYTES: usize = 100_000;

/// Reads an expression.
pub(crate) fn parse(text: &str) -> Result<Expr, Unread> {
    if text.len() > MAX_BYTES {
        return Err((
            0,
            format!("expression code point size exceeds limit: size: {}, limit {MAX_BYTES}", text.len()),
        ));
    }
    let mut parser = Parser { tokens: tokens(text)?, place: 0, depth: 0, links: 0 };
    let expr = parser.expression()?;
    match parser.peek() {
        Token::End => Ok(expr),
        other => {
            Err((parser.at(), format!("Syntax error: extraneous input {} expecting <EOF>", told(other))))
        }
    }
}

fn told(token: &Token) -> String {
    match token {
        Token::End => "'<EOF>'".to_owned(),
        Token::Sign(sign) => format!("'{sign}'"),
        Token::Name(name) => format!("'{name}'"),
        Token::Int(n) => format!("'{n}'"),
        Token::Uint(n) => format!("'{n}u'"),
        Token::Double(n) => format!("'{n}'"),
        Token::String(text) => format!("'\"{text}\"'"),
        Token::Bytes(_) => "bytes".to_owned(),
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    place: usize,
    depth: usize,
    links: usize,
}

type Parsed = Result<Expr, Unread>;

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.place].1
    }

    fn at(&self) -> usize {
        self.tokens[self.place].0
    }

    fn next(&mut self) -> Token {
        let token = self.tokens[self.place].1.clone();
        if token != Token::End {
            self.place += 1;
        }
        token
    }

    fn takes(&mut self, sign: &'static str) -> bool {
        let there = *self.peek() == Token::Sign(sign);
        if there {
            self.place += 1;
        }
        there
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), Unread> {
        if self.takes(sign) {
            return Ok(());
        }
        Err((self.at(), format!("Syntax error: mismatched input {} expecting '{sign}'", told(self.peek()))))
    }

    /// Counts an operator or member.
    fn link(&mut self) -> Result<(), Unread> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err((self.at(), format!("expression recursion limit exceeded: {MAX_LINKS}")));
        }
        Ok(())
    }

    fn expression(&mut self) -> Parsed {
        crate::depth::deep(|| self.expression_here())
    }

    fn expression_here(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err((self.at(), format!("expression recursion limit exceeded: {MAX_DEPTH}")));
        }
        let condition = self.or()?;
        let at = self.at();
        let expr = if self.takes("?") {
            let yes = self.or()?;
            self.expect(":")?;
            let no = self.expression()?;
            Expr { at, node: Node::Choice(Box::new(condition), Box::new(yes), Box::new(no)) }
        } else {
            condition
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn or(&mut self) -> Parsed {
        let mut left = self.and()?;
        loop {
            let at = self.at();
            if !self.takes("||") {
                return Ok(left);
            }
            self.link()?;
            left = Expr { at, node: Node::Or(Box::new(left), Box::new(self.and()?)) };
        }
    }

    fn and(&mut self) -> Parsed {
        let mut left = self.relation()?;
        loop {
            let at = self.at();
            if !self.takes("&&") {
                return Ok(left);
            }
            self.link()?;
            left = Expr { at, node: Node::And(Box::new(left), Box::new(self.relation()?)) };
        }
    }

    fn binary(&mut self, signs: &[&'static str], below: fn(&mut Self) -> Parsed) -> Parsed {
        let mut left = below(self)?;
        'more: loop {
            let at = self.at();
            for sign in signs {
                let there = if *sign == "in" {
                    *self.peek() == Token::Name("in".to_owned()) && {
                        self.place += 1;
                        true
                    }
                } else {
                    self.takes(sign)
                };
                if there {
                    self.link()?;
                    let right = below(self)?;
                    left = Expr { at, node: Node::Binary(sign, Box::new(left), Box::new(right)) };
                    continue 'more;
                }
            }
            return Ok(left);
        }
    }

    fn relation(&mut self) -> Parsed {
        self.binary(&["<=", ">=", "<", ">", "==", "!=", "in"], Self::sum)
    }

    fn sum(&mut self) -> Parsed {
        self.binary(&["+", "-"], Self::product)
    }

    fn product(&mut self) -> Parsed {
        self.binary(&["*", "/", "%"], Self::unary)
    }

    fn unary(&mut self) -> Parsed {
        let at = self.at();
        let (mut nots, mut minus) = (0, 0);
        while self.takes("!") {
            nots += 1;
        }
        while nots == 0 && self.takes("-") {
            minus += 1;
        }
        if minus == 1
            && let Token::Int(number) = *self.peek()
        {
            self.place += 1;
            let number = Expr { at, node: Node::Literal(Literal::Int(number.wrapping_neg())) };
            return self.members(number);
        }
        if let (0, Token::Int(i64::MIN)) = (minus, self.peek()) {
            return Err((self.at(), "Syntax error: invalid int literal".to_owned()));
        }
        let primary = self.primary()?;
        let mut expr = self.members(primary)?;
        if nots % 2 == 1 {
            expr = Expr { at, node: Node::Not(Box::new(expr)) };
        }
        if minus % 2 == 1 {
            expr = Expr { at, node: Node::Negate(Box::new(expr)) };
        }
        Ok(expr)
    }

    fn members(&mut self, mut of: Expr) -> Parsed {
        loop {
            let at = self.at();
            let (dot, optional) = (self.takes("."), *self.peek() == Token::Sign(".?"));
            if dot || self.takes(".?") {
                let optional = !dot && optional;
                let Token::Name(field) = self.next() else {
                    return Err((at, "Syntax error: no viable alternative at input '.'".to_owned()));
                };
                self.link()?;
                let opening = self.at();
                if !optional && self.takes("(") {
                    let arguments = self.arguments(")")?;
                    of = called(opening, Some(of), field, arguments)?;
                } else {
                    of = Expr { at, node: Node::Select { of: Box::new(of), field, optional } };
                }
                continue;
            }
            let optional = *self.peek() == Token::Sign("[?");
            if *self.peek() == Token::Sign("{")
                && let Some(name) = of.dotted()
            {
                let at = self.at();
                self.place += 1;
                of = Expr { at, node: Node::Make { of: name, fields: self.fields()? } };
                continue;
            }
            if self.takes("[") || self.takes("[?") {
                self.link()?;
                let index = Box::new(self.expression()?);
                self.expect("]")?;
                of = Expr { at, node: Node::Index { of: Box::new(of), index, optional } };
                continue;
            }
            return Ok(of);
        }
    }

    fn arguments(&mut self, end: &'static str) -> Result<Vec<Expr>, Unread> {
        let mut all = Vec::new();
        while !self.takes(end) {
            all.push(self.expression()?);
            if !self.takes(",") {
                self.expect(end)?;
                break;
            }
        }
        Ok(all)
    }

    /// The items of a list, up to its end. `optional`: of the first one.
    fn items(&mut self, mut optional: bool) -> Result<Vec<Expr>, Unread> {
        let mut all = Vec::new();
        while optional || !self.takes("]") {
            optional = self.takes("?") || optional;
            all.push(maybe(optional, self.expression()?));
            optional = false;
            if !self.takes(",") {
                self.expect("]")?;
                break;
            }
        }
        Ok(all)
    }

    /// The fields of an object that is made, up to its end.
    fn fields(&mut self) -> Result<Vec<(usize, String, Expr)>, Unread> {
        let mut all = Vec::new();
        while !self.takes("}") {
            let optional = self.takes("?");
            let at = self.at();
            let Token::Name(name) = self.next() else {
                return Err((at, "Syntax error: no viable alternative at input '{'".to_owned()));
            };
            let colon = self.at();
            self.expect(":")?;
            all.push((colon, name, maybe(optional, self.expression()?)));
            if !self.takes(",") {
                self.expect("}")?;
                break;
            }
        }
        Ok(all)
    }

    fn primary(&mut self) -> Parsed {
        let at = self.at();
        let literal = |literal| Ok(Expr { at, node: Node::Literal(literal) });
        match self.next() {
            Token::Int(n) => literal(Literal::Int(n)),
            Token::Uint(n) => literal(Literal::Uint(n)),
            Token::Double(n) => literal(Literal::Double(n)),
            Token::String(text) => literal(Literal::String(text)),
            Token::Bytes(bytes) => literal(Literal::Bytes(bytes)),
            Token::Name(name) => match name.as_str() {
                "true" => literal(Literal::Bool(true)),
                "false" => literal(Literal::Bool(false)),
                "null" => literal(Literal::Null),
                _ => {
                    let opening = self.at();
                    if self.takes("(") {
                        let arguments = self.arguments(")")?;
                        return called(opening, None, name, arguments);
                    }
                    Ok(Expr { at, node: Node::Name(name) })
                }
            },
            Token::Sign("(") => {
                let inside = self.expression()?;
                self.expect(")")?;
                Ok(inside)
            }
            Token::Sign("[") => Ok(Expr { at, node: Node::List(self.items(false)?) }),
            Token::Sign("[?") => Ok(Expr { at, node: Node::List(self.items(true)?) }),
            Token::Sign("{") => self.map(at),
            Token::Sign(".") if matches!(self.peek(), Token::Name(_)) => self.primary(),
            other => {
                Err((at, format!("Syntax error: mismatched input {} expecting an expression", told(&other))))
            }
        }
    }

    fn map(&mut self, at: usize) -> Parsed {
        let mut entries = Vec::new();
        while !self.takes("}") {
            let optional = self.takes("?");
            let key = self.expression()?;
            self.expect(":")?;
            entries.push((key, maybe(optional, self.expression()?)));
            if !self.takes(",") {
                self.expect("}")?;
                break;
            }
        }
        Ok(Expr { at, node: Node::Map(entries) })
    }
}

/// A value that is left out where it is an optional without one.
fn maybe(optional: bool, value: Expr) -> Expr {
    if optional { Expr { at: value.at, node: Node::Maybe(Box::new(value)) } } else { value }
}

/// A call, or what a macro stands for.
fn called(at: usize, target: Option<Expr>, name: String, mut arguments: Vec<Expr>) -> Parsed {
    if target.is_none() && name == "has" {
        return match (arguments.pop(), arguments.is_empty()) {
            (Some(Expr { node: Node::Select { of, field, optional: false }, .. }), true) => {
                Ok(Expr { at, node: Node::Has { of, field } })
            }
            _ => Err((at, "invalid argument to has() macro".to_owned())),
        };
    }
    let Some(target) = target else {
        return Ok(Expr { at, node: Node::Call { target: None, name, arguments } });
    };
    let over = match (name.as_str(), arguments.len()) {
        ("all", 2 | 3) => Over::All,
        ("exists", 2 | 3) => Over::Exists,
        ("exists_one" | "existsOne", 2 | 3) => Over::ExistsOne,
        ("filter", 2) => Over::Filter,
        ("map", 2 | 3) => Over::Map,
        ("transformList", 3 | 4) => Over::TransformList,
        ("transformMap", 3 | 4) => Over::TransformMap,
        ("transformMapEntry", 3 | 4) => Over::TransformMapEntry,
        ("sortBy", 2) => return sorted_by(at, target, arguments),
        ("optMap", 2) => Over::OptMap,
        ("optFlatMap", 2) => Over::OptFlatMap,
        ("bind", 3) if target.node == Node::Name("cel".to_owned()) => {
            let (inside, value) = (arguments.pop(), arguments.pop());
            let name = arguments.pop().map(variable).transpose()?;
            let (Some(inside), Some(value), Some(name)) = (inside, value, name) else {
                return Err((at, "invalid argument to cel.bind() macro".to_owned()));
            };
            return Ok(Expr {
                at,
                node: Node::Bind { name, value: Box::new(value), inside: Box::new(inside) },
            });
        }
        _ => return Ok(Expr { at, node: Node::Call { target: Some(Box::new(target)), name, arguments } }),
    };
    let transforms = matches!(over, Over::TransformList | Over::TransformMap | Over::TransformMapEntry);
    let two =
        transforms || (arguments.len() == 3 && matches!(over, Over::All | Over::Exists | Over::ExistsOne));
    let conditioned = match over {
        Over::Map => arguments.len() == 3,
        _ if transforms => arguments.len() == 4,
        _ => false,
    };
    let mut arguments = arguments.into_iter();
    let mut next = || arguments.next().ok_or_else(|| (at, format!("invalid argument to {name}() macro")));
    let first = variable(next()?)?;
    let second = if two { Some(variable(next()?)?) } else { None };
    let condition = if conditioned { Some(next()?) } else { None };
    let body = next()?;
    Ok(Expr {
        at,
        node: Node::Each(Box::new(Each { over, of: target, name: first, second, condition, body })),
    })
}

/// `list.sortBy(name, key)`: the list, which is bound to a name of its own, ordered by the keys of its items.
fn sorted_by(at: usize, target: Expr, arguments: Vec<Expr>) -> Parsed {
    const INPUT: &str = "@sortBy";
    let input = || Box::new(Expr { at, node: Node::Name(INPUT.to_owned()) });
    let mut arguments = arguments.into_iter();
    let (Some(name), Some(key)) = (arguments.next(), arguments.next()) else {
        return Err((at, "invalid argument to sortBy() macro".to_owned()));
    };
    let keys = Each {
        over: Over::Map,
        of: *input(),
        name: variable(name)?,
        second: None,
        condition: None,
        body: key,
    };
    let arguments = vec![Expr { at, node: Node::Each(Box::new(keys)) }];
    let sorted = Node::Call { target: Some(input()), name: SORT_BY.to_owned(), arguments };
    let inside = Box::new(Expr { at, node: sorted });
    Ok(Expr { at, node: Node::Bind { name: INPUT.to_owned(), value: Box::new(target), inside } })
}

fn variable(expr: Expr) -> Result<String, Unread> {
    match expr.node {
        Node::Name(name) => Ok(name),
        _ => Err((expr.at, "argument must be a simple name".to_owned())),
    }
}
