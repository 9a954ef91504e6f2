//! Plugins: programs on the path whose names begin with `kubectl-`, run as commands; and `plugin list`.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command as Program;

use super::Command;
use crate::failure::{Failure, quoted};
use crate::kubeconfig::os_words;
use crate::output::{err, out};
use crate::session::Session;

pub const COMMANDS: [Command; 1] = [Command {
    words: "plugin list",
    flags: &["name-only bool=false"],
    usage: "",
    about: "List all visible plugin executables on a user's PATH",
    run: list,
}];

const PREFIX: &str = "kubectl-";

fn folders() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = Vec::new();
    for folder in std::env::split_paths(&path).filter(|folder| !folder.as_os_str().is_empty()) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
}

fn is_executable(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// The first words of the plugins that can be run.
pub fn names() -> Vec<String> {
    let entries =
        folders().into_iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let files = entries.filter(|entry| is_executable(&entry.path()));
    let names = files.filter_map(|entry| entry.file_name().into_string().ok());
    let mut words: Vec<String> = names
        .filter_map(|name| Some(name.strip_prefix(PREFIX)?.split('-').next()?.replace('_', "-")))
        .collect();
    words.sort();
    words.dedup();
    words
}

/// Runs the plugin that has the longest beginning of `arguments` as its name, in place of this program. `None` where
/// there is none.
pub fn run(arguments: &[String]) -> Option<Failure> {
    let words: Vec<String> = arguments
        .iter()
        .take_while(|word| !word.starts_with('-'))
        .map(|word| word.replace('-', "_"))
        .collect();
    for count in (1..=words.len()).rev() {
        let name = format!("{PREFIX}{}", words[..count].join("-"));
        if name.contains('/') {
            continue;
        }
        let found = folders().into_iter().map(|folder| folder.join(&name)).find(|file| is_executable(file));
        if let Some(file) = found {
            let error = Program::new(&file).args(&arguments[count..]).exec();
            return Some(Failure::message(format!("fork/exec {}: {}", file.display(), os_words(&error))));
        }
    }
    None
}

fn list(session: &Session) -> Result<(), Failure> {
    let mut text = String::new();
    let (mut warnings, mut seen) = (0, Vec::<(String, PathBuf)>::new());
    for folder in folders() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries.flatten(),
            Err(error) => {
                let (shown, why) = (folder.display(), os_words(&error));
                let what = format!("Unable to read directory {} from your PATH", quoted(&shown.to_string()));
                err(&format!("{what}: open {shown}: {why}. Skipping...\n"));
                continue;
            }
        };
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.retain(|name| name.starts_with(PREFIX) && folder.join(name).is_file());
        names.sort();
        for name in names {
            let file = folder.join(&name);
            let shown =
                if session.flags.bool("name-only") { name.clone() } else { file.display().to_string() };
            if seen.is_empty() {
                text.push_str("The following compatible plugins are available:\n\n");
            }
            out(&(std::mem::take(&mut text) + &shown + "\n"))?;
            warnings += warned(&file, &name, &seen);
            seen.push((name, file));
        }
    }
    if seen.is_empty() {
        return Err(Failure::message("unable to find any kubectl plugins in your PATH"));
    }
    match warnings {
        0 => Ok(()),
        1 => Err(Failure::message("one plugin warning was found")),
        several => Err(Failure::message(format!("{several} plugin warnings were found"))),
    }
}

/// Says what keeps a plugin from being run; how many warnings that were.
fn warned(file: &Path, name: &str, seen: &[(String, PathBuf)]) -> usize {
    let mut warnings = Vec::new();
    let words = name[PREFIX.len()..].replace('-', " ");
    if super::named(&words).is_some() || super::is_group(&words) {
        warnings.push(format!("{name} overwrites existing command: {}", quoted(&format!("kubectl {words}"))));
    }
    if !is_executable(file) {
        let shown = file.display();
        warnings.push(format!("{shown} identified as a kubectl plugin, but it is not executable"));
    } else if let Some((_, first)) = seen.iter().find(|(known, _)| known == name) {
        let (shown, first) = (file.display(), first.display());
        warnings.push(format!("{shown} is overshadowed by a similarly named plugin: {first}"));
    }
    warnings.iter().for_each(|warning| err(&format!("  - warning: {warning}\n")));
    warnings.len()
}
