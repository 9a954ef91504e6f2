//! `knarr image`: import, list, pull and remove the node's images.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cri::v1::{ImageSpec, ListImagesRequest, PullImageRequest, RemoveImageRequest};

use runtime::image::FROM_REGISTRY;
use runtime::image::import_socket::import_file;

use super::{layout_of, say, table};
use crate::arguments::Image;
use crate::layout::Layout;

/// Runs one of the image commands.
///
/// # Errors
/// Says which image or file went wrong and why.
pub async fn run(command: &Image) -> Result<()> {
    match command {
        Image::Import { which, files } => import(&layout_of(which)?, files).await,
        Image::List(which) => say(&list(&layout_of(which)?).await?),
        Image::Pull { which, reference } => pull(&layout_of(which)?, reference).await,
        Image::Rm { which, references } => remove(&layout_of(which)?, references).await,
    }
}

/// Imports each archive on every node of the cluster.
async fn import(layout: &Layout, files: &[PathBuf]) -> Result<()> {
    let nodes = layout.running_nodes();
    if nodes.is_empty() {
        bail!("cluster {:?} has no node running here", layout.name);
    }
    for file in files {
        // Standard input can be read only once: it is kept in a file.
        let kept = if file == Path::new("-") { Some(keep_input()?) } else { None };
        let path = kept.as_ref().map_or_else(|| file.clone(), |kept| kept.path().to_path_buf());
        let mut names = Vec::new();
        for index in &nodes {
            let imported = import_file(&layout.node(*index).import_socket(), &path)
                .await
                .with_context(|| file.display().to_string())?;
            names = imported.into_iter().flat_map(|image| image.tags).collect();
        }
        for name in names {
            say(&format!("imported {name}\n"))?;
        }
    }
    Ok(())
}

fn keep_input() -> Result<tempfile::NamedTempFile> {
    let mut kept = tempfile::NamedTempFile::new().context("keeping standard input")?;
    std::io::copy(&mut std::io::stdin().lock(), &mut kept).context("reading standard input")?;
    Ok(kept)
}

async fn images(layout: &Layout) -> Result<cri::ImageServiceClient> {
    let (_, images) = cri::connect(&layout.node(0).cri_socket())
        .await
        .with_context(|| format!("cluster {:?} does not answer; is it running?", layout.name))?;
    Ok(images)
}

/// The node's images as `crictl images` prints them.
///
/// # Errors
/// When the runtime does not answer.
pub async fn list(layout: &Layout) -> Result<String> {
    let mut client = images(layout).await?;
    let answer = client.list_images(ListImagesRequest::default()).await?.into_inner();
    let mut rows = Vec::new();
    for image in &answer.images {
        let tags = if image.repo_tags.is_empty() { &image.repo_digests } else { &image.repo_tags };
        for tag in tags {
            let (name, version) = split_tag(tag);
            rows.push(vec![
                name.to_owned(),
                version.to_owned(),
                short(&image.id).to_owned(),
                size(image.size),
            ]);
        }
    }
    rows.sort();
    table(&["IMAGE", "TAG", "IMAGE ID", "SIZE"], &rows)
}

async fn pull(layout: &Layout, reference: &str) -> Result<()> {
    let mut client = images(layout).await?;
    let mut image = spec(reference);
    // Whoever asks for a pull by hand wants the registry's image in place of an imported one.
    image.annotations.insert(FROM_REGISTRY.to_owned(), "true".to_owned());
    let request = PullImageRequest { image: Some(image), ..PullImageRequest::default() };
    let answer =
        client.pull_image(request).await.map_err(|status| anyhow::anyhow!("{}", status.message()))?;
    say(&format!("Image is up to date for {}\n", answer.into_inner().image_ref))?;
    Ok(())
}

async fn remove(layout: &Layout, references: &[String]) -> Result<()> {
    let mut client = images(layout).await?;
    for reference in references {
        let known = client
            .image_status(cri::v1::ImageStatusRequest { image: Some(spec(reference)), verbose: false })
            .await?
            .into_inner();
        if known.image.is_none() {
            bail!("there is no image {reference:?}");
        }
        client
            .remove_image(RemoveImageRequest { image: Some(spec(reference)) })
            .await
            .map_err(|status| anyhow::anyhow!("{reference}: {}", status.message()))?;
        say(&format!("removed {reference}\n"))?;
    }
    Ok(())
}

fn spec(reference: &str) -> ImageSpec {
    ImageSpec { image: reference.to_owned(), ..ImageSpec::default() }
}

fn split_tag(reference: &str) -> (&str, &str) {
    if let Some((name, _)) = reference.split_once('@') {
        return (name, "<none>");
    }
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (reference, "<none>"),
    }
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
        assert_eq!(split_tag("docker.io/library/busybox:1.36"), ("docker.io/library/busybox", "1.36"));
        assert_eq!(split_tag("localhost:5000/x"), ("localhost:5000/x", "<none>"));
        assert_eq!(size(240_000), "240kB");
        assert_eq!(size(2_420_000), "2.42MB");
    }
}
