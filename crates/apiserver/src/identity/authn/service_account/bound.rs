//! Checks whether the object that a token is bound to still exists.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use store::Revision;

use super::claims::{Private, Reference};
use crate::cache::lookup::{Lookup, decode};

/// How long after its deletion began an object's tokens are still taken, as upstream.
pub(super) const LEEWAY: SignedDuration = SignedDuration::from_mins(1);

/// The revisions of the objects that were looked at. While they are the same, so is the answer, but for
/// objects that are being deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    revisions: [Revision; 4],
    /// Whether one of the objects is being deleted.
    pub ending: bool,
}

impl Seen {
    /// An account and the Secret of a token.
    pub fn of(account: Revision, secret: Revision) -> Self {
        Self { revisions: [account, Revision::default(), secret, Revision::default()], ending: false }
    }
}

#[derive(Deserialize)]
struct View {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    uid: String,
    deletion_timestamp: Option<Timestamp>,
}

/// Looks at the account and what else the token is bound to. `known` is an earlier answer, which saves reading
/// objects that have not changed.
///
/// # Errors
/// Why the token counts no more.
pub(super) fn check(
    lookup: &Lookup,
    claims: &Private,
    known: Option<&Seen>,
    now: Timestamp,
) -> Result<Seen, String> {
    let account = &claims.serviceaccount;
    let mut found = Vec::with_capacity(4);
    let wanted = [
        Some(("serviceaccounts", "service account", claims.namespace.as_str(), account)),
        claims.pod.as_ref().map(|pod| ("pods", "pod", claims.namespace.as_str(), pod)),
        claims.secret.as_ref().map(|secret| ("secrets", "secret", claims.namespace.as_str(), secret)),
        // A pod's token names its node for information; only a token bound to the node dies with it.
        claims
            .node
            .as_ref()
            .filter(|_| claims.pod.is_none() && claims.secret.is_none())
            .map(|node| ("nodes", "node", "", node)),
    ];
    let mut seen = Seen::default();
    for (index, (plural, words, namespace, reference)) in
        wanted.into_iter().enumerate().filter_map(|(index, want)| Some((index, want?)))
    {
        let entry = lookup.entry("", plural, namespace, &reference.name).ok_or_else(|| match plural {
            "serviceaccounts" => format!("serviceaccount {:?} not found", reference.name),
            _ => "service account token has been invalidated".to_owned(),
        })?;
        seen.revisions[index] = entry.revision;
        found.push((entry, words, reference));
    }
    if let Some(known) = known.filter(|known| !known.ending && known.revisions == seen.revisions) {
        return Ok(known.clone());
    }
    for (entry, words, reference) in found {
        let view: View =
            decode(&entry).ok_or_else(|| format!("{words} {:?} cannot be read", reference.name))?;
        if let Some(deleted) = view.metadata.deletion_timestamp {
            seen.ending = true;
            if deleted + LEEWAY < now {
                return Err(deleted_words(words, &claims.namespace, reference));
            }
        }
        if view.metadata.uid != reference.uid {
            return Err(format!(
                "{words} UID ({}) does not match claim ({})",
                view.metadata.uid, reference.uid
            ));
        }
    }
    Ok(seen)
}

fn deleted_words(words: &str, namespace: &str, reference: &Reference) -> String {
    if words == "service account" {
        format!("service account {namespace}/{} has been deleted", reference.name)
    } else {
        "service account token has been invalidated".to_owned()
    }
}
