//! `knarr image`: the node's images. `build` builds them, `names` gives, takes and shows names, here are import, list and
//! pull.

mod build;
mod names;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cri::v1::{ImageSpec, ListImagesRequest, PullImageRequest};
use oci::Reference;

use runtime::image::FROM_REGISTRY;
use runtime::socket::client::import_file;

use super::{nodes_of, runtime_of, say, table, told};
use crate::arguments::Image;
use crate::layout::Layout;
use crate::which::layout_of;

/// Stands where an image has no name or no tag, as `crictl` shows it.
const NONE: &str = "<none>";

/// Runs one of the image commands.
///
/// # Errors
/// Says which image or file went wrong and why.
pub async fn run(command: &Image) -> Result<()> {
    match command {
        Image::Build(build) => build::run(&layout_of(&build.which)?, build).await,
        Image::Import { which, files } => import(&layout_of(which)?, files).await,
        Image::List(which) => say(&list(&layout_of(which)?).await?),
        Image::Pull { which, reference } => pull(&layout_of(which)?, reference).await,
        Image::Rm { which, references } => names::remove(&layout_of(which)?, references).await,
        Image::Tag { which, source, target } => names::tag(&layout_of(which)?, source, target).await,
        Image::Inspect { which, references } => names::inspect(&layout_of(which)?, references).await,
        Image::History { which, reference, no_trunc } => {
            names::history(&layout_of(which)?, reference, *no_trunc).await
        }
        Image::Prune { which, all, force } => names::prune(&layout_of(which)?, *all, *force).await,
        Image::Save { which, output, references } => {
            names::save(&layout_of(which)?, output.as_deref(), references).await
        }
    }
}

/// Imports each archive on every node of the cluster.
async fn import(layout: &Layout, files: &[PathBuf]) -> Result<()> {
    let nodes = nodes_of(layout)?;
    for file in files {
        // Standard input can be read only once: it is kept in a file.
        let kept = if file == Path::new("-") { Some(keep_input()?) } else { None };
        let path = kept.as_ref().map_or_else(|| file.clone(), |kept| kept.path().to_path_buf());
        let mut images = Vec::new();
        for index in &nodes {
            images = import_file(&layout.node(*index).import_socket(), &path)
                .await
                .with_context(|| file.display().to_string())?;
        }
        for image in images {
            // One without a name goes by its id.
            let names = if image.tags.is_empty() { vec![image.id] } else { image.tags };
            for name in names {
                say(&format!("imported {name}\n"))?;
            }
        }
    }
    Ok(())
}

fn keep_input() -> Result<tempfile::NamedTempFile> {
    let mut kept = tempfile::NamedTempFile::new().context("keeping standard input")?;
    std::io::copy(&mut std::io::stdin().lock(), &mut kept).context("reading standard input")?;
    Ok(kept)
}

/// The nodes' images as `crictl images` prints them; what several nodes have stands there once.
///
/// # Errors
/// When a runtime does not answer.
pub async fn list(layout: &Layout) -> Result<String> {
    let mut rows = Vec::new();
    for node in nodes_of(layout)? {
        let (_, mut client) = runtime_of(layout, node).await?;
        let answer = client.list_images(ListImagesRequest::default()).await.map_err(told)?.into_inner();
        rows.extend(answer.images.iter().flat_map(rows_of));
    }
    rows.sort();
    rows.dedup();
    table(&["IMAGE", "TAG", "IMAGE ID", "SIZE"], &rows)
}

fn rows_of(image: &cri::v1::Image) -> Vec<Vec<String>> {
    let row = |(name, tag): (String, String)| vec![name, tag, short(&image.id).to_owned(), size(image.size)];
    match (image.repo_tags.as_slice(), image.repo_digests.as_slice()) {
        ([], []) => vec![row((NONE.to_owned(), NONE.to_owned()))],
        ([], names) | (names, _) => names.iter().map(|name| row(name_and_tag(name))).collect(),
    }
}

/// Pulls on every node of the cluster.
async fn pull(layout: &Layout, reference: &str) -> Result<()> {
    let mut image = spec(reference);
    // Whoever asks for a pull by hand wants the registry's image in place of an imported one.
    image.annotations.insert(FROM_REGISTRY.to_owned(), "true".to_owned());
    let mut id = String::new();
    for node in nodes_of(layout)? {
        let (_, mut client) = runtime_of(layout, node).await?;
        let request = PullImageRequest { image: Some(image.clone()), ..PullImageRequest::default() };
        id = client.pull_image(request).await.map_err(told)?.into_inner().image_ref;
    }
    say(&format!("Image is up to date for {id}\n"))
}

fn spec(reference: &str) -> ImageSpec {
    ImageSpec { image: reference.to_owned(), ..ImageSpec::default() }
}

/// A runtime's name of an image in two columns. A text that is no image name is shown whole.
fn name_and_tag(name: &str) -> (String, String) {
    let Ok(reference) = name.parse::<Reference>() else { return (name.to_owned(), NONE.to_owned()) };
    let tag = reference.tag().filter(|_| reference.digest().is_none());
    (reference.repository(), tag.unwrap_or(NONE).to_owned())
}

/// An id as `crictl` shows it: 13 digits.
pub fn short(id: &str) -> &str {
    let id = id.strip_prefix("sha256:").unwrap_or(id);
    id.get(..13).unwrap_or(id)
}

/// Bytes in decimal units, three significant digits.
fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            let digits = if unit == "B" || value >= 100.0 {
                0
            } else if value >= 10.0 {
                1
            } else {
                2
            };
            return format!("{value:.digits$}{unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.1}TB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_sizes_read_as_crictls() {
        let split = |name: &str| <[String; 2]>::from(name_and_tag(name));
        assert_eq!(split("docker.io/library/busybox:1.36"), ["docker.io/library/busybox", "1.36"]);
        assert_eq!(split("localhost:5000/x"), ["localhost:5000/x", "<none>"]);
        let digest = format!("localhost:5000/x@sha256:{}", "0".repeat(64));
        assert_eq!(split(&digest), ["localhost:5000/x", "<none>"]);
        let image = cri::v1::Image { id: "sha256:0123456789abcdef".to_owned(), ..Default::default() };
        assert_eq!(rows_of(&image), [["<none>", "<none>", "0123456789abc", "0B"]]);
        assert_eq!(size(240_000), "240kB");
        assert_eq!(size(2_420_000), "2.42MB");
    }
}
