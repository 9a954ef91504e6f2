//! What was typed and what came back, in order: the account a failing row gives of itself.

use std::sync::{Arc, Mutex, PoisonError};

/// Longest output of one command that is kept whole, in bytes; of a longer one the ends are.
const LONGEST_BYTES: usize = 4000;

/// An account of one row. Clones write into the same one.
#[derive(Debug, Clone, Default)]
pub struct Transcript(Arc<Mutex<String>>);

impl Transcript {
    /// Adds a command and what it said.
    pub(crate) fn add(&self, line: &str, ended: &str, said: &str) {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(&format!("$ {line}\n"));
        text.push_str(&shortened(said));
        if !said.is_empty() && !said.ends_with('\n') {
            text.push('\n');
        }
        if !ended.is_empty() {
            text.push_str(&format!("[{ended}]\n"));
        }
    }

    /// All of it.
    pub fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn shortened(said: &str) -> String {
    if said.len() <= LONGEST_BYTES {
        return said.to_owned();
    }
    let half = LONGEST_BYTES / 2;
    let (head, tail) = (said.floor_char_boundary(half), said.ceil_char_boundary(said.len() - half));
    format!("{}\n[… {} bytes …]\n{}", &said[..head], tail - head, &said[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_output_keeps_its_ends() {
        let transcript = Transcript::default();
        transcript.add("yes", "exit code 0", &format!("begin{}ende", "é".repeat(9000)));
        let text = transcript.text();
        assert!(text.starts_with("$ yes\nbegin") && text.ends_with("ende\n[exit code 0]\n"), "{text}");
        assert!(text.len() < 5000);
    }
}
