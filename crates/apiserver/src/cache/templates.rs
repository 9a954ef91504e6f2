//! [`Templates`]: texts that managed fields have in common, found by what they resemble.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// A text that others resemble.
pub(super) type Template = Arc<Bytes>;

/// Shorter texts are not worth a template.
const SHORTEST: usize = 96;
/// Texts are compared with those of about their length that begin and end alike in so many bytes.
const ENDS: usize = 48;
/// What counts as about the same length.
const STEP: usize = 32;
/// A text that differs in more bytes becomes a template itself.
const OWN: usize = 48;
/// Templates of one kind: those that were used least lately go.
const VARIANTS: usize = 8;
/// Kinds; beyond that the templates that nothing uses go, and then all are learned anew.
const KINDS: usize = 1024;

/// The templates of a resource. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Templates(Arc<Mutex<HashMap<u64, VecDeque<Template>>>>);

/// A template, and how much of its beginning and of its end a text has.
pub(super) struct Like {
    pub template: Template,
    pub prefix: usize,
    pub suffix: usize,
}

impl Templates {
    /// The template that the text resembles most; `None` where none saves anything.
    pub(super) fn like(&self, text: &[u8]) -> Option<Like> {
        if text.len() < SHORTEST {
            return None;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = kind(text);
        if known.len() >= KINDS && !known.contains_key(&kind) {
            known.retain(|_, variants| variants.iter().any(|template| Arc::strong_count(template) > 1));
            if known.len() >= KINDS {
                known.clear();
            }
        }
        let variants = known.entry(kind).or_default();
        let mut best: Option<(usize, Like)> = None;
        for (index, template) in variants.iter().enumerate() {
            let (prefix, suffix) = in_common(template, text);
            if best.as_ref().is_none_or(|(_, best)| best.prefix + best.suffix < prefix + suffix) {
                best = Some((index, Like { template: template.clone(), prefix, suffix }));
            }
            if prefix + suffix == text.len() {
                break;
            }
        }
        match best {
            Some((index, like)) if text.len() - like.prefix - like.suffix <= OWN => {
                // Most recently used first.
                if index > 0
                    && let Some(template) = variants.remove(index)
                {
                    variants.push_front(template);
                }
                Some(like)
            }
            other => {
                variants.truncate(VARIANTS - 1);
                variants.push_front(Arc::new(Bytes::copy_from_slice(text)));
                other.map(|(_, like)| like).filter(|like| like.prefix + like.suffix >= SHORTEST)
            }
        }
    }
}

fn kind(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    let end = text.len() - ENDS.min(text.len());
    (text.len() / STEP, &text[..ENDS.min(text.len())], &text[end..]).hash(&mut hasher);
    hasher.finish()
}

/// How much of the beginning, and of the end after it, two texts have in common.
fn in_common(one: &[u8], other: &[u8]) -> (usize, usize) {
    let steps = one.chunks_exact(STEP).zip(other.chunks_exact(STEP)).take_while(|(a, b)| a == b).count();
    let mut prefix = steps * STEP;
    prefix += one[prefix..].iter().zip(&other[prefix..]).take_while(|(a, b)| a == b).count();
    let (one, other) = (&one[prefix..], &other[prefix..]);
    let steps = one.rchunks_exact(STEP).zip(other.rchunks_exact(STEP)).take_while(|(a, b)| a == b).count();
    let mut suffix = steps * STEP;
    let (one, other) = (&one[..one.len() - suffix], &other[..other.len() - suffix]);
    suffix += one.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| a == b).count();
    (prefix, suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(shape: usize, own: &str) -> Vec<u8> {
        format!("{}{own}{}{shape}{}", "begin".repeat(ENDS), "middle ".repeat(20), "end".repeat(ENDS))
            .into_bytes()
    }

    fn own(templates: &Templates, text: &[u8]) -> usize {
        text.len() - templates.like(text).map_or(0, |like| like.prefix + like.suffix)
    }

    #[test]
    fn what_resembles_a_text_seen_before_has_little_of_its_own() {
        let templates = Templates::default();
        assert!(templates.like(&text(0, "10.0.0.1")).is_none(), "the first of its shape");
        assert_eq!(own(&templates, &text(0, "10.0.0.2")), 1);
        assert_eq!(own(&templates, &text(0, "10.0.0.1")), 0);
        assert!(templates.like(b"short").is_none());
        // Several shapes of one kind are told apart once each was seen with a part of its own.
        for last in 0..VARIANTS {
            for shape in 0..VARIANTS {
                templates.like(&text(shape, &format!("10.0.0.{last}")));
            }
        }
        for shape in 0..VARIANTS {
            assert!(own(&templates, &text(shape, "10.0.0.9")) <= 8, "{shape}");
        }
    }

    #[test]
    fn the_number_of_templates_is_bounded() {
        let templates = Templates::default();
        for shape in 0..100 {
            templates.like(&text(shape, ""));
        }
        let mut held = Vec::new();
        for number in 0..3 * KINDS {
            let text = format!("{}{number:064}", "x".repeat(100));
            templates.like(text.as_bytes());
            held.extend(templates.like(text.as_bytes()));
        }
        let known = templates.0.lock().unwrap();
        assert!(known.len() <= KINDS && known.values().all(|variants| variants.len() <= VARIANTS));
    }
}
