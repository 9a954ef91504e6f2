//! Standard output and standard error. A reader who has gone away ends nothing.

use std::io::Write;

/// Writes to standard error.
pub fn err(text: &str) {
    // Not `eprint!`, which panics where standard error is a file on a full disk.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Writes to standard output.
///
/// # Errors
/// When it cannot be written, a full disk for example.
pub fn out(text: &str) -> Result<(), crate::failure::Failure> {
    bytes(text.as_bytes())
}

/// As [`out`].
///
/// # Errors
/// As [`out`].
pub fn bytes(bytes: &[u8]) -> Result<(), crate::failure::Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(crate::failure::Failure::message(format!("write /dev/stdout: {error}")))
        }
        Err(_) => Err(crate::failure::Failure::Exit(1)),
        Ok(()) => Ok(()),
    }
}
