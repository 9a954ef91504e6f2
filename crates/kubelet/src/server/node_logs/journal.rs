//! Logs of services: by `journalctl` where it knows them, else by files that are called after them.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use http::{Response, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::request::{Options, Query};
use crate::server::answer::{self, Body};

/// Upstream's limit of one query.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most that one query gives; who wants more asks for less at a time.
const MAX_BYTES: u64 = 64 << 20;
const JOURNALCTL: &str = "journalctl";

pub async fn answer(folder: &Path, query: &Query) -> Response<Body> {
    let text = match tokio::time::timeout(PATIENCE, collect(folder, query)).await {
        Ok(text) => text,
        Err(_) => b"\ncontext error: context deadline exceeded\n".to_vec(),
    };
    answer::with_type(StatusCode::OK, "text/plain;charset=UTF-8", text)
}

async fn collect(folder: &Path, query: &Query) -> Vec<u8> {
    let units = known_units().await;
    let is_known = |service: &&String| units.lines().any(|unit| unit == format!("{service}.service"));
    let (native, files): (Vec<&String>, Vec<&String>) = query.services.iter().partition(is_known);
    let mut out = Vec::new();
    if !native.is_empty() {
        match output(&arguments(&native, &query.options)).await {
            Ok(text) => out.extend(text),
            Err(error) => {
                tracing::warn!(%error, "the journal cannot be read");
                out.extend(b"\nerror: journal output not available\n");
            }
        }
    }
    if files.is_empty() {
        return out;
    }
    if query.options != Options::default() {
        let names: Vec<&str> = files.iter().map(|name| name.as_str()).collect();
        let text = format!(
            "\noptions present and query resolved to log files for [{}]\ntry without specifying options\n",
            names.join(" ")
        );
        out.extend(text.into_bytes());
        return out;
    }
    for service in files {
        out.extend(of_file(folder, service).await);
    }
    out.truncate(usize::try_from(MAX_BYTES).unwrap_or(usize::MAX));
    out
}

/// The units of the journal, a line each; none where there is no journal.
async fn known_units() -> String {
    let units = output(&["--field".to_owned(), "_SYSTEMD_UNIT".to_owned()]).await;
    units.map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
}

fn arguments(services: &[&String], options: &Options) -> Vec<String> {
    let mut all: Vec<String> = ["--utc", "--no-pager", "--output=short-precise"].map(str::to_owned).into();
    // In the journal's own form, in UTC as `--utc` has it.
    let time = |at: jiff::Timestamp| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    all.extend(options.since.map(|at| format!("--since={}", time(at))));
    all.extend(options.until.map(|at| format!("--until={}", time(at))));
    if let Some(lines) = options.tail_lines {
        all.extend(["--pager-end".to_owned(), format!("--lines={lines}")]);
    }
    all.extend(services.iter().map(|service| format!("--unit={service}")));
    if !options.pattern.is_empty() {
        all.extend([format!("--grep={}", options.pattern), "--case-sensitive=false".to_owned()]);
    }
    all.extend(options.boot.map(|boot| format!("--boot={boot}")));
    all
}

/// What the command says, errors included; it is ended where nobody waits any more.
async fn output(arguments: &[String]) -> io::Result<Vec<u8>> {
    let mut child = Command::new(JOURNALCTL)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (said, complained) = (child.stdout.take(), child.stderr.take());
    let (mut text, errors) = tokio::try_join!(bounded(said), bounded(complained))?;
    child.kill().await?;
    text.extend(errors);
    Ok(text)
}

async fn bounded(from: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    if let Some(from) = from {
        from.take(MAX_BYTES).read_to_end(&mut text).await?;
    }
    Ok(text)
}

/// The first of the files that may be a service's log.
async fn of_file(folder: &Path, service: &str) -> Vec<u8> {
    let names = [service.to_owned(), format!("{service}.log"), format!("{service}/{service}.log")];
    let (root, lost) = (folder.to_owned(), format!("\nlog not found for {service}\n"));
    let read = tokio::task::spawn_blocking(move || {
        use std::io::Read;
        let open = |name: &String| super::open(&root, Path::new(name)).ok();
        let mut found = names.iter().filter_map(open).filter(|f| f.metadata().is_ok_and(|m| m.is_file()));
        let mut text = Vec::new();
        match found.next() {
            Some(file) => file.take(MAX_BYTES).read_to_end(&mut text).map(|_| Some(text)),
            None => Ok(None),
        }
    });
    match read.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
        Ok(text) => text.unwrap_or_else(|| lost.into_bytes()),
        Err(error) => format!("\nerror getting log for {service}: {error}\n").into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_asked_as_upstream_asks() {
        let options = Options {
            since: Some("2026-01-02T03:04:05Z".parse().expect("a time")),
            tail_lines: Some(3),
            boot: Some(-1),
            pattern: "-x".into(),
            ..Options::default()
        };
        assert_eq!(
            arguments(&[&"a".to_owned(), &"b".to_owned()], &options),
            [
                "--utc",
                "--no-pager",
                "--output=short-precise",
                "--since=2026-01-02 03:04:05 UTC",
                "--pager-end",
                "--lines=3",
                "--unit=a",
                "--unit=b",
                "--grep=-x",
                "--case-sensitive=false",
                "--boot=-1",
            ]
        );
    }

    #[tokio::test]
    async fn a_service_without_a_journal_has_a_file() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join("svc-of-a-test")).expect("made");
        std::fs::write(dir.path().join("svc-of-a-test/svc-of-a-test.log"), "line\n").expect("written");
        let query = |services: &[&str], options: Options| Query {
            services: services.iter().map(|name| (*name).to_owned()).collect(),
            options,
            ..Query::default()
        };
        let text =
            collect(dir.path(), &query(&["svc-of-a-test", "none-of-a-test"], Options::default())).await;
        assert_eq!(String::from_utf8_lossy(&text), "line\n\nlog not found for none-of-a-test\n");
        let some = Options { tail_lines: Some(1), ..Options::default() };
        let text = collect(dir.path(), &query(&["svc-of-a-test"], some)).await;
        assert!(String::from_utf8_lossy(&text).contains("try without specifying options"));
    }
}
