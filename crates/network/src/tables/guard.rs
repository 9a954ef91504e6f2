//! [`Guard`]: hears that somebody else has changed an agent's table.

use std::io;

use nft::Events;
use tokio::io::unix::AsyncFd;

use super::Line;
use crate::listening;

/// A subscription to changes of tables, once there is something to wait for.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    events: Option<AsyncFd<Events>>,
}

impl Guard {
    /// Waits until somebody else than the agent changes or removes the agent's table. To be called first once the table
    /// is complete: the kernel would tell of each element. Cancellation safe.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn touched(&mut self, line: &Line) -> io::Result<()> {
        let events = match &mut self.events {
            Some(events) => events,
            None => {
                let new = self.events.insert(listening::subscribe()?);
                if !line.has_table()? {
                    return Ok(());
                }
                new
            }
        };
        loop {
            let mut ready = events.readable().await?;
            let is_touched = line.is_touched(ready.get_inner())?;
            ready.clear_ready();
            if is_touched {
                return Ok(());
            }
        }
    }
}
