//! A build's directory on the node, and the work of the build that goes on in it.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::sink::{Attributes, Sink, What};

/// Removed with its last owner: the build, or a job of it that is still about to notice that the build is over.
pub struct Files {
    pub dir: PathBuf,
    over: AtomicBool,
}

impl Files {
    pub fn new(dir: PathBuf) -> Arc<Self> {
        Arc::new(Self { dir, over: AtomicBool::new(false) })
    }

    /// Has all jobs fail.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Ends the jobs when the answer is dropped.
    pub fn ending(self: &Arc<Self>) -> Ending {
        Ending(Arc::clone(self))
    }

    /// A reader, writer or sink that fails once the build is over.
    pub fn until_over<T>(&self, inner: T) -> UntilOver<'_, T> {
        UntilOver { inner, files: self }
    }

    fn check(&self) -> io::Result<()> {
        if self.over.load(Ordering::Relaxed) { Err(io::Error::other("the build is over")) } else { Ok(()) }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        match base::remove_tree(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.dir.display(), %error, "a build's files stay until the next start");
            }
            _ => {}
        }
    }
}

pub struct Ending(Arc<Files>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}

pub struct UntilOver<'a, T> {
    inner: T,
    files: &'a Files,
}

impl<T: Read> Read for UntilOver<'_, T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.files.check()?;
        self.inner.read(buf)
    }
}

impl<T: Write> Write for UntilOver<'_, T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.files.check()?;
        self.inner.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Sink for UntilOver<'_, &mut dyn Sink> {
    fn file(
        &mut self,
        path: &Path,
        what: What<'_>,
        attributes: &Attributes,
        content: &mut dyn Read,
    ) -> io::Result<()> {
        self.files.check()?;
        self.inner.file(path, what, attributes, &mut self.files.until_over(content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_end_with_the_build_and_the_directory_with_the_last_of_them() {
        let dir = tempfile::tempdir().expect("a folder");
        let files = Files::new(dir.path().join("build"));
        std::fs::create_dir_all(files.dir.join("context")).expect("folders");
        let (job, ending) = (Arc::clone(&files), files.ending());
        let mut zeroes = job.until_over(io::repeat(0));
        let mut out = job.until_over(io::sink());
        zeroes.read_exact(&mut [0; 8]).and_then(|()| out.write_all(b"x")).expect("the build goes on");
        drop(ending);
        assert!(zeroes.read(&mut [0; 8]).is_err() && out.write(b"x").is_err());
        let path = files.dir.clone();
        drop(files);
        assert!(path.exists(), "a job is in it");
        drop(job);
        assert!(!path.exists());
    }
}
