//! Walking a template's nodes.

use std::borrow::Cow;
use std::fmt::Display;

use serde_json::Value;

use super::functions::{self, Parameter};
use super::node::{self, Branch, Call, Node, Operand, OperandKind, Pipe};
use super::number::Constant;
use super::value::Val;
use super::{MAX_DEPTH, MAX_OUTPUT_BYTES, NAME, Template};
use crate::printing::go_text;

pub fn execute(
    template: &Template,
    data: &Value,
    allow_missing: bool,
    out: &mut String,
) -> Result<(), String> {
    let mut run = Run {
        template,
        name: NAME,
        allow_missing,
        out,
        variables: vec![("$", Val::Data(Cow::Borrowed(data)))],
        depth: 0,
        place: None,
    };
    let Some(nodes) = template.trees.get(NAME) else {
        return Err(format!("template: {NAME}: {NAME:?} is an incomplete or empty template"));
    };
    match run.list(&Val::Data(Cow::Borrowed(data)), nodes) {
        Err(Stop::Failed(message)) => Err(message),
        Ok(()) | Err(Stop::Break | Stop::Continue) => Ok(()),
    }
}

/// Why a walk ends before its nodes do.
enum Stop {
    Break,
    Continue,
    Failed(String),
}

type Walk<T> = Result<T, Stop>;

