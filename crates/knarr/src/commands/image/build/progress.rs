//! How a build goes on, on standard error: as lines like BuildKit's plain progress, or on a terminal with one line a
//! step that counts the seconds.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::time::Instant;

use runtime::build_request::{Event, Place};

/// Lines of a failed step's output that are repeated at the end.
const KEPT_LINES: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Quiet,
    Plain,
    Terminal,
}

/// What is known of the steps, and where it is shown.
pub struct Progress<'a> {
    style: Style,
    file: &'a str,
    text: &'a str,
    steps: BTreeMap<u32, Step>,
    started: Instant,
    out: Box<dyn Write>,
}

struct Step {
    name: String,
    lines: VecDeque<String>,
    started: Instant,
}

impl<'a> Progress<'a> {
    pub fn new(style: Style, file: &'a str, text: &'a str) -> Self {
        let out = Box::new(std::io::stderr());
        Self { style, file, text, steps: BTreeMap::new(), started: Instant::now(), out }
    }

    /// Shows one event. What cannot be shown ends no build.
    pub fn hear(&mut self, event: Event) {
        let shown = self.shown(event);
        if self.style != Style::Quiet {
            let _ = self.out.write_all(shown.as_bytes()).and_then(|()| self.out.flush());
        }
    }

    fn shown(&mut self, event: Event) -> String {
        let terminal = self.style == Style::Terminal;
        match event {
            Event::Step { id, name } => {
                let name = legible(&name);
                let shown = if terminal { format!(" => {name}\n") } else { format!("#{id} {name}\n") };
                self.steps.insert(id, Step { name, lines: VecDeque::new(), started: Instant::now() });
                shown
            }
            Event::Log { id, text } => {
                let Some(step) = self.steps.get_mut(&id) else { return String::new() };
                let seconds = step.started.elapsed().as_secs_f64();
                step.lines.push_back(text.clone());
                if step.lines.len() > KEPT_LINES {
                    step.lines.pop_front();
                }
                let text = legible(&text);
                if terminal { format!(" => => # {text}\n") } else { format!("#{id} {seconds:.3} {text}\n") }
            }
            Event::Cached { id } => self.ended(id, "CACHED"),
            Event::Done { id, ms } => self.ended(id, &format!("DONE {:.1}s", ms as f64 / 1000.0)),
            Event::Warning { text } => format!("WARNING: {}\n", legible(&text)),
            Event::Built { .. } | Event::Failed { .. } => String::new(),
        }
    }

    fn ended(&self, id: u32, how: &str) -> String {
        match (self.style, self.steps.get(&id)) {
            // The step's line is still the last one where it said nothing: it is written anew.
            (Style::Terminal, Some(step)) if step.lines.is_empty() => {
                format!("\x1b[1A\x1b[2K => {how} {}\n", step.name)
            }
            (Style::Terminal, Some(step)) => format!(" => {how} {}\n", step.name),
            _ => format!("#{id} {how}\n\n"),
        }
    }

    pub fn finish(&mut self) {
        if self.style == Style::Terminal {
            let _ = writeln!(self.out, "[+] Building {:.1}s FINISHED", self.started.elapsed().as_secs_f64());
        }
    }

    /// A failure with the output of its step and the lines of the Dockerfile.
    pub fn failure(&self, id: Option<u32>, message: &str, place: Option<Place>) -> String {
        let mut text = String::new();
        if let Some(step) = id.and_then(|id| self.steps.get(&id)) {
            text.push_str(&format!("------\n > {}:\n", step.name));
            step.lines.iter().for_each(|line| text.push_str(&format!("{}\n", legible(line))));
            text.push_str("------\n");
        }
        if let Some(Place { line, column, end_line }) = place {
            let excerpt = dockerfile::Place { line, column, end_line }.excerpt(self.file, self.text);
            text.push_str(&legible_lines(&excerpt));
            text.push_str(&format!("{}:{line}:{column}: ", legible(self.file)));
        }
        let message = legible_lines(message);
        format!("failed to build: {}{message}", if text.is_empty() { text } else { format!("\n{text}") })
    }
}

/// Lines without what would steer a terminal.
pub fn legible_lines(text: &str) -> String {
    text.split('\n').map(legible).collect::<Vec<_>>().join("\n")
}

/// One line without what would steer a terminal.
fn legible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => out.push('\t'),
            control if control.is_control() => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_shown_steers_a_terminal() {
        let mut progress = Progress::new(Style::Plain, "D\u{1b}[2J", "FROM a\nRUN \u{1b}[2Jb\r\n");
        let name = "[2/2] RUN \u{1b}]0;t\u{7}b\nx".to_owned();
        assert_eq!(progress.shown(Event::Step { id: 1, name }), "#1 [2/2] RUN ]0;tbx\n");
        let place = Place { line: 2, column: 1, end_line: 2 };
        let failure = progress.failure(Some(1), "bad\u{9b}2J\nsecond", Some(place));
        let steering = |character: char| character.is_control() && character != '\n';
        assert!(!failure.contains(steering), "{failure:?}");
        assert!(failure.ends_with("D[2J:2:1: bad2J\nsecond"), "{failure:?}");
    }

    #[test]
    fn steps_read_as_buildkits() {
        let mut progress = Progress::new(Style::Plain, "Dockerfile", "FROM a\nRUN b\n");
        let name = "[2/2] RUN b".to_owned();
        assert_eq!(progress.shown(Event::Step { id: 5, name }), "#5 [2/2] RUN b\n");
        let line = progress.shown(Event::Log { id: 5, text: "x\u{1b}[2J".to_owned() });
        assert!(line.starts_with("#5 0.") && line.ends_with(" x[2J\n"), "{line:?}");
        assert_eq!(progress.shown(Event::Done { id: 5, ms: 140 }), "#5 DONE 0.1s\n\n");
        assert_eq!(progress.shown(Event::Cached { id: 5 }), "#5 CACHED\n\n");
        let place = Place { line: 2, column: 1, end_line: 2 };
        let failure = progress.failure(Some(5), "exit code: 1", Some(place));
        let rule = "-".repeat(20);
        let want = format!(
            "failed to build: \n------\n > [2/2] RUN b:\nx[2J\n------\nDockerfile:2\n{rule}\n   1 |     FROM a\n   2 | >>> RUN b\n{rule}\nDockerfile:2:1: exit code: 1"
        );
        assert_eq!(failure, want);
    }
}
