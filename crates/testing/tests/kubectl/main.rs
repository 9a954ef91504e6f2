//! `knarr kubectl` beside the stock kubectl: both run the same lines, each against a control plane of its own, and must
//! print the same and end the same.
//!
//! A line of `lines/*.txt` is a case, in order, since lines build on one another. What cannot be the same from run to run
//! (ages, times, versions, identifiers, ports) is masked. Behind `#differs:` stands why a line may differ; such a line
//! must differ, so that none stays on the list that no longer does. `KNARR_LINES` picks files by a part of their name.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};
use regex::Regex;
use testing::{Cluster, Fixtures, Shell, Spoken, Transcript};

const DIFFERS: &str = "#differs:";

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kubectl").join(name)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        files.push(entry?.path());
    }
    files.sort();
    Ok(files)
}

/// A terminal with the manifests in its folder.
fn terminal(cluster: &Cluster, kubectl: &Path) -> Result<Shell> {
    let shell = cluster.shell(kubectl, &Transcript::default())?;
    for file in files(&folder("manifests"))? {
        let name = file.file_name().and_then(|name| name.to_str()).context("a file's name")?;
        shell.file(name, &fs::read_to_string(&file)?);
    }
    Ok(shell)
}

/// Takes out of a text what differs from run to run.
struct Masks(Vec<(Regex, &'static str)>);

impl Masks {
    fn new() -> Self {
        let mask = |pattern: &str, shown| (Regex::new(pattern).expect("a pattern"), shown);
        Self(vec![
            // What client-go logs beside the command's own words.
            mask(r"(?m)^[EWI]\d{4} [0-9:.]+ +\d+ .*\n", ""),
            mask(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
            // What programs call their files, and when they wrote them.
            mask(r"(LIVE|MERGED|kubectl-edit)-[0-9A-Za-z]+", "${1}-FILE"),
            mask(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ [+-]\d{4}", "TIME"),
            mask(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"),
            mask(r#"(resourceVersion"?: ")\d+"#, "${1}VERSION"),
            mask(r"\b10(\.\d+){3}\b *", "ADDRESS "),
            // The column is as wide as the longest address.
            mask(r"CLUSTER-IP +", "CLUSTER-IP "),
            mask(r"127\.0\.0\.1:\d+", "SERVER"),
            mask(r"knarr-[0-9a-z]+(-kc[so](-[0-9a-z]+)?)?", "CLUSTER"),
            mask(r"terminal-[0-9A-Za-z]+", "TERMINAL"),
            // The pods of the Job `j`.
            mask(r"\bj-[a-z0-9]{5}\b", "j-POD"),
            mask(r"(LS0t|DATA)[A-Za-z0-9+/=]{40,}", "DATA"),
            mask(r"\b\d+(d|h|m|s)(\d+(h|m|s))?\b *", "AGE "),
        ])
    }

    fn applied(&self, text: &str) -> String {
        self.0
            .iter()
            .fold(text.to_owned(), |text, (pattern, shown)| pattern.replace_all(&text, *shown).into_owned())
    }

    fn of(&self, spoken: &Spoken) -> String {
        let (out, err) = (self.applied(&spoken.out), self.applied(&spoken.err));
        format!("[exit code {}]\n--- stdout\n{out}--- stderr\n{err}", spoken.code)
    }
}

/// The lines of the files that are picked.
fn lines() -> Result<Vec<String>> {
    let picked = std::env::var("KNARR_LINES").unwrap_or_default();
    let mut lines = Vec::new();
    for file in files(&folder("lines"))? {
        if file.to_string_lossy().contains(&picked) {
            let text = fs::read_to_string(&file)?;
            let cases = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("# "));
            lines.extend(cases.map(str::to_owned));
        }
    }
    Ok(lines)
}

#[test]
fn both_kubectls_say_the_same() -> Result<()> {
    let fixtures = Fixtures::find()?;
    let (stock, ours) =
        (Cluster::start(&fixtures, "kcs", 0, None)?, Cluster::start(&fixtures, "kco", 0, None)?);
    let theirs = terminal(&stock, &fixtures.tools.join("kubectl-1.35"))?;
    let own = terminal(&ours, &fixtures.knarr)?;
    let (masks, lines) = (Masks::new(), lines()?);
    let mut wrong = Vec::new();
    for case in &lines {
        let (line, reason) = case.split_once(DIFFERS).unwrap_or((case.as_str(), ""));
        let (expected, got) = thread::scope(|scope| {
            let expected = scope.spawn(|| theirs.run(line));
            let got = own.run(line);
            (expected.join().expect("a line's thread"), got)
        });
        let (expected, got) = (masks.of(&expected), masks.of(&got));
        match (expected == got, reason.is_empty()) {
            (false, true) => wrong.push(format!("$ {line}\nstock {expected}\nours {got}")),
            (true, false) => wrong.push(format!("$ {line}\nno longer differs:{reason}")),
            _ => {}
        }
    }
    assert!(!lines.is_empty(), "no lines to compare");
    assert!(wrong.is_empty(), "{} of {} lines:\n\n{}", wrong.len(), lines.len(), wrong.join("\n\n"));
    stock.take_down()?;
    ours.take_down()
}
