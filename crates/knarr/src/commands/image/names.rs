//! Names of images given, taken and shown, on all nodes of the cluster.

use std::io::{IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use base::Clock;
use runtime::socket::client::{self, ClientError};
use runtime::socket::{Inspected, Removed};
use serde_json::json;

use super::{short, size};
use crate::commands::{nodes_of, say, table};
use crate::layout::Layout;

/// Gives a further name on every node that has the image.
pub async fn tag(layout: &Layout, source: &str, target: &str) -> Result<()> {
    let mut refused = None;
    let mut found = false;
    for node in nodes_of(layout)? {
        match client::tag(&layout.node(node).import_socket(), source, target).await {
            Ok(_) => found = true,
            Err(ClientError::Refused(reason)) => refused = Some(reason),
            Err(error) => return Err(error.into()),
        }
    }
    match refused {
        Some(reason) if !found => bail!("{reason}"),
        _ => Ok(()),
    }
}

/// Takes names away, in the words of `docker rmi`.
pub async fn remove(layout: &Layout, references: &[String]) -> Result<()> {
    let nodes = nodes_of(layout)?;
    for reference in references {
        let mut removed = Vec::new();
        for node in &nodes {
            let socket = layout.node(*node).import_socket();
            match client::remove(&socket, reference).await {
                Ok(gone) => removed.push(gone),
                Err(ClientError::Refused(_)) if client::inspect(&socket, reference).await.is_err() => {}
                Err(error) => return Err(error).with_context(|| reference.clone()),
            }
        }
        if removed.is_empty() {
            bail!("there is no image {reference:?}");
        }
        say(&told(removed))?;
    }
    Ok(())
}

/// Several nodes lose the same names.
fn told(removed: Vec<Removed>) -> String {
    let mut lines = Vec::new();
    for gone in removed {
        lines.extend(gone.untagged.iter().map(|name| format!("Untagged: {name}\n")));
        lines.extend(gone.deleted.map(|id| format!("Deleted: {id}\n")));
    }
    let mut seen = std::collections::HashSet::new();
    lines.retain(|line| seen.insert(line.clone()));
    lines.concat()
}

/// The image on the first node that has it.
async fn find(layout: &Layout, reference: &str) -> Result<(u8, Inspected)> {
    let mut refused = None;
    for node in nodes_of(layout)? {
        match client::inspect(&layout.node(node).import_socket(), reference).await {
            Ok(image) => return Ok((node, image)),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.context("there is no node")?.into())
}

/// Images in JSON, with the fields of `docker image inspect` that apply.
pub async fn inspect(layout: &Layout, references: &[String]) -> Result<()> {
    let mut all = Vec::new();
    for reference in references {
        let (_, image) = find(layout, reference).await?;
        let config = &image.config;
        all.push(json!({
            "Id": image.id,
            "RepoTags": image.tags,
            "RepoDigests": image.digests,
            "Created": config["created"],
            "Author": config["author"].as_str().unwrap_or_default(),
            "Config": config["config"],
            "Architecture": config["architecture"],
            "Os": config["os"],
            "Size": image.size_bytes,
            "RootFS": {"Type": "layers", "Layers": config["rootfs"]["diff_ids"]},
        }));
    }
    say(&format!("{}\n", serde_json::to_string_pretty(&all)?))
}

/// The instructions of an image, the newest first, as `docker history` shows them.
pub async fn history(layout: &Layout, reference: &str, whole: bool) -> Result<()> {
    const WIDTH: usize = 45;
    let (_, image) = find(layout, reference).await?;
    let now = base::SystemClock.now();
    let mut rows = Vec::new();
    for (index, past) in image.history.iter().rev().enumerate() {
        let mut text = past.created_by.split_whitespace().collect::<Vec<_>>().join(" ");
        if !whole && text.chars().count() > WIDTH {
            text = text.chars().take(WIDTH - 1).chain(['…']).collect();
        }
        let id = match index {
            0 if whole => image.id.clone(),
            0 => short(&image.id).to_owned(),
            _ => "<missing>".to_owned(),
        };
        let age = past.created.parse::<jiff::Timestamp>().map(|then| ago(now.duration_since(then).as_secs()));
        rows.push(vec![
            id,
            age.unwrap_or_else(|_| "N/A".to_owned()),
            text,
            size(past.size_bytes),
            past.comment.clone(),
        ]);
    }
    say(&table(&["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"], &rows)?)
}

fn ago(seconds: i64) -> String {
    let (count, unit) = match seconds.max(0) {
        s @ 0..60 => (s, "second"),
        s @ 60..3600 => (s / 60, "minute"),
        s @ 3600..86_400 => (s / 3600, "hour"),
        s => (s / 86_400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

/// Removes what nobody needs, from every node.
pub async fn prune(layout: &Layout, all: bool, force: bool) -> Result<()> {
    if !force {
        if !std::io::stdin().is_terminal() {
            bail!("standard input is no terminal to ask on: give --force");
        }
        let what = if all { "all images without a container" } else { "all images without a name" };
        say(&format!(
            "WARNING! This will remove {what}, and the build cache.\nAre you sure you want to continue? [y/N] "
        ))?;
        std::io::stdout().flush().context("writing to standard output")?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).context("reading standard input")?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            return Ok(());
        }
    }
    let (mut removed, mut freed) = (Vec::new(), 0);
    for node in nodes_of(layout)? {
        let (gone, bytes) = client::prune(&layout.node(node).import_socket(), all).await?;
        removed.extend(gone);
        freed += bytes;
    }
    say(&format!("{}Total reclaimed space: {}\n", told(removed), size(freed)))
}

/// Writes an archive; all images come from the first node that has the first of them.
pub async fn save(layout: &Layout, output: Option<&Path>, references: &[String]) -> Result<()> {
    let (node, _) = find(layout, &references[0]).await?;
    let socket = layout.node(node).import_socket();
    match output {
        Some(path) => {
            let mut file = tokio::fs::File::create(path).await.with_context(|| path.display().to_string())?;
            let saved = client::save(&socket, references, &mut file).await;
            if saved.is_err() {
                // No half archive stays.
                std::fs::remove_file(path).with_context(|| path.display().to_string())?;
            }
            Ok(saved?)
        }
        None if std::io::stdout().is_terminal() => {
            bail!("cowardly refusing to save to a terminal. Use the -o flag or redirect")
        }
        None => Ok(client::save(&socket, references, &mut tokio::io::stdout()).await?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_nodes_lose_is_told_once() {
        let removed = || Removed { untagged: vec!["a:1".to_owned()], deleted: Some("sha256:x".to_owned()) };
        assert_eq!(told(vec![removed(), removed()]), "Untagged: a:1\nDeleted: sha256:x\n");
        assert_eq!(
            (ago(1), ago(7300), ago(-5)),
            ("1 second ago".to_owned(), "2 hours ago".to_owned(), "0 seconds ago".to_owned())
        );
    }
}
