//! `knarr why`: why something is as it is, and what would help.

use anyhow::{Result, anyhow};
use base::clock::{Clock, SystemClock};
use why::{Reader, Subject, UnknownSubject};

use super::say;
use crate::admin;
use crate::api_error::words;
use crate::arguments::{OutputForm, Why};
use crate::which::layout_of;

/// Prints the account.
///
/// # Errors
/// When there is no such kind or object, or when the API cannot be asked.
pub async fn run(asked: &Why) -> Result<()> {
    let subject = subject(asked)?;
    let client = client::https(&admin::of(&layout_of(&asked.which)?)?)?;
    let reader = Reader::new(client, SystemClock.now());
    let account = why::tell(&reader, &subject).await.map_err(|unknown| match unknown {
        UnknownSubject::Api(error) => words(error),
        UnknownSubject::NoSuchKind(_) => unknown.into(),
    })?;
    match asked.output {
        OutputForm::Text => say(&account.text()),
        OutputForm::Json => say(&format!("{}\n", serde_json::to_string_pretty(&account)?)),
    }
}

fn subject(asked: &Why) -> Result<Subject> {
    let (kind, name) = match (&*asked.kind, &asked.object) {
        (kind, Some(name)) => (kind, name.as_str()),
        (both, None) => {
            both.split_once('/').ok_or_else(|| anyhow!("the name is missing: knarr why {both} NAME"))?
        }
    };
    Ok(Subject { kind: kind.to_owned(), name: name.to_owned(), namespace: asked.namespace.clone() })
}
