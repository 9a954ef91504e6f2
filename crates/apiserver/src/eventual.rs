//! [`Eventual`]: a result that is ready, or a future of the result.
//!
//! The steps of the pipeline that may do IO (authentication, authorization, admission, conversion) return an `Eventual`.
//! A step that decides from memory costs no allocation and no poll of the executor; a step that calls a webhook returns
//! [`Eventual::Later`]. [`in_turn`] runs several steps one after another.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;

/// An answer that is at hand, or one to wait for. `.await` takes either.
#[must_use = "an answer that nobody waits for is never made"]
pub enum Eventual<'a, T> {
    Now(T),
    Later(BoxFuture<'a, T>),
}

impl<'a, T> Eventual<'a, T> {
    /// The answer of a future.
    pub fn later(future: impl Future<Output = T> + Send + 'a) -> Self {
        Self::Later(Box::pin(future))
    }

    /// Changes the answer, at once where it is at hand.
    pub fn map<U>(self, change: impl FnOnce(T) -> U + Send + 'a) -> Eventual<'a, U>
    where
        T: 'a,
    {
        match self {
            Self::Now(answer) => Eventual::Now(change(answer)),
            Self::Later(future) => Eventual::later(async move { change(future.await) }),
        }
    }

    /// The answer, if it is at hand.
    pub fn now(self) -> Option<T> {
        match self {
            Self::Now(answer) => Some(answer),
            Self::Later(_) => None,
        }
    }
}

impl<T> From<T> for Eventual<'_, T> {
    fn from(answer: T) -> Self {
        Self::Now(answer)
    }
}

impl<T: fmt::Debug> fmt::Debug for Eventual<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(answer) => f.debug_tuple("Now").field(answer).finish(),
            Self::Later(_) => f.write_str("Later(..)"),
        }
    }
}

impl<'a, T> IntoFuture for Eventual<'a, T> {
    type Output = T;
    type IntoFuture = Waiting<'a, T>;

    fn into_future(self) -> Waiting<'a, T> {
        match self {
            Self::Now(answer) => Waiting(State::Ready(Some(answer))),
            Self::Later(future) => Waiting(State::Pending(future)),
        }
    }
}

/// The future of an [`Eventual`].
pub struct Waiting<'a, T>(State<'a, T>);

enum State<'a, T> {
    Ready(Option<T>),
    Pending(BoxFuture<'a, T>),
}

// The answer is moved out, never pinned.
impl<T> Unpin for Waiting<'_, T> {}

impl<T> Future for Waiting<'_, T> {
    type Output = T;

    /// # Panics
    /// When polled after it was ready, as all futures may.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match &mut self.get_mut().0 {
            State::Ready(answer) => Poll::Ready(answer.take().expect("polled after it was ready")),
            State::Pending(future) => Poll::Ready(ready!(future.as_mut().poll(cx))),
        }
    }
}

/// Asks one item after another until `judge` breaks off; `state` goes from answer to answer. Allocates nothing
/// as long as the answers are at hand: the first that is not boxes the rest of the way.
pub fn in_turn<'a, I, S, A, B>(
    items: I,
    mut state: S,
    mut ask: impl FnMut(I::Item) -> Eventual<'a, A> + Send + 'a,
    mut judge: impl FnMut(S, A) -> ControlFlow<B, S> + Send + 'a,
) -> Eventual<'a, ControlFlow<B, S>>
where
    I: Iterator + Send + 'a,
    I::Item: Send + 'a,
    S: Send + 'a,
    A: Send + 'a,
    B: Send + 'a,
{
    let mut items = items;
    while let Some(item) = items.next() {
        let waiting = match ask(item) {
            Eventual::Later(waiting) => waiting,
            Eventual::Now(answer) => match judge(state, answer) {
                ControlFlow::Continue(next) => {
                    state = next;
                    continue;
                }
                decided @ ControlFlow::Break(_) => return Eventual::Now(decided),
            },
        };
        return Eventual::later(async move {
            let mut state = judge(state, waiting.await)?;
            for item in items {
                state = judge(state, ask(item).await)?;
            }
            ControlFlow::Continue(state)
        });
    }
    Eventual::Now(ControlFlow::Continue(state))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// 1, 2, 3 …: those above `slow` come later.
    fn number(n: u32, slow: u32) -> Eventual<'static, u32> {
        if n <= slow {
            return n.into();
        }
        Eventual::later(async move {
            tokio::task::yield_now().await;
            n
        })
    }

    fn sum_until(limit: u32, slow: u32) -> Eventual<'static, ControlFlow<u32, u32>> {
        in_turn(
            1..=4,
            0,
            move |n| number(n, slow),
            move |sum, n| {
                let sum = sum + n;
                if sum >= limit { ControlFlow::Break(sum) } else { ControlFlow::Continue(sum) }
            },
        )
    }

    #[test]
    fn what_is_at_hand_is_taken_at_once() {
        assert_eq!(number(1, 9).map(|n| n + 1).now(), Some(2));
        assert_eq!(number(1, 0).map(|n| n + 1).now(), None);
        assert_eq!(sum_until(100, 4).now(), Some(ControlFlow::Continue(10)));
        assert_eq!(sum_until(3, 2).now(), Some(ControlFlow::Break(3)));
        assert!(sum_until(100, 3).now().is_none());
        assert_eq!(number(1, 1).into_future().now_or_never(), Some(1));
    }

    #[tokio::test]
    async fn what_comes_later_is_the_same() {
        for slow in 0..=4 {
            assert_eq!(sum_until(100, slow).await, ControlFlow::Continue(10));
            assert_eq!(sum_until(3, slow).await, ControlFlow::Break(3));
        }
        assert_eq!(number(7, 0).map(|n| n + 1).await, 8);
    }
}
