//! The terminal that a command in a container gets: its raw mode, and its size as it changes.

use std::io::IsTerminal;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// Whether standard input is a terminal.
pub fn is_input() -> bool {
    std::io::stdin().is_terminal()
}

/// The terminal passes on each key as it is, until this is dropped.
pub struct Raw {
    before: Termios,
}

impl Raw {
    /// # Errors
    /// When standard input is no terminal.
    pub fn enter() -> Result<Self, Failure> {
        let failed = |e: rustix::io::Errno| Failure::message(format!("the terminal cannot be used: {e}"));
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw).map_err(failed)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that has gone away needs nothing.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// The sizes of the terminal, in columns and rows: those that are given first, then each change.
pub struct Sizes {
    first: Vec<(u16, u16)>,
    changes: Signal,
}

impl Sizes {
    /// `redraw`: a size larger by one goes before, so that what runs draws its screen again.
    ///
    /// Made within the client's runtime.
    ///
    /// # Errors
    /// When changes cannot be followed.
    pub fn follow(redraw: bool) -> Result<Self, Failure> {
        let changes = signal(SignalKind::window_change()).map_err(|e| Failure::message(e.to_string()))?;
        let mut first: Vec<(u16, u16)> = size().into_iter().collect();
        if redraw {
            first.extend(size().map(|(width, height)| (width.saturating_add(1), height.saturating_add(1))));
        }
        Ok(Self { first, changes })
    }

    /// Cancel safe.
    pub async fn next(&mut self) -> (u16, u16) {
        if let Some(size) = self.first.pop() {
            return size;
        }
        loop {
            if self.changes.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
            if let Some(size) = size() {
                return size;
            }
        }
    }
}

fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// Ends when somebody asks the program to end, so that the terminal is left as it was.
///
/// # Errors
/// When signals cannot be followed.
pub async fn asked_to_end() -> Result<(), Failure> {
    let follow = |kind| signal(kind).map_err(|e| Failure::message(e.to_string()));
    let (mut terminate, mut hang_up, mut quit, mut interrupt) = (
        follow(SignalKind::terminate())?,
        follow(SignalKind::hangup())?,
        follow(SignalKind::quit())?,
        follow(SignalKind::interrupt())?,
    );
    tokio::select! {
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
        _ = quit.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
