//! The text of a description while it is written.

use std::fmt::Display;

use crate::printing::columns::{self, Layout};

/// Cells that tabs separate; aligned in the end, or where the text is flushed.
#[derive(Debug, Default)]
pub struct Text {
    aligned: String,
    pending: String,
}

impl Text {
    /// Indented by two spaces a level. What a terminal would take as a command is shown.
    pub fn write(&mut self, level: usize, text: impl Display) {
        self.pending.extend(std::iter::repeat_n("  ", level));
        for c in text.to_string().chars() {
            match c {
                '\u{1b}' => self.pending.push_str("^["),
                '\r' => self.pending.push_str("\\r"),
                _ => self.pending.push(c),
            }
        }
    }

    pub fn line(&mut self, level: usize, text: impl Display) {
        self.write(level, text);
        self.pending.push('\n');
    }

    /// Ends the columns so far.
    pub fn flush(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        self.aligned.push_str(&columns::align(&pending, Layout::DESCRIPTION));
    }

    /// The text with its tabs, nothing aligned.
    pub fn unaligned(self) -> String {
        self.aligned + &self.pending
    }

    pub fn finish(mut self) -> String {
        self.flush();
        self.aligned
    }
}

/// Writes a line: the text, the level, and what `format!` takes.
macro_rules! put {
    ($text:expr, $level:expr, $($arguments:tt)*) => {
        $text.line($level, format_args!($($arguments)*))
    };
}

pub(super) use put;
