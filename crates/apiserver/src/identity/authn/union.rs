//! Several authenticators as one: the first that knows the user decides.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::authenticator::{Authenticator, Credentials, ReviewedToken};
use crate::eventual::{Eventual, in_turn};
use crate::request::User;

/// Asks in order. Credentials that are wrong for one may be right for another, so an error counts only when
/// nobody knows the user.
pub struct Union(pub Vec<Arc<dyn Authenticator>>);

impl Authenticator for Union {
    fn authenticate<'a>(
        &'a self,
        credentials: &'a Credentials<'_>,
    ) -> Eventual<'a, Result<Option<Arc<User>>, api::Error>> {
        in_turn(self.0.iter(), None, |authenticator| authenticator.authenticate(credentials), first)
            .map(result)
    }

    fn review_token<'a>(
        &'a self,
        token: &'a str,
        audiences: &'a [String],
    ) -> Eventual<'a, Result<Option<ReviewedToken>, String>> {
        let ask = |authenticator: &'a Arc<dyn Authenticator>| authenticator.review_token(token, audiences);
        in_turn(self.0.iter(), None, ask, first).map(result)
    }
}

/// An authenticator whose tokens say nothing that it looks at of whom they are for: they are for the API server, and
/// nobody who is reached under another name is told that they are for him.
pub struct ForTheApi<A> {
    pub inner: A,
    /// The names of the API server.
    pub audiences: Vec<String>,
}

impl<A: Authenticator> Authenticator for ForTheApi<A> {
    fn authenticate<'a>(
        &'a self,
        credentials: &'a Credentials<'_>,
    ) -> Eventual<'a, Result<Option<Arc<User>>, api::Error>> {
        self.inner.authenticate(credentials)
    }

    fn review_token<'a>(
        &'a self,
        token: &'a str,
        audiences: &'a [String],
    ) -> Eventual<'a, Result<Option<ReviewedToken>, String>> {
        let fitting: Vec<String> = match audiences {
            [] => self.audiences.clone(),
            some => self.audiences.iter().filter(|own| some.contains(own)).cloned().collect(),
        };
        if fitting.is_empty() {
            return Ok(None).into();
        }
        Eventual::later(async move {
            let known = self.inner.review_token(token, &[]).await?;
            Ok(known.map(|known| ReviewedToken { audiences: fitting, ..known }))
        })
    }
}

/// Breaks off with what is known; remembers the first refusal.
fn first<T, E>(refused: Option<E>, answer: Result<Option<T>, E>) -> ControlFlow<T, Option<E>> {
    match answer {
        Ok(None) => ControlFlow::Continue(refused),
        Ok(Some(known)) => ControlFlow::Break(known),
        Err(error) => ControlFlow::Continue(refused.or(Some(error))),
    }
}

fn result<T, E>(flow: ControlFlow<T, Option<E>>) -> Result<Option<T>, E> {
    match flow {
        ControlFlow::Break(known) => Ok(Some(known)),
        ControlFlow::Continue(refused) => refused.map_or(Ok(None), Err),
    }
}
