//! A whole Dockerfile: arguments for all, then stages with their steps.

use std::collections::HashSet;

use crate::error::{Place, SyntaxError};
use crate::instruction::{Instruction, instruction};
use crate::lines::split;

/// A Dockerfile as read.
#[derive(Debug, Clone)]
pub struct Dockerfile {
    pub escape: char,
    /// The frontend that the file asks for.
    pub syntax: Option<String>,
    /// `ARG`s before the first `FROM`.
    pub arguments: Vec<Step>,
    pub stages: Vec<Stage>,
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Stage {
    pub base: Base,
    pub name: Option<String>,
    pub place: Place,
    /// The `FROM` as written.
    pub text: String,
    pub steps: Vec<Step>,
}

/// What a stage starts from; may hold variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    pub image: String,
    pub platform: Option<String>,
}

/// One instruction with its place.
#[derive(Debug, Clone)]
pub struct Step {
    pub instruction: Instruction,
    pub place: Place,
    /// As written, in one line.
    pub text: String,
}

/// Reads a Dockerfile.
pub fn parse(text: &str) -> Result<Dockerfile, SyntaxError> {
    let (directives, all, warnings) = split(text)?;
    let mut file = Dockerfile {
        escape: directives.escape,
        syntax: directives.syntax,
        arguments: Vec::new(),
        stages: Vec::new(),
        warnings,
    };
    let mut names = HashSet::new();
    for logical in &all {
        let (place, text) = (logical.place(0), logical.text.trim().to_owned());
        match instruction(logical, file.escape)? {
            Instruction::From { image, platform, name } => {
                if let Some(name) = name.as_ref().filter(|name| !names.insert((*name).clone())) {
                    return Err(logical.error(0, format!("duplicate stage name {name:?}")));
                }
                let base = Base { image, platform };
                file.stages.push(Stage { base, name, place, text, steps: Vec::new() });
            }
            instruction => {
                if let Instruction::Onbuild(trigger) = &instruction {
                    let rest = logical.text["ONBUILD".len()..].trim_start().len();
                    let offset = logical.text.len() - rest;
                    parse_trigger(trigger).map_err(|error| logical.error(offset, error.message))?;
                }
                let step = Step { instruction, place, text };
                match (file.stages.last_mut(), &step.instruction) {
                    (Some(stage), _) => stage.steps.push(step),
                    (None, Instruction::Arg(_)) => file.arguments.push(step),
                    (None, _) => return Err(logical.error(0, "no build stage in current context")),
                }
            }
        }
    }
    match file.stages.is_empty() {
        true => {
            let place = Place { line: 1, column: 1, end_line: 1 };
            let message = if all.is_empty() { "file with no instructions" } else { "no build stage" };
            Err(SyntaxError { place, message: message.to_owned() })
        }
        false => Ok(file),
    }
}

/// Reads an instruction that an image holds for those who build on it.
pub fn parse_trigger(text: &str) -> Result<Step, SyntaxError> {
    let (directives, all, _) = split(text)?;
    let place = Place { line: 1, column: 1, end_line: 1 };
    let [logical] = all.as_slice() else {
        return Err(SyntaxError { place, message: "an ONBUILD trigger is one instruction".to_owned() });
    };
    let found = instruction(logical, directives.escape)?;
    if matches!(found, Instruction::From { .. } | Instruction::Onbuild(_) | Instruction::Maintainer(_)) {
        return Err(logical.error(0, "the instruction isn't allowed as an ONBUILD trigger"));
    }
    Ok(Step { instruction: found, place, text: logical.text.trim().to_owned() })
}

impl Dockerfile {
    /// The stage that `target` names, by name or number.
    pub fn stage(&self, target: &str) -> Option<usize> {
        let lower = target.to_ascii_lowercase();
        let named = self.stages.iter().position(|stage| stage.name.as_deref() == Some(&lower));
        named.or_else(|| target.parse().ok().filter(|index| *index < self.stages.len()))
    }
}

#[cfg(test)]
#[path = "stages/tests.rs"]
mod tests;
