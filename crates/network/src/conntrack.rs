//! The kernel's table of connections: reports that it is full. The kernel then drops the first packets of connections,
//! to Services and past them, and says so in its log alone.
//!
//! Start with [`Conntrack`]. Its figures have the names of Prometheus' node exporter.

use std::fs::{self, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use base::{Metrics, Shutdown};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use rustix::fs::OFlags;
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use crate::listening;

/// The kernel's log, a record a read (`Documentation/ABI/testing/dev-kmsg`).
const LOG: &str = "/dev/kmsg";
const SETTINGS: &str = "/proc/sys/net/netfilter";
/// The longest record that the kernel gives.
const RECORD_BYTES: usize = 8192;

/// Hears that the table is full, with the number of connections that it may hold.
pub trait Alarm: Send + Sync {
    /// Never waits. Called for each message of the kernel, which limits their number.
    fn full(&self, limit: i64);
}

/// Figures of the table.
#[derive(Debug, Clone, Default)]
struct Figures {
    entries: Gauge,
    limit: Gauge,
    drops: Counter<u64, AtomicU64>,
}

/// Follows the kernel's log.
pub struct Conntrack {
    log: AsyncFd<OwnedFd>,
    alarm: Arc<dyn Alarm>,
    figures: Figures,
}

impl Conntrack {
    /// Follows the log from now on. The figures are among `metrics` from then on.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn new(metrics: &Metrics, alarm: Arc<dyn Alarm>) -> io::Result<Self> {
        let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
        let mut log = OpenOptions::new().read(true).custom_flags(nonblocking).open(LOG)?;
        log.seek(SeekFrom::End(0))?;
        let figures = Figures::default();
        metrics.register(|registry| {
            let Figures { entries, limit, drops } = figures.clone();
            registry.register("node_nf_conntrack_entries", "Connections in the kernel's table", entries);
            registry.register(
                "node_nf_conntrack_entries_limit",
                "Connections that the kernel's table may hold",
                limit,
            );
            registry.register(
                "knarr_conntrack_full_messages",
                "Messages of the kernel that it drops packets because its table of connections is full",
                drops,
            );
        });
        let shown = figures.clone();
        metrics.before_render(move || {
            shown.entries.set(setting("nf_conntrack_count").unwrap_or(0));
            shown.limit.set(setting("nf_conntrack_max").unwrap_or(0));
        });
        Self::of(log.into(), alarm, figures)
    }

    fn of(log: OwnedFd, alarm: Arc<dyn Alarm>, figures: Figures) -> io::Result<Self> {
        Ok(Self { log: listening::watch(log)?, alarm, figures })
    }

    /// Works until `shutdown` starts, or the log ends.
    pub async fn run(self, shutdown: Shutdown) {
        tokio::select! {
            error = self.follow() => tracing::warn!(%error, "the kernel's log is no longer followed"),
            () = shutdown.started() => {}
        }
    }

    async fn follow(&self) -> io::Error {
        let mut record = [0; RECORD_BYTES];
        loop {
            let mut ready = match self.log.readable().await {
                Ok(ready) => ready,
                Err(error) => return error,
            };
            match rustix::io::read(ready.get_inner(), &mut record) {
                Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
                Ok(length) if is_full(&record[..length]) => {
                    self.figures.drops.inc();
                    self.alarm.full(setting("nf_conntrack_max").unwrap_or(0));
                }
                // Records that were written over before they were read are lost.
                Ok(_) | Err(Errno::PIPE | Errno::INTR) => {}
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(error) => return error.into(),
            }
        }
    }
}

fn setting(name: &str) -> Option<i64> {
    fs::read_to_string(Path::new(SETTINGS).join(name)).ok()?.trim().parse().ok()
}

/// Whether the record says that the table is full (kernel: `net/netfilter/nf_conntrack_core.c`): `nf_conntrack: table full,
/// dropping packet` and, of other network namespaces than the first, `nf_conntrack: table full in netns 4026532258: dropping
/// packet`. Before the message stand priority, number and time, up to a semicolon.
fn is_full(record: &[u8]) -> bool {
    let text = String::from_utf8_lossy(record);
    let Some((head, message)) = text.split_once(';') else { return false };
    // What programs have written has another facility than the kernel's, in the bits above the level.
    let is_kernels =
        head.split(',').next().and_then(|word| word.parse::<u32>().ok()).is_some_and(|word| word < 8);
    is_kernels && message.contains("nf_conntrack: table full") && message.contains("dropping packet")
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn the_kernels_words_are_known() {
        for full in [
            "4,1021,5140900,-;nf_conntrack: table full, dropping packet\n",
            "4,1021,5140900,-;nf_conntrack: nf_conntrack: table full, dropping packet\n SUBSYSTEM=net\n",
            "4,339,5140900,-,caller=T12;nf_conntrack: table full in netns 4026532258: dropping packet\n",
        ] {
            assert!(is_full(full.as_bytes()), "{full}");
        }
        for other in [
            "12,339,5140900,-;nf_conntrack: table full, dropping packet\n",
            "6,339,5140900,-;eth0: link up\n",
            "nf_conntrack: table full, dropping packet",
            "",
        ] {
            assert!(!is_full(other.as_bytes()), "{other}");
        }
    }

    #[derive(Default)]
    struct Heard(Mutex<u32>, tokio::sync::Notify);

    impl Alarm for Heard {
        fn full(&self, _: i64) {
            *self.0.lock().expect("unpoisoned") += 1;
            self.1.notify_one();
        }
    }

    #[tokio::test]
    async fn each_message_of_a_full_table_is_told() {
        use std::io::Write;
        let (log, kernel) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).expect("a pipe");
        let (mut kernel, heard, figures) =
            (std::fs::File::from(kernel), Arc::new(Heard::default()), Figures::default());
        let conntrack = Conntrack::of(log, heard.clone(), figures.clone()).expect("followed");
        let shutdown = Shutdown::new();
        let work = async {
            for (record, told) in
                [("6,1,1,-;other\n", 0), ("4,2,1,-;nf_conntrack: table full, dropping packet\n", 1)]
            {
                kernel.write_all(record.as_bytes()).expect("written");
                if told > 0 {
                    heard.1.notified().await;
                }
                assert_eq!(*heard.0.lock().expect("unpoisoned"), told);
            }
            shutdown.start();
        };
        tokio::join!(conntrack.run(shutdown.clone()), work);
        assert_eq!(figures.drops.get(), 1);
    }
}
