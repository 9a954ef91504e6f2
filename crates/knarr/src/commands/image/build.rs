//! `knarr image build`: sends a folder and its Dockerfile to the node, and shows how the build goes on.

mod context;
mod progress;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use dockerfile::{FILE_LIMIT_BYTES, Ignore};
use runtime::build_request::{Event, Request, SECRET_LIMIT_BYTES};
use runtime::socket::client;

use self::progress::Progress;
use crate::arguments::Build;
use crate::commands::{nodes_of, say};
use crate::layout::Layout;

/// The Dockerfile, its name in messages, and the files.
struct Input {
    text: String,
    name: String,
    folder: Option<PathBuf>,
    ignore: Ignore,
}

/// Builds on the first node of the cluster and gives the image to the others.
///
/// # Errors
/// Says where the Dockerfile is wrong or what failed.
pub async fn run(layout: &Layout, build: &Build) -> Result<()> {
    let nodes = nodes_of(layout)?;
    let input = input(build)?;
    if let Err(error) = dockerfile::parse(&input.text) {
        let excerpt = error.place.excerpt(&input.name, &input.text);
        bail!("{}", progress::legible_lines(&format!("{}:{error}\n{excerpt}", input.name)));
    }
    let request = request(build, &input)?;
    let first = layout.node(nodes[0]).import_socket();
    let style = match (build.quiet, build.progress.as_str()) {
        (true, _) | (_, "quiet") => progress::Style::Quiet,
        (_, "tty") => progress::Style::Terminal,
        (_, "auto") if std::io::stderr().is_terminal() => progress::Style::Terminal,
        _ => progress::Style::Plain,
    };
    let mut progress = Progress::new(style, &input.name, &input.text);
    let archive = context::archive(input.folder.clone(), input.ignore.clone());
    let mut end = None;
    let built = client::build(&first, &request, archive, |event| match event {
        Event::Built { image, names } => end = Some(Ok((image, names))),
        Event::Failed { id, message, place } => end = Some(Err((id, message, place))),
        event => progress.hear(event),
    });
    built.await.context("building the image")?;
    match end {
        None => bail!("the node broke off"),
        Some(Err((id, message, place))) => bail!("{}", progress.failure(id, &message, place)),
        Some(Ok((image, names))) => {
            progress.finish();
            share(layout, &nodes, &image, &names).await?;
            if style == progress::Style::Quiet { say(&format!("{image}\n")) } else { Ok(()) }
        }
    }
}

/// Gives the image to the cluster's other nodes.
async fn share(layout: &Layout, nodes: &[u8], image: &str, names: &[String]) -> Result<()> {
    if nodes.len() < 2 {
        return Ok(());
    }
    let kept = tempfile::NamedTempFile::new().context("keeping the image")?;
    let mut file = tokio::fs::File::create(kept.path()).await?;
    let references = if names.is_empty() { vec![image.to_owned()] } else { names.to_vec() };
    client::save(&layout.node(nodes[0]).import_socket(), &references, &mut file).await?;
    for node in &nodes[1..] {
        let given = client::import_file(&layout.node(*node).import_socket(), kept.path()).await;
        given.with_context(|| format!("giving the image to node {node}"))?;
    }
    Ok(())
}

fn input(build: &Build) -> Result<Input> {
    let piped = build.path == Path::new("-");
    if piped && build.file.is_some() {
        bail!("-f goes with a folder: standard input is the Dockerfile itself");
    }
    if !piped && !build.path.is_dir() {
        bail!("{}: no such folder", build.path.display());
    }
    let file = build.file.clone().unwrap_or_else(|| build.path.join("Dockerfile"));
    if piped || file == Path::new("-") {
        let folder = (!piped).then(|| build.path.clone());
        let ignore = folder.as_ref().map(|folder| ignore(folder, None)).transpose()?.unwrap_or_default();
        return Ok(Input {
            text: read(&mut std::io::stdin(), "-")?,
            name: "Dockerfile".to_owned(),
            folder,
            ignore,
        });
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut open =
        std::fs::File::open(&file).with_context(|| format!("failed to read {}", file.display()))?;
    let text = read(&mut open, &name)?;
    Ok(Input { text, name, folder: Some(build.path.clone()), ignore: ignore(&build.path, Some(&file))? })
}

fn read(from: &mut impl Read, name: &str) -> Result<String> {
    let mut bytes = Vec::new();
    from.take(FILE_LIMIT_BYTES as u64 + 1).read_to_end(&mut bytes).with_context(|| name.to_owned())?;
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        anyhow::anyhow!("{name}:{line}: the file is no text in UTF-8")
    })
}

