//! `RUN --mount=…`: what else a command sees.

use std::collections::HashSet;

/// One mount; paths and ids may hold variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub kind: MountKind,
    pub target: Option<String>,
    /// Of `bind` and `cache`: an image or a stage.
    pub from: Option<String>,
    pub source: Option<String>,
    pub id: Option<String>,
    pub read_only: bool,
    pub required: bool,
    pub sharing: Sharing,
    pub mode: Option<u32>,
    pub uid: u32,
    pub gid: u32,
    /// Bytes of a `tmpfs`.
    pub size_bytes: Option<u64>,
    /// Of a `secret`: the variable that has it.
    pub env: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountKind {
    Bind,
    Cache,
    Tmpfs,
    Secret,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    Shared,
    Private,
    Locked,
}

impl Mount {
    /// Reads the flag's value, `type=cache,target=/x`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fields = fields(text)?;
        let kind = match fields.iter().find(|(key, _)| key == "type").map(|(_, value)| value.as_str()) {
            None | Some("bind") => MountKind::Bind,
            Some("cache") => MountKind::Cache,
            Some("tmpfs") => MountKind::Tmpfs,
            Some("secret") => MountKind::Secret,
            Some("ssh") => return Err("mounts of type \"ssh\" are not supported".to_owned()),
            Some(other) => return Err(format!("unsupported mount type {other:?}")),
        };
        let mut mount = Self {
            kind,
            target: None,
            from: None,
            source: None,
            id: None,
            read_only: kind == MountKind::Bind,
            required: false,
            sharing: Sharing::Shared,
            mode: None,
            uid: 0,
            gid: 0,
            size_bytes: None,
            env: None,
        };
        for (key, value) in fields {
            mount.set(&key, value)?;
        }
        mount.checked()
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), String> {
        use MountKind::{Bind, Cache, Secret, Tmpfs};
        let flag = || match value.as_str() {
            "" | "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            other => Err(format!("invalid value for {key}: {other}")),
        };
        match (key, self.kind) {
            ("type", _) => {}
            ("target" | "dst" | "destination", _) => self.target = Some(value),
            ("from", Bind | Cache) => self.from = Some(value),
            ("source" | "src", Bind | Cache) => self.source = Some(value),
            ("readonly" | "ro", Bind | Cache) => self.read_only = flag()?,
            ("readwrite" | "rw", Bind | Cache) => self.read_only = !flag()?,
            ("id", Cache | Secret) => self.id = Some(value),
            ("required", Secret) => self.required = flag()?,
            ("env", Secret) => self.env = Some(value),
            ("size", Tmpfs) => self.size_bytes = Some(size(&value)?),
            ("mode", Cache | Secret) => self.mode = Some(octal(&value)?),
            ("uid", Cache | Secret) => self.uid = number(key, &value)?,
            ("gid", Cache | Secret) => self.gid = number(key, &value)?,
            ("sharing", Cache) => {
                self.sharing = match value.as_str() {
                    "shared" => Sharing::Shared,
                    "private" => Sharing::Private,
                    "locked" => Sharing::Locked,
                    other => return Err(format!("unsupported sharing value {other:?}")),
                }
            }
            _ => return Err(format!("unexpected key '{key}' for mount type '{}'", self.kind.name())),
        }
        Ok(())
    }

    fn checked(self) -> Result<Self, String> {
        let fine = match self.kind {
            MountKind::Secret => self.target.is_some() || self.id.is_some(),
            _ => self.target.as_ref().is_some_and(|target| !target.is_empty()),
        };
        if fine { Ok(self) } else { Err("target is required".to_owned()) }
    }
}

impl MountKind {
    fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Cache => "cache",
            Self::Tmpfs => "tmpfs",
            Self::Secret => "secret",
        }
    }
}

/// `key=value` pairs between commas; a field in double quotes may hold commas.
fn fields(text: &str) -> Result<Vec<(String, String)>, String> {
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    let mut quoted = false;
    let parts = text.split(|c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    for part in parts {
        let part = part.trim_matches('"');
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let key = key.trim().to_ascii_lowercase();
        if key.is_empty() || !seen.insert(key.clone()) {
            return Err(format!("invalid field '{part}' in a mount"));
        }
        found.push((key, value.to_owned()));
    }
    Ok(found)
}

fn number(key: &str, value: &str) -> Result<u32, String> {
    value.parse().map_err(|_| format!("invalid value {value} for {key}"))
}

fn octal(value: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| format!("invalid value {value} for mode"))
}

/// `64m` and the like, powers of 1024.
fn size(value: &str) -> Result<u64, String> {
    let lower = value.to_ascii_lowercase();
    let lower = lower.trim_end_matches("ib").trim_end_matches('b');
    let (digits, shift) = match lower.char_indices().last() {
        Some((end, 'k')) => (&lower[..end], 10),
        Some((end, 'm')) => (&lower[..end], 20),
        Some((end, 'g')) => (&lower[..end], 30),
        _ => (lower, 0),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(1 << shift));
    bytes.ok_or_else(|| format!("invalid value {value} for size"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_with_their_defaults() {
        let cache = Mount::parse("type=cache,target=/var/cache,sharing=locked,mode=0700").expect("a mount");
        assert_eq!((cache.kind, cache.sharing, cache.mode), (MountKind::Cache, Sharing::Locked, Some(0o700)));
        let bind = Mount::parse("source=a,dst=/b,from=x,rw").expect("a mount");
        assert_eq!((bind.kind, bind.read_only, bind.from.as_deref()), (MountKind::Bind, false, Some("x")));
        let tmpfs = Mount::parse("type=tmpfs,target=/t,size=64m").expect("a mount");
        assert_eq!(tmpfs.size_bytes, Some(64 << 20));
        assert!(Mount::parse("type=secret,id=x,required").expect("a mount").required);
    }

    #[test]
    fn wrong_mounts_are_refused() {
        for (text, why) in [
            ("type=ssh", "mounts of type \"ssh\" are not supported"),
            ("type=x,target=/a", "unsupported mount type \"x\""),
            ("type=cache", "target is required"),
            ("type=tmpfs,target=/a,from=b", "unexpected key 'from' for mount type 'tmpfs'"),
            ("type=cache,target=/a,target=/b", "invalid field 'target=/b' in a mount"),
            ("type=cache,target=/a,mode=9", "invalid value 9 for mode"),
            ("type=cache,target=/a,ro=x", "invalid value for ro: x"),
            ("type=tmpfs,target=/a,size=99999999999999999999", "invalid value 99999999999999999999 for size"),
        ] {
            assert_eq!(Mount::parse(text).map_err(|error| error.to_string()), Err(why.to_owned()), "{text}");
        }
    }
}
