//! The user's editor, and the file that is edited in it.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use tempfile::NamedTempFile;

use crate::failure::{Failure, quoted};
use crate::kubeconfig::os_words;
use crate::output::err;

/// Longest text that is read back, in bytes.
const LONGEST_BYTES: u64 = 256 << 20;

/// A file that was edited; gone when dropped, unless it is kept.
pub struct File(NamedTempFile);

impl File {
    /// Writes a text into a file and opens it in the editor until that ends.
    ///
    /// # Errors
    /// When there is no file or no editor, or the editor fails.
    pub fn launched(text: &str, extension: &str) -> Result<Self, Failure> {
        let failed =
            |e: std::io::Error| Failure::message(format!("writing the file to edit: {}", os_words(&e)));
        let mut file =
            tempfile::Builder::new().prefix("kubectl-edit-").suffix(extension).tempfile().map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.flush()).map_err(failed)?;
        open(file.path())?;
        Ok(Self(file))
    }

    /// What is in the file now. Editors replace files, so that it is opened by its name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn text(&self) -> Result<String, Failure> {
        let path = self.0.path();
        let failed =
            |e: std::io::Error| Failure::message(format!("open {}: {}", path.display(), os_words(&e)));
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .map_err(failed)?
            .take(LONGEST_BYTES)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        String::from_utf8(bytes).map_err(|_| Failure::message("the edited file is not UTF-8"))
    }

    /// Leaves the file where it is; its path.
    pub fn keep(self) -> String {
        let path = self.0.path().display().to_string();
        match self.0.keep() {
            Ok(_) => path,
            Err(error) => format!("{path} ({})", os_words(&error.error)),
        }
    }

    /// Leaves the file where it is, says so, and returns the failure.
    pub fn kept(self, failure: Failure) -> Failure {
        err(&format!("A copy of your changes has been stored to {}\n", quoted(&self.keep())));
        failure
    }
}

fn open(file: &Path) -> Result<(), Failure> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let editor = variable("KUBE_EDITOR").or_else(|| variable("EDITOR")).unwrap_or_else(|| "vi".to_owned());
    let mut command = if editor.contains(['"', '\'', '\\']) {
        let shell = variable("SHELL").unwrap_or_else(|| "/bin/bash".to_owned());
        let mut command = Command::new(shell);
        command.arg("-c").arg(format!("{editor} {}", quoted(&file.display().to_string())));
        command
    } else {
        let mut words = editor.split(' ').filter(|word| !word.is_empty());
        let mut command = Command::new(words.next().unwrap_or("vi"));
        command.args(words).arg(file);
        command
    };
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Failure::message(format!("there was a problem with the editor {}", quoted(&editor)))),
        Err(_) => Err(Failure::message(format!("unable to launch the editor {}", quoted(&editor)))),
    }
}
