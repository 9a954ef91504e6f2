//! [`Account`]: the answer, for terminals and for programs.

use serde::Serialize;

/// How many objects that stand behind another are accounted for; the others are counted.
pub const SHOWN: usize = 3;

/// What there is to say about one object.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Account {
    /// The object: `pod NAMESPACE/NAME`, `node NAME`.
    pub about: String,
    /// Whether the object is as it was asked for.
    pub well: bool,
    /// How the object is, the end of a sentence that begins with `about`.
    pub summary: String,
    /// The causes, one sentence each.
    pub causes: Vec<String>,
    /// The objects that this one waits for, each with its own account.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub behind: Vec<Account>,
    /// The smallest change that would help, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Account {
    /// An account of an object that is as it should be.
    pub fn well(summary: impl Into<String>) -> Self {
        Self { well: true, summary: summary.into(), ..Self::default() }
    }

    /// An account of an object that is not as it should be.
    pub fn unwell(summary: impl Into<String>) -> Self {
        Self { summary: summary.into(), ..Self::default() }
    }

    /// The same account, of the object that is named.
    #[must_use]
    pub fn of(mut self, kind: &str, namespace: Option<&str>, name: &str) -> Self {
        self.about = match namespace {
            Some(namespace) => format!("{kind} {namespace}/{name}"),
            None => format!("{kind} {name}"),
        };
        self
    }

    /// Adds what is not well of `others`: [`SHOWN`] in full, the rest by number.
    pub fn stand_behind(&mut self, others: impl IntoIterator<Item = Account>) {
        let mut others = others.into_iter().filter(|other| !other.well);
        self.behind.extend(others.by_ref().take(SHOWN));
        let more = others.count();
        if more > 0 {
            let are = if more == 1 { "is" } else { "are" };
            self.causes.push(format!("{more} more {are} in a like state"));
        }
    }

    /// What would help: what is known of the object itself, else of the first object behind with a remedy.
    pub fn remedy(&self) -> Option<&str> {
        self.help.as_deref().or_else(|| self.behind.iter().find_map(Account::remedy))
    }

    /// The account for a terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, 0);
        if let Some(help) = self.remedy() {
            text.push_str(&format!("What would help: {}.\n", printable(help)));
        }
        text
    }

    fn write(&self, text: &mut String, depth: usize) {
        let indent = "  ".repeat(depth);
        text.push_str(&format!("{indent}{} {}\n", self.about, printable(&self.summary)));
        for cause in &self.causes {
            text.push_str(&format!("{indent}  {}\n", printable(cause)));
        }
        for other in &self.behind {
            other.write(text, depth + 1);
        }
    }
}

/// A condition: `Ready is False: Reason: message`, as far as they are given.
pub fn said(condition: &str, status: &str, why: [&str; 2]) -> String {
    let why: String = why.iter().filter(|part| !part.is_empty()).map(|part| format!(": {part}")).collect();
    format!("{condition} is {status}{why}")
}

/// `1 pod`, `3 pods`.
pub fn number<N: Into<i64>>(count: N, thing: &str) -> String {
    match count.into() {
        1 => format!("1 {thing}"),
        count => format!("{count} {thing}s"),
    }
}

/// What containers and others say, without what would move a terminal's cursor or begin a line.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_is_the_nearest_and_stands_once() {
        let mut inner = Account::unwell("waits").of("pod", Some("ns"), "a");
        inner.help = Some("create it".to_owned());
        let mut outer = Account::unwell("has 0 of 5 pods ready").of("deployment", Some("ns"), "web");
        outer.causes.push("said \u{1b}[2J\nby somebody".to_owned());
        let rest = (0..4).map(|_| Account::unwell("waits").of("pod", Some("ns"), "b"));
        outer.stand_behind([Account::well("runs"), inner].into_iter().chain(rest));
        assert_eq!(
            outer.text(),
            "deployment ns/web has 0 of 5 pods ready\n  said \\u{1b}[2J\\nby somebody\n  \
             2 more are in a like state\n  pod ns/a waits\n  pod ns/b waits\n  pod ns/b waits\n\
             What would help: create it.\n"
        );
    }
}
