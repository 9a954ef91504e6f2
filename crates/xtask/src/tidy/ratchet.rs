//! Excess that is there already may shrink and never grow: `tidy/ratchet.txt`, one line an excess.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Finding;

const FILE: &str = "tidy/ratchet.txt";
const HEADER: &str = "# What exceeds a limit: RULE NAME AMOUNT. May only shrink; `cargo xtask tidy` lowers it by itself,\n\
                      # `cargo xtask tidy --accept-excess` records what is there now.\n";

/// Something beyond its limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excess {
    pub rule: &'static str,
    /// Without white space.
    pub name: String,
    pub amount: usize,
    pub limit: usize,
}

pub struct Ratchet {
    file: PathBuf,
    allowed: BTreeMap<(String, String), usize>,
}

impl Ratchet {
    pub fn read(root: &Path) -> Result<Self> {
        let file = root.join(FILE);
        let text = fs::read_to_string(&file).with_context(|| format!("reading {FILE}"))?;
        Ok(Self { allowed: parse(&text)?, file })
    }

    /// What is beyond what is allowed. Lowers what has shrunk in the file.
    pub fn compare(&self, excess: &[Excess], accept: bool) -> Result<Vec<Finding>> {
        let (next, findings) = turn(&self.allowed, excess, accept);
        if next != self.allowed {
            fs::write(&self.file, render(&next)).with_context(|| format!("writing {FILE}"))?;
            println!("tidy: {FILE} changed; it belongs into the commit");
        }
        Ok(findings)
    }
}

type Allowed = BTreeMap<(String, String), usize>;

fn turn(allowed: &Allowed, excess: &[Excess], accept: bool) -> (Allowed, Vec<Finding>) {
    let mut next = Allowed::new();
    let mut findings = Vec::new();
    for found in excess {
        let key = (found.rule.to_owned(), found.name.clone());
        let before = allowed.get(&key).copied();
        // Two functions of a name in a file share a line: the longer one counts.
        let amount = next.get(&key).copied().unwrap_or(0).max(found.amount);
        if accept || before.is_some_and(|before| found.amount <= before) {
            next.insert(key, amount);
            continue;
        }
        let limit = before.unwrap_or(found.limit);
        findings.push(Finding::new(
            &found.name,
            0,
            format!("{} of {}; at most {limit}", found.rule, found.amount),
        ));
        if let Some(before) = before {
            next.insert(key, before);
        }
    }
    (next, findings)
}

fn parse(text: &str) -> Result<Allowed> {
    let mut allowed = Allowed::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [rule, name, amount] = fields[..] else {
            anyhow::bail!("{FILE}: not RULE NAME AMOUNT: {line:?}")
        };
        allowed.insert((rule.to_owned(), name.to_owned()), amount.parse().with_context(|| line.to_owned())?);
    }
    Ok(allowed)
}

fn render(allowed: &Allowed) -> String {
    let mut text = HEADER.to_owned();
    for ((rule, name), amount) in allowed {
        let _ = writeln!(text, "{rule} {name} {amount}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(amount: usize) -> Excess {
        Excess { rule: "function", name: "a.rs::f".into(), amount, limit: 70 }
    }

    #[test]
    fn shrinks_and_never_grows() {
        let allowed = parse("function a.rs::f 90\n").unwrap();
        let (next, findings) = turn(&allowed, &[long(80)], false);
        assert_eq!((render(&next).ends_with("function a.rs::f 80\n"), findings), (true, vec![]));
        let (next, findings) = turn(&allowed, &[long(91)], false);
        assert_eq!(next, allowed);
        assert_eq!(findings, [Finding::new("a.rs::f", 0, "function of 91; at most 90")]);
        assert!(turn(&allowed, &[], false).0.is_empty());
    }

    #[test]
    fn new_excess_needs_a_decision() {
        assert_eq!(turn(&Allowed::new(), &[long(71)], false).1.len(), 1);
        assert_eq!(
            turn(&Allowed::new(), &[long(71), long(75)], true).0.into_values().collect::<Vec<_>>(),
            [75]
        );
    }
}
