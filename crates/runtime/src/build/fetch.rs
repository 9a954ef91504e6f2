//! `ADD` of a URL: one file over HTTP, checked and bounded.

use std::time::Duration;

use super::outcome::Failure;
use crate::digest::Digest;

const LIMIT_BYTES: usize = 1 << 30;
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

/// The file's name by its URL, and its content.
pub async fn fetch(url: &str, checksum: Option<&str>) -> Result<(String, Vec<u8>), Failure> {
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
    let path = response.url().path().to_owned();
    let name = path.rsplit('/').next().filter(|name| !name.is_empty() && *name != "..").unwrap_or("download");
    let mut content = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Failure::of)? {
        if content.len() + chunk.len() > LIMIT_BYTES {
            return Err(Failure::new(format!("{url} is larger than {LIMIT_BYTES} bytes")));
        }
        content.extend_from_slice(&chunk);
    }
    let got = Digest::of(&content);
    match wanted {
        Some(wanted) if wanted != got => {
            Err(Failure::new(format!("digest mismatch for {url}: got {got}, want {wanted}")))
        }
        _ => Ok((name.to_owned(), content)),
    }
}
