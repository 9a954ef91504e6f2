//! `ADD` of a URL: one file over HTTP, checked and bounded.

use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::outcome::Failure;
use crate::digest::{Digest, Hasher};

const LIMIT_BYTES: u64 = 1 << 30;
/// The URLs of one build.
pub const URL_LIMIT: u32 = 32;
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Whether a source of `ADD` is fetched.
pub fn is_url(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

/// Whether it is a repository, which is not supported.
pub fn is_repository(source: &str) -> bool {
    source.starts_with("git://")
        || source.starts_with("git@")
        || source.starts_with("ssh://")
        || (is_url(source) && source.split('#').next().is_some_and(|url| url.ends_with(".git")))
}

/// The file's name: the last one of the URL as it is written, wherever that leads.
pub fn name_of(url: &str) -> Result<String, Failure> {
    let parsed = reqwest::Url::parse(url).map_err(Failure::of)?;
    let path = decoded(parsed.path());
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let usable = !["", ".", ".."].contains(&name) && !name.contains(char::is_control);
    Ok(if usable { name.to_owned() } else { "__unnamed__".to_owned() })
}

/// A path with what is written as `%20`; as it is where that is no text.
fn decoded(path: &str) -> String {
    let (mut out, mut left) = (Vec::new(), path.as_bytes());
    while let [byte, rest @ ..] = left {
        let digits =
            rest.get(..2).filter(|_| *byte == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) => {
                out.push(value);
                left = &rest[2..];
            }
            None => {
                out.push(*byte);
                left = rest;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| path.to_owned())
}

/// Fetches what `url` leads to into the file `to`.
pub async fn fetch(url: &str, checksum: Option<&str>, to: &Path) -> Result<(), Failure> {
    let wanted = checksum.map(str::parse::<Digest>).transpose().map_err(Failure::of)?;
    let client = reqwest::Client::builder()
        .user_agent(concat!("knarr/", env!("CARGO_PKG_VERSION")))
        .read_timeout(STALL_TIMEOUT)
        .connect_timeout(STALL_TIMEOUT)
        .redirect(reqwest::redirect::Policy::limited(10))
        .build()
        .map_err(Failure::of)?;
    let mut response = client.get(url).send().await.map_err(Failure::of)?;
    if !response.status().is_success() {
        return Err(Failure::new(format!("invalid response status {}", response.status())));
    }
    let mut file = tokio::fs::File::create(to).await.map_err(Failure::of)?;
    let (mut size_bytes, mut hasher) = (0_u64, Hasher::default());
    while let Some(chunk) = response.chunk().await.map_err(Failure::of)? {
        size_bytes += chunk.len() as u64;
        if size_bytes > LIMIT_BYTES {
            return Err(Failure::new(format!("{url} is larger than {LIMIT_BYTES} bytes")));
        }
        hasher.update(&chunk);
        file.write_all(&chunk).await.map_err(Failure::of)?;
    }
    file.flush().await.map_err(Failure::of)?;
    let got = hasher.finish();
    match wanted {
        Some(wanted) if wanted != got => {
            Err(Failure::new(format!("digest mismatch for {url}: got {got}, want {wanted}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_called_as_its_url_is_written() {
        for (url, want) in [
            ("http://x/a/tool.tar?v=1", "tool.tar"),
            ("https://x/a%20b", "a b"),
            ("http://x/a/", "a"),
            ("http://x/a/%2e%2e%2fpasswd", "passwd"),
            ("http://x/a%2f..", "__unnamed__"),
            ("http://x", "__unnamed__"),
            ("http://x/%zz%f", "%zz%f"),
            ("http://x/%ff", "%ff"),
        ] {
            assert_eq!(name_of(url), Ok(want.to_owned()), "{url}");
        }
        assert!(name_of("http://").is_err());
    }
}