/// `FILE.dockerignore` beside a Dockerfile, else the folder's `.dockerignore`.
fn ignore(folder: &Path, file: Option<&Path>) -> Result<Ignore> {
    let own = file.map(|file| {
        let mut name = file.as_os_str().to_owned();
        name.push(".dockerignore");
        PathBuf::from(name)
    });
    for path in own.into_iter().chain([folder.join(".dockerignore")]) {
        match std::fs::read_to_string(&path) {
            Ok(text) => return Ignore::parse(&text).with_context(|| path.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        }
    }
    Ok(Ignore::default())
}

fn request(build: &Build, input: &Input) -> Result<Request> {
    let epoch = std::env::var("SOURCE_DATE_EPOCH").ok().filter(|text| !text.is_empty());
    let epoch = epoch.map(|text| text.parse().with_context(|| format!("SOURCE_DATE_EPOCH={text}")));
    Ok(Request {
        dockerfile: input.text.clone(),
        file_name: input.name.clone(),
        tags: build.tags.clone(),
        build_args: pairs(&build.build_args, true)?,
        labels: pairs(&build.labels, false)?,
        target: build.target.clone(),
        platform: build.platform.clone(),
        no_cache: build.no_cache,
        pull: build.pull,
        source_date_epoch: epoch.transpose()?,
        secrets: build.secrets.iter().map(|text| secret(text)).collect::<Result<_>>()?,
        network: build.network.clone(),
    })
}

/// `NAME=VALUE`; a bare name takes the environment's value, or none.
fn pairs(texts: &[String], environment: bool) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for text in texts {
        match text.split_once('=') {
            Some(("", _)) => bail!("{text:?} has no name"),
            Some((name, value)) => drop(found.insert(name.to_owned(), value.to_owned())),
            None if environment => {
                if let Ok(value) = std::env::var(text) {
                    found.insert(text.clone(), value);
                }
            }
            None => drop(found.insert(text.clone(), String::new())),
        }
    }
    Ok(found)
}

fn secret(text: &str) -> Result<(String, String)> {
    let mut fields = BTreeMap::new();
    for field in text.split(',') {
        let (key, value) =
            field.split_once('=').with_context(|| format!("invalid field '{field}' in a secret"))?;
        if !["id", "src", "source", "env", "type"].contains(&key) {
            bail!("unexpected key '{key}' in a secret");
        }
        fields.insert(key, value);
    }
    let id = *fields.get("id").filter(|id| !id.is_empty()).context("a secret needs an id")?;
    let bytes = match (fields.get("src").or(fields.get("source")), fields.get("env")) {
        (Some(path), _) => {
            let (mut bytes, named) = (Vec::new(), || format!("secret {id}: {path}"));
            let file = std::fs::File::open(path).with_context(named)?;
            file.take(SECRET_LIMIT_BYTES as u64 + 1).read_to_end(&mut bytes).with_context(named)?;
            bytes
        }
        (None, name) => {
            let name = name.copied().unwrap_or(id);
            std::env::var(name).with_context(|| format!("secret {id}: ${name}"))?.into_bytes()
        }
    };
    if bytes.len() > SECRET_LIMIT_BYTES {
        bail!("secret {id} is larger than {SECRET_LIMIT_BYTES} bytes");
    }
    Ok((id.to_owned(), base64::engine::general_purpose::STANDARD.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_and_secrets_are_read() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let found = pairs(&texts(&["A=b=c", "KNARR_TEST_UNSET"]), true).expect("pairs");
        assert_eq!(found, BTreeMap::from([("A".to_owned(), "b=c".to_owned())]));
        assert!(pairs(&texts(&["=x"]), false).is_err());
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("secret");
        std::fs::write(&path, "s").expect("written");
        let text = format!("id=x,src={}", path.display());
        assert_eq!(secret(&text).expect("a secret"), ("x".to_owned(), "cw==".to_owned()));
        let endless = secret("id=x,src=/dev/zero").expect_err("endless");
        assert_eq!(endless.to_string(), "secret x is larger than 512000 bytes");
        for bad in ["src=/x", "id=x,y=z", "id", "id=x,src=/nowhere/at/all"] {
            assert!(secret(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_dockerfile_has_patterns_of_its_own() {
        let dir = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
        write(".dockerignore", "a");
        write("Other.dockerignore", "b");
        let own = ignore(dir.path(), Some(&dir.path().join("Other"))).expect("patterns");
        assert_eq!((own.ignores("a"), own.ignores("b")), (false, true));
        let general = ignore(dir.path(), Some(&dir.path().join("Dockerfile"))).expect("patterns");
        assert_eq!((general.ignores("a"), general.ignores("b")), (true, false));
        write(".dockerignore", "[");
        assert!(ignore(dir.path(), None).is_err());
    }
}
