//! The audit log: a file with an event a line, replaced by a new one when it is large.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base::{Clock, Shutdown, Supervisor, TaskKind};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::figures::Figures;
use super::{AuditError, Sink};

/// Events that may wait to be written; what comes beyond is lost, and that is said in the server's log.
const WAITING_LINES: usize = 16_384;
/// Lines written in one go.
const BATCH: usize = 512;
/// After the stop has begun, the log ends once nothing has come for so long.
const LAST_WORDS: Duration = Duration::from_millis(500);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Where the log is and how large it gets.
#[derive(Debug, Clone)]
pub struct FileSettings {
    /// `-` is the process's standard output, which is never replaced.
    pub path: PathBuf,
    pub rotation: Rotation,
}

/// When a log is put aside and how long those are kept. Upstream's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// A log that would get larger, in bytes, is put aside.
    pub max_bytes: u64,
    /// Older logs are removed, in days; 0 keeps them.
    pub max_age_days: u32,
    /// Of more logs the oldest are removed; 0 keeps them all.
    pub max_backups: usize,
    /// Whether logs that are put aside are compressed (gzip).
    pub compress: bool,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { max_bytes: 100 << 20, max_age_days: 0, max_backups: 0, compress: false }
    }
}

/// Appends to a file, which is made readable by its owner alone; written by a task of the supervisor's.
pub(super) async fn open(
    settings: FileSettings,
    clock: &Arc<dyn Clock>,
    figures: &Figures,
    supervisor: &Supervisor,
) -> Result<Sink, AuditError> {
    let (sender, lines) = mpsc::channel(WAITING_LINES);
    let path = settings.path.display().to_string();
    let log = Log::open(settings, Arc::clone(clock)).await;
    let log = log.map_err(|source| AuditError::File { path, source })?;
    let (shutdown, figures) = (supervisor.shutdown().clone(), figures.clone());
    supervisor.spawn(TaskKind::Background, "audit log", write(log, lines, figures, shutdown));
    Ok(Sink { name: "log", events: sender })
}

/// Writes until the stop, and then what the last requests leave, which are answered for a while yet.
async fn write(mut log: Log, mut lines: mpsc::Receiver<Bytes>, figures: Figures, shutdown: Shutdown) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let count = tokio::select! {
            biased;
            count = lines.recv_many(&mut batch, BATCH) => count,
            () = last_words(&shutdown) => 0,
        };
        if count == 0 {
            return;
        }
        if let Err(error) = log.append(&batch).await {
            figures.lost("log", count as u64);
            tracing::error!(%error, events = count, "the audit log cannot be written");
        }
        batch.clear();
    }
}

/// Resolves once the stop has begun and nothing may come any more.
pub(super) async fn last_words(shutdown: &Shutdown) {
    shutdown.started().await;
    tokio::time::sleep(LAST_WORDS).await;
}

struct Log {
    settings: FileSettings,
    clock: Arc<dyn Clock>,
    out: Out,
    /// Compresses and removes what was put aside.
    caring: Option<tokio::task::JoinHandle<()>>,
}

enum Out {
    Terminal(tokio::io::Stdout),
    File { file: tokio::fs::File, bytes: u64 },
}

impl Log {
    async fn open(settings: FileSettings, clock: Arc<dyn Clock>) -> std::io::Result<Self> {
        let out = match settings.path.as_os_str() == "-" {
            true => Out::Terminal(tokio::io::stdout()),
            false => opened(&settings.path).await?,
        };
        Ok(Self { settings, clock, out, caring: None })
    }

    async fn append(&mut self, lines: &[Bytes]) -> std::io::Result<()> {
        let mut text = Vec::with_capacity(lines.iter().map(|line| line.len() + 1).sum());
        for line in lines {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        let max = self.settings.rotation.max_bytes;
        let full =
            matches!(&self.out, Out::File { bytes, .. } if *bytes > 0 && *bytes + text.len() as u64 > max);
        if full && let Err(error) = self.put_aside().await {
            // The open file goes on; it is tried again after as much as the limit.
            tracing::error!(%error, "the audit log cannot be put aside");
            if let Out::File { bytes, .. } = &mut self.out {
                *bytes = 0;
            }
        }
        match &mut self.out {
            Out::Terminal(terminal) => {
                terminal.write_all(&text).await?;
                terminal.flush().await
            }
            Out::File { file, bytes } => {
                file.write_all(&text).await?;
                *bytes += text.len() as u64;
                file.flush().await
            }
        }
    }

    /// Renames the log by the time and begins a new one.
    async fn put_aside(&mut self) -> std::io::Result<()> {
        let path = self.settings.path.clone();
        let (rotation, now) = (self.settings.rotation.clone(), self.clock.now());
        let aside = backup(&path, now);
        tokio::fs::rename(&path, &aside).await?;
        match opened(&path).await {
            Ok(out) => self.out = out,
            Err(error) => {
                tokio::fs::rename(&aside, &path).await?;
                return Err(error);
            }
        }
        // Beside the writing, and one after the other.
        let last = self.caring.take();
        self.caring = Some(tokio::task::spawn_blocking(move || {
            if let Some(last) = last {
                tokio::runtime::Handle::current().block_on(last).unwrap_or_default();
            }
            let compressed = if rotation.compress { compress(&aside) } else { Ok(()) };
            if let Err(error) = compressed.and_then(|()| clean(&path, &rotation, now)) {
                tracing::error!(%error, "audit logs that were put aside cannot be cared for");
            }
        }));
        Ok(())
    }
}

async fn opened(path: &Path) -> std::io::Result<Out> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let mut builder = tokio::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(folder).await?;
    }
    let mut options = tokio::fs::OpenOptions::new();
    let file = options.append(true).create(true).mode(0o600).open(path).await?;
    let bytes = file.metadata().await?.len();
    Ok(Out::File { file, bytes })
}

