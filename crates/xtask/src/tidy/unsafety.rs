//! Unsafe code only in the files of `tidy/unsafe.txt`. The compiler denies it everywhere else, as long as every crate
//! takes the workspace's lints and no other file lifts them.

use std::collections::BTreeSet;

use anyhow::Result;

use super::Finding;
use super::tree::Tree;

const FILE: &str = "tidy/unsafe.txt";
/// The lint, as attributes name it.
const LINT: &str = concat!("unsafe", "_code");

/// Crates without the workspace's lints, files that lift the lint unasked, and lines of the table without need.
///
/// # Errors
/// When the table is missing.
pub fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let mut unused: BTreeSet<&str> = tree.table(FILE)?.into_iter().map(|(_, line)| line).collect();
    let allowed = unused.clone();
    let mut findings = Vec::new();
    for file in tree.files() {
        if file.path.starts_with("crates/") && file.path.ends_with("/Cargo.toml") && !takes_lints(&file.text)
        {
            findings.push(Finding::new(&file.path, 0, "the crate does not take the workspace's lints"));
        }
        if !file.is_rust() {
            continue;
        }
        for (index, _) in file.text.lines().enumerate().filter(|(_, line)| lifts(line)) {
            unused.remove(file.path.as_str());
            if !allowed.contains(file.path.as_str()) {
                let what = format!("unsafe code in a file that does not stand in {FILE}");
                findings.push(Finding::new(&file.path, index + 1, what));
            }
        }
    }
    findings.extend(unused.into_iter().map(|path| Finding::new(FILE, 0, format!("{path} needs no line"))));
    Ok(findings)
}

fn takes_lints(manifest: &str) -> bool {
    manifest.lines().skip_while(|line| line.trim() != "[lints]").nth(1).map(str::trim)
        == Some("workspace = true")
}

fn lifts(line: &str) -> bool {
    let line = line.trim_start();
    // Alone on its line where the attribute is too long for one.
    (line.starts_with('#') && line.contains(LINT)) || line.strip_suffix(',') == Some(LINT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lints_are_taken_and_lifted() {
        assert!(takes_lints("[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n"));
        assert!(!takes_lints("[package]\nname = \"a\"\n\n[lints.rust]\ndead_code = \"allow\"\n"));
        assert!(lifts(&format!("#![expect({LINT}, reason = \"…\")]")));
        assert!(lifts(&format!("    {LINT},")));
        assert!(!lifts("// about #![expect]"));
    }
}
