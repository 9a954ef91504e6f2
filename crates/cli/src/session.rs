//! What a command works with: its flags and arguments, and, made when first asked for, the kubeconfig, the client and the
//! catalogue of kinds.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::time::Duration;

use base::clock::{Clock, SystemClock};
use jiff::Timestamp;

use crate::client::{Client, namespace_part};
use crate::discovery::{Catalogue, Resource, unknown};
use crate::failure::Failure;
use crate::flags::{Parsed, duration_ns};
use crate::kubeconfig::{Kubeconfig, Overrides, Settings, home};
use crate::past;

pub struct Session {
    /// The command's words (`config view`).
    pub command: String,
    pub flags: Parsed,
    settings: OnceCell<Settings>,
    client: OnceCell<Client>,
    catalogue: OnceCell<Catalogue>,
    asked_again: OnceCell<Catalogue>,
}

/// `own` are the flags that the command means otherwise.
struct Flags<'a> {
    parsed: &'a Parsed,
    own: &'static [&'static str],
}

impl Overrides for Flags<'_> {
    fn text(&self, name: &str) -> &str {
        if self.own.contains(&name) { "" } else { self.parsed.text(name) }
    }

    fn list(&self, name: &str) -> &[String] {
        self.parsed.list(name)
    }

    fn is_true(&self, name: &str) -> bool {
        self.parsed.bool(name)
    }
}

/// Fills `cell` if it is empty.
fn filled<T>(cell: &OnceCell<T>, make: impl FnOnce() -> Result<T, Failure>) -> Result<&T, Failure> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = make()?;
    Ok(cell.get_or_init(|| value))
}

impl Session {
    pub fn new(command: String, flags: Parsed) -> Self {
        let (settings, client) = (OnceCell::new(), OnceCell::new());
        Self { command, flags, settings, client, catalogue: OnceCell::new(), asked_again: OnceCell::new() }
    }

    pub fn arguments(&self) -> &[String] {
        &self.flags.arguments
    }

    pub fn usage(&self, text: &str) -> Failure {
        Failure::usage(&self.command, text)
    }

    pub fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    pub fn kubeconfig(&self) -> Result<Kubeconfig, Failure> {
        Kubeconfig::load(self.flags.text("kubeconfig"))
    }

    pub fn settings(&self) -> Result<&Settings, Failure> {
        // A binding's users are not the one who asks.
        let binds = self.command.ends_with("binding") || self.command == "set subject";
        let own: &[&str] = if binds { &["user"] } else { &[] };
        let flags = Flags { parsed: &self.flags, own };
        filled(&self.settings, || Settings::resolve(&self.kubeconfig()?, &flags))
    }

    pub fn namespace(&self) -> Result<&str, Failure> {
        let namespace = &self.settings()?.namespace;
        namespace_part(namespace)?;
        Ok(namespace)
    }

    pub fn client(&self) -> Result<&Client, Failure> {
        filled(&self.client, || Client::new(self.settings()?, self.timeout()?))
    }

    /// Where `--at` is given, has the client read objects as they were then. Returns the time that is looked at.
    ///
    /// # Errors
    /// When `--at` is no time of the past.
    pub fn look_at(&self) -> Result<Timestamp, Failure> {
        let (text, now) = (self.flags.text("at"), self.now());
        if text.is_empty() {
            return Ok(now);
        }
        let then = past::time(text, now)?;
        self.client()?.look_at(Some(then));
        Ok(then)
    }

    /// The client, if one was needed.
    pub fn client_if_made(&self) -> Option<&Client> {
        self.client.get()
    }

    fn timeout(&self) -> Result<Option<Duration>, Failure> {
        let text = self.flags.text("request-timeout");
        let seconds = text.parse::<u64>().ok().map(Duration::from_secs);
        let limit = seconds.or_else(|| {
            let ns = duration_ns(text)?;
            u64::try_from(ns).ok().map(Duration::from_nanos)
        });
        match limit {
            Some(limit) => Ok(Some(limit).filter(|limit| !limit.is_zero())),
            None => Err(Failure::message(
                "Invalid timeout value. Timeout must be a single integer in seconds, or an integer followed by a \
                 corresponding time unit (e.g. 1s | 2m | 3h)",
            )),
        }
    }

    pub fn cache_folder(&self) -> PathBuf {
        let asked = self.flags.text("cache-dir");
        if !asked.is_empty() {
            return asked.into();
        }
        match std::env::var_os("KUBECACHEDIR").filter(|folder| !folder.is_empty()) {
            Some(folder) => folder.into(),
            None => home().join(".kube/cache"),
        }
    }

    /// The kinds as they were known when last asked for.
    pub fn catalogue(&self) -> Result<&Catalogue, Failure> {
        filled(&self.catalogue, || Catalogue::load(self.client()?, &self.cache_folder()))
    }

    /// The kinds as the server has them now.
    pub fn fresh_catalogue(&self) -> Result<&Catalogue, Failure> {
        filled(&self.asked_again, || Catalogue::ask(self.client()?, &self.cache_folder()))
    }

    /// The kind that `word` means; the server is asked anew where none is known.
    pub fn resource(&self, word: &str) -> Result<Resource, Failure> {
        if let Some(found) = self.catalogue()?.resolve(word) {
            return Ok(found.clone());
        }
        self.fresh_catalogue()?.resolve(word).cloned().ok_or_else(|| unknown(word))
    }

    /// The kind of an object, if the server has it.
    pub fn of_kind(&self, api_version: &str, kind: &str) -> Result<Option<Resource>, Failure> {
        if let Some(found) = self.catalogue()?.of_kind(api_version, kind) {
            return Ok(Some(found.clone()));
        }
        Ok(self.fresh_catalogue()?.of_kind(api_version, kind).cloned())
    }
}