/// `audit.log` put aside is `audit-2026-01-02T03-04-05.678.log`.
fn backup(path: &Path, now: jiff::Timestamp) -> PathBuf {
    let (stem, extension) = parts(path);
    let at = now.strftime("%Y-%m-%dT%H-%M-%S.%3f");
    path.with_file_name(format!("{stem}-{at}{extension}"))
}

fn parts(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let extension = text(path.extension());
    (text(path.file_stem()), if extension.is_empty() { extension } else { format!(".{extension}") })
}

fn compress(path: &Path) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    let mut options = std::fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let out = options.write(true).create(true).truncate(true).open(&name)?;
    let mut encoder = GzEncoder::new(out, Compression::default());
    std::io::copy(&mut std::fs::File::open(path)?, &mut encoder)?;
    encoder.finish()?.sync_all()?;
    std::fs::remove_file(path)
}

/// Removes logs that were put aside and are too many or too old.
fn clean(path: &Path, rotation: &Rotation, now: jiff::Timestamp) -> std::io::Result<()> {
    let (stem, extension) = parts(path);
    let start = format!("{stem}-");
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let rest = name.strip_prefix(&start).map(|rest| rest.strip_suffix(".gz").unwrap_or(rest));
        if let Some(at) = rest.and_then(|rest| rest.strip_suffix(&extension)).and_then(put_aside_at) {
            kept.push((at, entry.path()));
        }
    }
    kept.sort_by(|a, b| b.cmp(a));
    let oldest = now.saturating_sub(DAY * rotation.max_age_days).unwrap_or(jiff::Timestamp::MIN);
    for (place, (at, path)) in kept.into_iter().enumerate() {
        let too_many = rotation.max_backups > 0 && place >= rotation.max_backups;
        if too_many || (rotation.max_age_days > 0 && at < oldest) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The time in the name of a log that was put aside; files with other names are somebody else's.
fn put_aside_at(text: &str) -> Option<jiff::Timestamp> {
    let at = jiff::civil::DateTime::strptime("%Y-%m-%dT%H-%M-%S.%f", text).ok()?;
    Some(at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use base::ManualClock;

    use super::*;

    fn lines(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).expect("a log");
        text.lines().map(str::to_owned).collect()
    }

    fn settings(dir: &Path, rotation: Rotation) -> FileSettings {
        FileSettings { path: dir.join("audit.log"), rotation }
    }

    #[tokio::test]
    async fn events_are_lines_of_a_private_file_until_the_last_words() {
        let dir = tempfile::tempdir().expect("a folder");
        let supervisor = Supervisor::new(Shutdown::new());
        let clock: Arc<dyn Clock> = Arc::new(base::SystemClock);
        let settings = settings(dir.path(), Rotation::default());
        let path = settings.path.clone();
        let sink = open(settings, &clock, &Figures::default(), &supervisor).await.expect("a file");
        let record =
            |line: &'static str| sink.events.try_send(Bytes::from_static(line.as_bytes())).expect("room");
        record("{\"n\":1}");
        // Requests are answered for a while after the stop has begun.
        supervisor.shutdown().start();
        record("{\"n\":2}");
        supervisor.drain(Duration::from_secs(5)).await;
        assert_eq!(lines(&path), ["{\"n\":1}", "{\"n\":2}"]);
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).expect("a file"));
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn large_logs_are_put_aside_and_old_ones_removed() {
        let dir = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::new(jiff::Timestamp::from_second(1_767_323_045).expect("a time")));
        let rotation = Rotation { max_bytes: 10, max_backups: 2, compress: true, ..Rotation::default() };
        let settings = settings(dir.path(), rotation);
        std::fs::write(dir.path().join("audit-notes.log"), "mine").expect("a file");
        let mut log = Log::open(settings.clone(), clock.clone()).await.expect("a file");
        for line in ["first", "second", "third", "fourth"] {
            log.append(&[Bytes::from_static(line.as_bytes())]).await.expect("a write");
            clock.advance(jiff::SignedDuration::from_secs(1));
        }
        log.caring.take().expect("cared for").await.expect("no panic");
        assert_eq!(lines(&settings.path), ["fourth"]);
        let mut names: Vec<_> = std::fs::read_dir(dir.path())
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
            .collect();
        names.sort();
        assert_eq!(
            names,
            [
                "audit-2026-01-02T03-04-07.000.log.gz",
                "audit-2026-01-02T03-04-08.000.log.gz",
                "audit-notes.log",
                "audit.log"
            ]
        );
        clock.advance(jiff::SignedDuration::from_hours(72));
        let aged = Rotation { max_age_days: 2, ..settings.rotation };
        clean(&settings.path, &aged, clock.now()).expect("cleaned");
        assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 2);
    }
}
