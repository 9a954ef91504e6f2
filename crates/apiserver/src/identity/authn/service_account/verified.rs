//! [`Verified`]: tokens whose signature is verified, so that the signature is checked once and not for every
//! request.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::bound::Seen;
use crate::request::User;

/// How many tokens are remembered; a few kilobytes each at most.
const CAPACITY: usize = 4096;

/// A token known to be well signed. Whether it is valid now is for the verifier to say.
pub(super) struct Token<C> {
    pub claims: C,
    pub user: Arc<User>,
    /// What its objects looked like last.
    pub seen: Mutex<Option<Seen>>,
    /// When it expires, in seconds since 1970.
    expires_s: i64,
    used: AtomicU64,
}

impl<C> Token<C> {
    pub(super) fn new(claims: C, user: Arc<User>, expires_s: i64) -> Self {
        Self { claims, user, seen: Mutex::default(), expires_s, used: AtomicU64::new(0) }
    }
}

/// Tokens by digest, at most [`CAPACITY`].
pub(super) struct Verified<C> {
    tokens: RwLock<HashMap<[u8; 32], Arc<Token<C>>>>,
    /// Counts uses: what was used longest ago goes first.
    uses: AtomicU64,
}

impl<C> Default for Verified<C> {
    fn default() -> Self {
        Self { tokens: RwLock::default(), uses: AtomicU64::new(0) }
    }
}

impl<C> Verified<C> {
    pub(super) fn get(&self, digest: &[u8; 32]) -> Option<Arc<Token<C>>> {
        let token = self.tokens.read().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()?;
        self.touch(&token);
        Some(token)
    }

    pub(super) fn insert(&self, digest: [u8; 32], token: Arc<Token<C>>, now_s: i64) {
        self.touch(&token);
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= CAPACITY {
            tokens.retain(|_, token| token.expires_s > now_s);
        }
        if tokens.len() >= CAPACITY {
            // A quarter goes at a time, so that this is rare.
            let mut uses: Vec<_> = tokens.values().map(|token| token.used.load(Ordering::Relaxed)).collect();
            let (_, limit, _) = uses.select_nth_unstable(CAPACITY / 4);
            let limit = *limit;
            tokens.retain(|_, token| token.used.load(Ordering::Relaxed) > limit);
        }
        tokens.insert(digest, token);
    }

    pub(super) fn remove(&self, digest: &[u8; 32]) {
        self.tokens.write().unwrap_or_else(PoisonError::into_inner).remove(digest);
    }

    fn touch(&self, token: &Token<C>) {
        token.used.store(self.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}