/// The node that errors name.
#[derive(Clone, Copy)]
enum Place<'t> {
    Operand(&'t Operand),
    Command(&'t [Operand]),
    Pipe(&'t Pipe),
    Call(&'t Call),
}

struct Run<'t, 'o> {
    template: &'t Template,
    /// Of the template that is being executed.
    name: &'t str,
    allow_missing: bool,
    out: &'o mut String,
    variables: Vec<(&'t str, Val<'t>)>,
    depth: usize,
    place: Option<Place<'t>>,
}

impl<'t> Run<'t, '_> {
    fn fail<T>(&self, message: impl Display) -> Walk<T> {
        let (position, context) = match self.place {
            None => return Err(Stop::Failed(format!("template: {}: {message}", self.name))),
            Some(Place::Operand(operand)) => (operand.position, operand.to_string()),
            Some(Place::Command(command)) => {
                (command.first().map_or(0, |first| first.position), node::shown_command(command))
            }
            Some(Place::Pipe(pipe)) => (pipe.position, pipe.to_string()),
            Some(Place::Call(call)) => (call.position, call.to_string()),
        };
        let before = self.template.text.get(..position).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rfind('\n').map_or(position, |at| position - at - 1);
        let name = go_text::quote(self.name);
        Err(Stop::Failed(format!(
            "template: {NAME}:{line}:{column}: executing {name} at <{context}>: {message}"
        )))
    }

    fn write(&mut self, text: &str) -> Walk<()> {
        if self.out.len() + text.len() > MAX_OUTPUT_BYTES {
            return self.fail("the output is too long");
        }
        self.out.push_str(text);
        Ok(())
    }

    fn list(&mut self, dot: &Val<'t>, nodes: &'t [Node]) -> Walk<()> {
        nodes.iter().try_for_each(|node| self.node(dot, node))
    }

    fn node(&mut self, dot: &Val<'t>, node: &'t Node) -> Walk<()> {
        match node {
            Node::Text(text) => self.write(text),
            Node::Action(pipe) => {
                let value = self.pipe(dot, pipe)?;
                if pipe.variables.is_empty() { self.write(&value.plain("<no value>")) } else { Ok(()) }
            }
            Node::If(branch) => self.branch(dot, branch, false),
            Node::With(branch) => self.branch(dot, branch, true),
            Node::Range(branch) => self.range(dot, branch),
            Node::Template(call) => self.template(dot, call),
            Node::Break => Err(Stop::Break),
            Node::Continue => Err(Stop::Continue),
        }
    }

    fn branch(&mut self, dot: &Val<'t>, branch: &'t Branch, with: bool) -> Walk<()> {
        let visible = self.variables.len();
        let value = self.pipe(dot, &branch.pipe)?;
        let done = if value.is_true() {
            self.list(if with { &value } else { dot }, &branch.body)
        } else if let Some(otherwise) = &branch.otherwise {
            self.list(dot, otherwise)
        } else {
            Ok(())
        };
        self.variables.truncate(visible);
        done
    }

    fn range(&mut self, dot: &Val<'t>, branch: &'t Branch) -> Walk<()> {
        let visible = self.variables.len();
        let over = self.pipe(dot, &branch.pipe)?;
        let turns = self.turns(&over, branch);
        let done = match turns {
            Ok(0) => branch.otherwise.as_ref().map_or(Ok(()), |nodes| self.list(dot, nodes)),
            Ok(_) | Err(Stop::Break) => Ok(()),
            Err(stop) => Err(stop),
        };
        self.variables.truncate(visible);
        done
    }

    /// Walks the body for each element; returns how many there were.
    fn turns(&mut self, over: &Val<'t>, branch: &'t Branch) -> Walk<usize> {
        if let Some(number) = over.integer() {
            if branch.pipe.variables.len() > 1 {
                return self.fail(format!("can't use {number} to iterate over more than one variable"));
            }
            for turn in 0..number.max(0) {
                let element = match over {
                    Val::Int(_) => Val::Int(turn),
                    _ => Val::Data(Cow::Owned(Value::from(turn))),
                };
                self.turn(Val::Nothing, &element, branch)?;
            }
            return Ok(usize::try_from(number).unwrap_or(0));
        }
        match over.json() {
            None if matches!(over, Val::Nothing) => Ok(0),
            Some(Value::Array(items)) => {
                for index in 0..items.len() {
                    let element = over.item(index).unwrap_or(Val::Nothing);
                    self.turn(Val::Int(i64::try_from(index).unwrap_or(i64::MAX)), &element, branch)?;
                }
                Ok(items.len())
            }
            Some(Value::Object(fields)) => {
                for key in fields.keys() {
                    let element = over.field(key).unwrap_or(Val::Nothing);
                    self.turn(Val::text(key.as_str()), &element, branch)?;
                }
                Ok(fields.len())
            }
            _ => self.fail(format!("range can't iterate over {}", over.plain("<no value>"))),
        }
    }

    fn turn(&mut self, index: Val<'t>, element: &Val<'t>, branch: &'t Branch) -> Walk<()> {
        let visible = self.variables.len();
        let pipe = &branch.pipe;
        if pipe.assigns {
            match pipe.variables.as_slice() {
                [one] => self.assign(one, element.clone())?,
                [first, second, ..] => {
                    self.assign(first, index)?;
                    self.assign(second, element.clone())?;
                }
                [] => {}
            }
        } else {
            // The loop's own variables are the topmost ones: the pipe has declared them.
            let mut values = vec![element.clone(), index];
            for (_, value) in self.variables.iter_mut().rev().take(pipe.variables.len()) {
                *value = if values.is_empty() { Val::Nothing } else { values.remove(0) };
            }
        }
        let done = self.list(element, &branch.body);
        self.variables.truncate(visible);
        match done {
            Err(Stop::Continue) => Ok(()),
            other => other,
        }
    }

    fn template(&mut self, dot: &Val<'t>, call: &'t Call) -> Walk<()> {
        self.place = Some(Place::Call(call));
        let template = self.template;
        let Some((name, nodes)) = template.trees.get_key_value(&call.name) else {
            return self.fail(format!("template {} not defined", go_text::quote(&call.name)));
        };
        if self.depth >= MAX_DEPTH {
            return self.fail(format!("exceeded maximum template depth ({MAX_DEPTH})"));
        }
        let dot = match &call.pipe {
            Some(pipe) => self.pipe(dot, pipe)?,
            None => Val::Nothing,
        };
        let outside = std::mem::replace(&mut self.variables, vec![("$", dot.clone())]);
        let outer_name = std::mem::replace(&mut self.name, name);
        self.depth += 1;
        let done = self.list(&dot, nodes);
        self.depth -= 1;
        self.name = outer_name;
        self.variables = outside;
        done
    }

    fn assign(&mut self, name: &str, value: Val<'t>) -> Walk<()> {
        match self.variables.iter_mut().rev().find(|(known, _)| *known == name) {
            Some((_, place)) => {
                *place = value;
                Ok(())
            }
            None => self.fail(format!("undefined variable: {name}")),
        }
    }

    fn pipe(&mut self, dot: &Val<'t>, pipe: &'t Pipe) -> Walk<Val<'t>> {
        self.place = Some(Place::Pipe(pipe));
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(dot, command, value)?.unboxed());
        }
        let value = value.unwrap_or(Val::Nothing);
        for name in &pipe.variables {
            if pipe.assigns {
                self.assign(name, value.clone())?;
            } else {
                self.variables.push((name, value.clone()));
            }
        }
        Ok(value)
    }

    /// `last` is the result of the pipeline's stage before.
    fn command(&mut self, dot: &Val<'t>, command: &'t [Operand], last: Option<Val<'t>>) -> Walk<Val<'t>> {
        let Some(first) = command.first() else { return Ok(Val::Nothing) };
        let has_arguments = command.len() > 1 || last.is_some();
        match &first.kind {
            OperandKind::Identifier(name) => return self.call(dot, command, name, last),
            OperandKind::Pipe(pipe) => {
                self.no_function(first, has_arguments)?;
                return self.pipe(dot, pipe);
            }
            OperandKind::Field(_) | OperandKind::Chain(..) => return self.path(dot, first, has_arguments),
            OperandKind::Variable(names) => {
                if names.len() == 1 {
                    self.place = Some(Place::Operand(first));
                    self.no_function(first, has_arguments)?;
                }
                return self.path(dot, first, has_arguments);
            }
            _ => {}
        }
        self.place = Some(Place::Operand(first));
        self.no_function(first, has_arguments)?;
        match &first.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => self.fail("nil is not a command"),
            _ => self.constant(first),
        }
    }

    fn no_function(&mut self, operand: &'t Operand, has_arguments: bool) -> Walk<()> {
        if has_arguments {
            return self.fail(format!("can't give argument to non-function {operand}"));
        }
        Ok(())
    }

    /// What a literal stands for.
    fn constant(&mut self, operand: &'t Operand) -> Walk<Val<'t>> {
        match &operand.kind {
            OperandKind::Bool(value) => Ok(Val::bool(*value)),
            OperandKind::String { text, .. } => Ok(Val::text(text.as_str())),
            OperandKind::Number { value: Constant::Int(value), .. } => Ok(Val::Int(*value)),
            OperandKind::Number { value: Constant::Float(value), .. } => {
                let number = serde_json::Number::from_f64(*value).map_or(Value::Null, Value::Number);
                Ok(Val::Data(Cow::Owned(number)))
            }
            OperandKind::Number { text, value: Constant::TooLarge } => {
                self.fail(format!("{text} overflows int"))
            }
            _ => self.fail(format!("can't evaluate command {}", go_text::quote(&operand.to_string()))),
        }
    }

    /// A variable, or fields of the dot, a variable or a parenthesized value.
    fn path(&mut self, dot: &Val<'t>, operand: &'t Operand, has_arguments: bool) -> Walk<Val<'t>> {
        self.place = Some(Place::Operand(operand));
        let (mut value, names) = match &operand.kind {
            OperandKind::Field(names) => (dot.clone(), names.as_slice()),
            OperandKind::Variable(names) => {
                let known =
                    self.variables.iter().rev().find(|(known, _)| names.first().is_some_and(|n| n == known));
                match known {
                    Some((_, value)) => (value.clone(), names.get(1..).unwrap_or_default()),
                    None => return self.fail(format!("undefined variable: {operand}")),
                }
            }
            OperandKind::Chain(inner, names) => {
                if matches!(inner.kind, OperandKind::Nil) {
                    return self.fail(format!("indirection through explicit nil in {operand}"));
                }
                (self.argument(dot, inner)?, names.as_slice())
            }
            _ => return self.constant(operand),
        };
        for (index, name) in names.iter().enumerate() {
            let called = has_arguments && index + 1 == names.len();
            value = self.field(&value, name, called)?;
        }
        Ok(value)
    }

    fn field(&mut self, receiver: &Val<'t>, name: &str, called: bool) -> Walk<Val<'t>> {
        if matches!(receiver, Val::Nothing) {
            if !self.allow_missing {
                return self.fail(format!("nil data; no entry for key {}", go_text::quote(name)));
            }
            return Ok(Val::Nothing);
        }
        let held_as = receiver.static_type_name();
        if receiver.is_nil() {
            return self.fail(format!("nil pointer evaluating {held_as}.{name}"));
        }
        match receiver.field(name) {
            Some(_) if called => self.fail(format!("{name} is not a method but has arguments")),
            Some(Val::Nothing) if !self.allow_missing => {
                self.fail(format!("map has no entry for key {}", go_text::quote(name)))
            }
            Some(value) => Ok(value),
            None => self.fail(format!("can't evaluate field {name} in type {held_as}")),
        }
    }

    /// An operand as the argument of a function that takes anything.
    fn argument(&mut self, dot: &Val<'t>, operand: &'t Operand) -> Walk<Val<'t>> {
        self.place = Some(Place::Operand(operand));
        match &operand.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => Ok(Val::Nothing),
            OperandKind::Field(_) | OperandKind::Variable(_) | OperandKind::Chain(..) => {
                self.path(dot, operand, false)
            }
            OperandKind::Pipe(pipe) => self.pipe(dot, pipe),
            OperandKind::Identifier(name) => self.call(dot, std::slice::from_ref(operand), name, None),
            _ => self.constant(operand),
        }
    }

    /// An operand as an argument that must be a string.
    fn string_argument(&mut self, dot: &Val<'t>, operand: &'t Operand) -> Walk<Val<'t>> {
        self.place = Some(Place::Operand(operand));
        match &operand.kind {
            OperandKind::Nil => self.fail("cannot assign nil to string"),
            OperandKind::Bool(_) | OperandKind::Number { .. } => {
                self.fail(format!("expected string; found {operand}"))
            }
            _ => {
                let value = self.argument(dot, operand)?;
                self.validated(value, Parameter::String)
            }
        }
    }

    fn validated(&mut self, value: Val<'t>, parameter: Parameter) -> Walk<Val<'t>> {
        if parameter == Parameter::Any || value.string().is_some() {
            return Ok(value);
        }
        if matches!(value, Val::Nothing) {
            return self.fail("invalid value; expected string");
        }
        let got = if value.is_nil() { "interface {}" } else { value.type_name() };
        self.fail(format!("wrong type for value; expected string; got {got}"))
    }

    fn call(
        &mut self,
        dot: &Val<'t>,
        command: &'t [Operand],
        name: &str,
        last: Option<Val<'t>>,
    ) -> Walk<Val<'t>> {
        let operands = command.get(1..).unwrap_or_default();
        self.place = command.first().map(Place::Operand);
        let Some(function) = functions::find(name) else {
            return self.fail(format!("{} is not a defined function", go_text::quote(name)));
        };
        let count = operands.len() + usize::from(last.is_some());
        let fixed = function.parameters.len();
        if function.variadic && count < fixed {
            let got = operands.len();
            return self.fail(format!("wrong number of args for {name}: want at least {fixed} got {got}"));
        }
        if !function.variadic && count != fixed {
            return self.fail(format!("wrong number of args for {name}: want {fixed} got {count}"));
        }
        let shortcut = match name {
            "and" => Some(false),
            "or" => Some(true),
            _ => None,
        };
        let mut arguments = Vec::with_capacity(count);
        for (index, operand) in operands.iter().enumerate() {
            let parameter = function.parameters.get(index).copied().unwrap_or(Parameter::Any);
            let value = match parameter {
                Parameter::String => self.string_argument(dot, operand)?,
                Parameter::Any => self.argument(dot, operand)?,
            };
            if shortcut == Some(value.is_true()) {
                return Ok(value);
            }
            arguments.push(value);
        }
        if let Some(last) = last {
            let parameter = function.parameters.get(arguments.len()).copied().unwrap_or(Parameter::Any);
            arguments.push(self.validated(last, parameter)?);
        }
        if shortcut.is_some() {
            return Ok(arguments.pop().unwrap_or(Val::Nothing));
        }
        // No value of JSON is a function; the error names the operand, not its value.
        let done = match (name, operands.first(), arguments.first()) {
            ("call", Some(operand), Some(value)) if !value.is_nil() => {
                Err(format!("non-function {operand} of type {}", value.type_name()))
            }
            _ => (function.run)(&arguments),
        };
        match done {
            Ok(value) => Ok(value),
            Err(message) => {
                self.place = Some(Place::Command(command));
                self.fail(format!("error calling {name}: {message}"))
            }
        }
    }
}
