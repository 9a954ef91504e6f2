//! Says of which commit the binary is built, for `/version`: what `KNARR_COMMIT` names (whoever builds from an archive
//! sets it), else the head of the repository. Nothing where there is neither.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=KNARR_COMMIT");
    let given = std::env::var("KNARR_COMMIT").ok();
    let commit = given.or_else(|| git(&["rev-parse", "HEAD"])).unwrap_or_default();
    // Only what is released is built anew for each commit.
    if std::env::var("PROFILE").as_deref() == Ok("release")
        && let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
    {
        println!("cargo:rerun-if-changed={log}");
    }
    println!("cargo:rustc-env=KNARR_COMMIT={commit}");
}

/// What git says; `None` where it says nothing, or is not there.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
