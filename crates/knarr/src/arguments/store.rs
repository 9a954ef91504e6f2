//! Where a cluster's objects are kept: as flags, those of etcd under upstream's names, and as keys below `store` in the
//! settings file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use etcd::{Config, Endpoint, TlsFiles};
use serde::{Deserialize, Serialize};

/// Upstream's default, below which all its keys are.
const PREFIX: &str = "/registry";

/// A TiB.
const HISTORY_MIB_MAX: i64 = 1 << 20;

/// What keeps the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Backend {
    /// A file in the data directory
    Embedded,
    /// An etcd (v3) that several servers may share
    Etcd,
}

/// What of the store can be set. `etcdCafile` in the settings file is `--etcd-cafile`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[command(next_help_heading = "Store")]
pub struct StoreFlags {
    /// What keeps the cluster's objects [default: as before; embedded at first, or etcd where --etcd-servers is given]
    #[arg(long = "store", value_name = "STORE")]
    pub backend: Option<Backend>,
    /// The addresses of etcd's members for clients, as https://10.0.0.1:2379
    #[arg(long, value_name = "URL,...", value_delimiter = ',')]
    pub etcd_servers: Vec<String>,
    /// The CA that signs etcd's certificates [default: those that the machine trusts]
    #[arg(long, value_name = "FILE")]
    pub etcd_cafile: Option<PathBuf>,
    /// The certificate that is shown to etcd
    #[arg(long, value_name = "FILE")]
    pub etcd_certfile: Option<PathBuf>,
    /// The key of that certificate
    #[arg(long, value_name = "FILE")]
    pub etcd_keyfile: Option<PathBuf>,
    /// Below which all keys in etcd are [default: /registry]
    #[arg(long, value_name = "PREFIX")]
    pub etcd_prefix: Option<String>,
    /// How much of the embedded store's past is kept, in MiB; the last five minutes are kept in any case [default: 32]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=HISTORY_MIB_MAX))]
    pub history_mib: Option<u32>,
}

/// Which store is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    Embedded,
    Etcd(EtcdSettings),
}

/// How an etcd is reached, as a cluster remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EtcdSettings {
    pub servers: Vec<String>,
    pub cafile: Option<PathBuf>,
    pub certfile: Option<PathBuf>,
    pub keyfile: Option<PathBuf>,
    pub prefix: String,
}

impl StoreFlags {
    /// These, and where they say nothing, what the file says.
    pub fn over(&self, file: &Self) -> Self {
        let path = |own: &Option<PathBuf>, other: &Option<PathBuf>| own.clone().or_else(|| other.clone());
        let servers = if self.etcd_servers.is_empty() { &file.etcd_servers } else { &self.etcd_servers };
        Self {
            backend: self.backend.or(file.backend),
            etcd_servers: servers.clone(),
            etcd_cafile: path(&self.etcd_cafile, &file.etcd_cafile),
            etcd_certfile: path(&self.etcd_certfile, &file.etcd_certfile),
            etcd_keyfile: path(&self.etcd_keyfile, &file.etcd_keyfile),
            etcd_prefix: self.etcd_prefix.clone().or_else(|| file.etcd_prefix.clone()),
            history_mib: self.history_mib.or(file.history_mib),
        }
    }

    /// How much of the past is to be kept, in bytes, where that is said.
    ///
    /// # Errors
    /// When it is not within the limits.
    pub fn history_bytes(&self) -> Result<Option<u64>> {
        match self.history_mib {
            Some(mib) if !(1..=HISTORY_MIB_MAX).contains(&i64::from(mib)) => {
                bail!("historyMib: must be between 1 and {HISTORY_MIB_MAX}")
            }
            mib => Ok(mib.map(|mib| u64::from(mib) << 20)),
        }
    }

    /// The store that is wanted; `None` where nothing is said of it.
    ///
    /// # Errors
    /// When what is said does not fit together.
    pub fn choice(&self) -> Result<Option<Choice>> {
        let more = self.etcd_cafile.is_some()
            || self.etcd_certfile.is_some()
            || self.etcd_keyfile.is_some()
            || self.etcd_prefix.is_some();
        match self.backend {
            Some(Backend::Embedded) if more || !self.etcd_servers.is_empty() => {
                bail!("--store embedded and addresses or files of etcd: only one can be")
            }
            Some(Backend::Embedded) => return Ok(Some(Choice::Embedded)),
            None if !more && self.etcd_servers.is_empty() => return Ok(None),
            Some(Backend::Etcd) | None => {}
        }
        if self.etcd_servers.is_empty() {
            bail!("--etcd-servers is missing: where etcd is, as https://10.0.0.1:2379");
        }
        if self.etcd_certfile.is_some() != self.etcd_keyfile.is_some() {
            bail!("--etcd-certfile and --etcd-keyfile belong together: one of them is missing");
        }
        let prefix = self.etcd_prefix.as_deref().unwrap_or(PREFIX).trim_matches('/');
        if prefix.is_empty() {
            bail!("--etcd-prefix must not be empty: etcd may hold other keys, too");
        }
        let etcd = EtcdSettings {
            servers: self.etcd_servers.clone(),
            cafile: whole(self.etcd_cafile.as_deref())?,
            certfile: whole(self.etcd_certfile.as_deref())?,
            keyfile: whole(self.etcd_keyfile.as_deref())?,
            prefix: format!("/{prefix}"),
        };
        etcd.config()?;
        Ok(Some(Choice::Etcd(etcd)))
    }

