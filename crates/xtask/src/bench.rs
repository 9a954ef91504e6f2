//! `cargo xtask bench`: builds knarr and the `bench` crate for release and lets it measure.

use std::process::Command;

use anyhow::{Context, Result, bail};

/// Measures; `arguments` go to the `bench` program.
///
/// # Errors
/// When something does not build, or cannot be measured.
pub fn run(arguments: &[String]) -> Result<()> {
    let cargo = env!("CARGO");
    let build: &[&str] = &["build", "--release", "--locked", "-p", "knarr", "-p", "bench", "-p", "xtask"];
    call(Command::new(cargo).args(build))?;
    call(Command::new("target/release/xtask").args(["images", "--out", "target/images"]))?;
    let mut bench = Command::new("target/release/bench");
    call(bench.args(["--document", "docs/benchmarks.md"]).args(arguments))
}

fn call(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_owned();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let status =
        command.current_dir(root).status().with_context(|| format!("running {}", program.display()))?;
    if !status.success() {
        bail!("{} failed", program.display());
    }
    Ok(())
}
