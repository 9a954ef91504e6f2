//! [`Line`]: by which an agent tells the kernel of its table. Blocks.

use std::io;

use nft::{Batch, Events, Family, Sender};

/// How often a table is read again that others change at the same time.
const READINGS: usize = 5;

/// The socket of an agent's transactions, by which its own changes are told from others'.
#[derive(Debug)]
pub(crate) struct Line {
    table: String,
    sender: Option<Sender>,
}

impl Line {
    /// A line of the agent of `table`. It is opened when something is sent.
    pub fn new(table: &str) -> Self {
        Self { table: table.to_owned(), sender: None }
    }

    /// Sends a transaction, and waits for the kernel's verdict.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn send(&mut self, batch: Batch) -> io::Result<()> {
        let sender = match self.sender.take() {
            Some(sender) => sender,
            None => Sender::open()?,
        };
        batch.send_by(&sender)?;
        // After an error its answers are not of use to anybody.
        self.sender = Some(sender);
        Ok(())
    }

    /// Whether somebody else has changed the table, by what has come.
    ///
    /// # Errors
    /// When the subscription breaks.
    pub fn is_touched(&self, events: &Events) -> io::Result<bool> {
        let own = self.sender.as_ref().map(Sender::port).transpose()?;
        events.concern(&self.table, own.unwrap_or(0))
    }

    /// Whether the table is there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn has_table(&self) -> io::Result<bool> {
        Ok(nft::tables(Family::Ipv4, &self.table)?.contains(&self.table))
    }
}

/// What `read` returns once nothing has changed while it read, or its last result.
pub(crate) fn read_whole<T>(mut read: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut result = read();
    for _ in 1..READINGS {
        match &result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => result = read(),
            _ => break,
        }
    }
    result
}
