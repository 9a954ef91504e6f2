//! Where something is wrong in a Dockerfile, shown with the lines around the fault.

/// A place in the text; lines and columns count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub line: usize,
    pub column: usize,
    /// The last line of the instruction.
    pub end_line: usize,
}

/// A Dockerfile that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{}: {message}", place.line, place.column)]
pub struct SyntaxError {
    pub place: Place,
    pub message: String,
}

/// Lines shown before and after the marked ones.
const AROUND: usize = 3;

impl Place {
    /// The lines of `text` around this place, those of the instruction marked, as BuildKit shows them.
    pub fn excerpt(&self, file: &str, text: &str) -> String {
        let rule = "-".repeat(20);
        let mut out = format!("{file}:{}\n{rule}\n", self.line);
        let first = self.line.saturating_sub(AROUND).max(1);
        let count = (self.end_line + AROUND + 1).saturating_sub(first);
        for (index, line) in text.lines().enumerate().skip(first - 1).take(count) {
            let number = index + 1;
            let mark = if (self.line..=self.end_line).contains(&number) { ">>>" } else { "   " };
            out.push_str(format!("{number:4} | {mark} {line}").trim_end());
            out.push('\n');
        }
        out + &rule + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_the_fault_are_marked() {
        let text = "FROM a\nRUN one \\\n  two\n\nRUN x\nRUN y\nRUN z\nRUN far\n";
        let shown = Place { line: 2, column: 1, end_line: 3 }.excerpt("Dockerfile", text);
        let rule = "-".repeat(20);
        let want = format!(
            "Dockerfile:2\n{rule}\n   1 |     FROM a\n   2 | >>> RUN one \\\n   3 | >>>   two\n   4 |\n   5 |     RUN x\n   6 |     RUN y\n{rule}\n"
        );
        assert_eq!(shown, want);
    }
}
