//! One-time tokens: a session is requested over CRI, then claimed once over HTTP.
//!
//! Owns each requested session until the session is claimed or expires. Bounded. Never logs a token.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::backend::Stdio;

/// The session that a token leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Session {
    Exec { container: String, command: Vec<String>, stdio: Stdio },
    Attach { container: String, stdio: Stdio },
    PortForward { sandbox: String, ports: Vec<u16> },
}

/// Too many sessions wait to be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("maximum number of pending streaming requests exceeded")]
pub struct TooManyPending;

/// The sessions waiting to be claimed.
pub struct Tokens {
    lifetime: Duration,
    limit: usize,
    pending: Mutex<HashMap<String, (Session, Instant)>>,
}

impl Tokens {
    pub fn new(lifetime: Duration, limit: usize) -> Self {
        Self { lifetime, limit, pending: Mutex::default() }
    }

    /// A new token of 32 hexadecimal digits for `session`.
    pub fn issue(&self, session: Session) -> Result<String, TooManyPending> {
        let token = base::random::bytes::<16>().iter().map(|b| format!("{b:02x}")).collect::<String>();
        let now = Instant::now();
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.retain(|_, (_, expires)| *expires > now);
        if pending.len() >= self.limit {
            return Err(TooManyPending);
        }
        pending.insert(token.clone(), (session, now + self.lifetime));
        Ok(token)
    }

    /// Returns the session of a token and forgets the token.
    pub fn claim(&self, token: &str) -> Option<Session> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let (session, expires) = pending.remove(token)?;
        (expires > Instant::now()).then_some(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session::PortForward { sandbox: "s".to_owned(), ports: vec![] }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_works_once_and_not_for_long() -> Result<(), TooManyPending> {
        let tokens = Tokens::new(Duration::from_secs(60), 2);
        let token = tokens.issue(session())?;
        assert_eq!(tokens.claim("other"), None);
        assert_eq!(tokens.claim(&token), Some(session()));
        assert_eq!(tokens.claim(&token), None);
        let late = tokens.issue(session())?;
        tokens.issue(session())?;
        assert_eq!(tokens.issue(session()), Err(TooManyPending));
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(tokens.claim(&late), None);
        tokens.issue(session())?;
        Ok(())
    }
}
