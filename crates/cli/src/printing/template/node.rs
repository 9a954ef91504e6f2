//! The nodes of a template, and the texts by which errors name them.

use std::fmt;

use super::number::Constant;

#[derive(Debug)]
pub enum Node {
    Text(String),
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    Template(Call),
    Break,
    Continue,
}

#[derive(Debug)]
pub struct Branch {
    pub pipe: Pipe,
    pub body: Vec<Node>,
    pub otherwise: Option<Vec<Node>>,
}

/// `{{template "name" pipeline}}`
#[derive(Debug)]
pub struct Call {
    /// Of the name.
    pub position: usize,
    pub name: String,
    pub pipe: Option<Pipe>,
}

#[derive(Debug, Default)]
pub struct Pipe {
    pub position: usize,
    /// Variables are assigned to, not declared.
    pub assigns: bool,
    /// With their `$`.
    pub variables: Vec<String>,
    pub commands: Vec<Vec<Operand>>,
}

#[derive(Debug)]
pub struct Operand {
    pub position: usize,
    pub kind: OperandKind,
}

#[derive(Debug)]
pub enum OperandKind {
    Bool(bool),
    Dot,
    Nil,
    Number {
        text: String,
        value: Constant,
    },
    String {
        quoted: String,
        text: String,
    },
    Identifier(String),
    /// Without the points.
    Field(Vec<String>),
    /// The first is the variable, with its `$`.
    Variable(Vec<String>),
    Chain(Box<Operand>, Vec<String>),
    Pipe(Pipe),
}

/// A command's operands, pipelines in parentheses.
pub fn shown_command(command: &[Operand]) -> String {
    let parts: Vec<String> = command
        .iter()
        .map(|operand| match &operand.kind {
            OperandKind::Pipe(pipe) => format!("({pipe})"),
            _ => operand.to_string(),
        })
        .collect();
    parts.join(" ")
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{{template {}", crate::printing::go_text::quote(&self.name))?;
        if let Some(pipe) = &self.pipe {
            write!(f, " {pipe}")?;
        }
        f.write_str("}}")
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            let sign = if self.assigns { "=" } else { ":=" };
            write!(f, "{} {sign} ", self.variables.join(", "))?;
        }
        for (index, command) in self.commands.iter().enumerate() {
            if index > 0 {
                f.write_str(" | ")?;
            }
            f.write_str(&shown_command(command))?;
        }
        Ok(())
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            OperandKind::Bool(value) => write!(f, "{value}"),
            OperandKind::Dot => f.write_str("."),
            OperandKind::Nil => f.write_str("nil"),
            OperandKind::Number { text, .. } | OperandKind::Identifier(text) => f.write_str(text),
            OperandKind::String { quoted, .. } => f.write_str(quoted),
            OperandKind::Field(names) => names.iter().try_for_each(|name| write!(f, ".{name}")),
            OperandKind::Variable(names) => f.write_str(&names.join(".")),
            OperandKind::Chain(operand, names) => {
                match &operand.kind {
                    OperandKind::Pipe(pipe) => write!(f, "({pipe})")?,
                    _ => write!(f, "{operand}")?,
                }
                names.iter().try_for_each(|name| write!(f, ".{name}"))
            }
            OperandKind::Pipe(pipe) => write!(f, "{pipe}"),
        }
    }
}