    /// The flags that say the same to another process, with whole paths.
    ///
    /// # Errors
    /// When a path cannot be made whole.
    pub fn arguments(&self) -> Result<Vec<OsString>> {
        let mut arguments = Vec::new();
        let mut flag = |name: &str, value: OsString| {
            let mut argument = OsString::from(format!("--{name}="));
            argument.push(value);
            arguments.push(argument);
        };
        if let Some(backend) = self.backend.and_then(|backend| backend.to_possible_value()) {
            flag("store", backend.get_name().into());
        }
        if !self.etcd_servers.is_empty() {
            flag("etcd-servers", self.etcd_servers.join(",").into());
        }
        let files = [
            ("etcd-cafile", &self.etcd_cafile),
            ("etcd-certfile", &self.etcd_certfile),
            ("etcd-keyfile", &self.etcd_keyfile),
        ];
        for (name, path) in files {
            if let Some(path) = whole(path.as_deref())? {
                flag(name, path.into());
            }
        }
        if let Some(prefix) = &self.etcd_prefix {
            flag("etcd-prefix", prefix.into());
        }
        if let Some(mib) = self.history_mib {
            flag("history-mib", mib.to_string().into());
        }
        Ok(arguments)
    }
}

impl EtcdSettings {
    /// # Errors
    /// Names the address that is none.
    pub fn config(&self) -> Result<Config> {
        let endpoints =
            self.servers.iter().map(|text| Endpoint::parse(text)).collect::<Result<Vec<_>, _>>()?;
        let identity = self.certfile.clone().zip(self.keyfile.clone());
        let tls = TlsFiles { ca: self.cafile.clone(), identity };
        let prefix = (PREFIX.to_owned(), self.prefix.clone());
        Ok(Config { tls, prefix, ..Config::new(endpoints) })
    }

    /// For messages: where etcd is, and below what.
    pub fn place(&self) -> String {
        format!("etcd at {} below {}", self.servers.join(","), self.prefix)
    }
}

/// The path from the root.
fn whole(path: Option<&Path>) -> Result<Option<PathBuf>> {
    path.map(|path| std::path::absolute(path).with_context(|| format!("finding {}", path.display())))
        .transpose()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        store: StoreFlags,
    }

    fn flags(line: &[&str]) -> StoreFlags {
        let line = std::iter::once("knarr").chain(line.iter().copied());
        Line::try_parse_from(line).expect("flags").store
    }

    #[test]
    fn flags_win_over_the_file_and_are_handed_on() {
        let given =
            flags(&["--etcd-servers=https://a:1,https://b:1", "--etcd-cafile=ca.pem", "--history-mib=7"]);
        let file: StoreFlags = serde_json::from_str(
            r#"{"backend": "etcd", "etcdServers": ["http://c:1"], "etcdPrefix": "tenants/x/"}"#,
        )
        .expect("settings");
        let all = given.over(&file);
        let Some(Choice::Etcd(etcd)) = all.choice().expect("they fit") else { panic!("etcd") };
        let cwd = std::env::current_dir().expect("a folder");
        assert_eq!(etcd.servers, ["https://a:1", "https://b:1"]);
        assert_eq!((etcd.prefix.as_str(), etcd.cafile), ("/tenants/x", Some(cwd.join("ca.pem"))));
        let handed = all.arguments().expect("flags");
        let handed: Vec<_> = handed.iter().map(|flag| flag.to_str().expect("UTF-8")).collect();
        assert_eq!(flags(&handed).choice().expect("they fit"), all.choice().expect("they fit"));
        assert_eq!(flags(&handed).history_bytes().expect("within the limits"), Some(7 << 20));
        let none = StoreFlags { history_mib: Some(0), ..StoreFlags::default() };
        assert!(none.history_bytes().is_err());
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        assert_eq!(flags(&[]).choice().expect("nothing is said"), None);
        assert_eq!(flags(&["--store=embedded"]).choice().expect("they fit"), Some(Choice::Embedded));
        for (line, why) in [
            (vec!["--store=etcd"], "--etcd-servers is missing"),
            (vec!["--etcd-cafile=x"], "--etcd-servers is missing"),
            (vec!["--store=embedded", "--etcd-servers=http://a:1"], "only one can be"),
            (vec!["--etcd-servers=http://a:1", "--etcd-certfile=x"], "belong together"),
            (vec!["--etcd-servers=http://a:1", "--etcd-prefix=/"], "must not be empty"),
            (vec!["--etcd-servers=a:1"], "is no address of etcd"),
        ] {
            let error = flags(&line).choice().expect_err("refused").to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
