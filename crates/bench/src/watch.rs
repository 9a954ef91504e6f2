//! Watches, read line by line.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use serde_json::Value;

use crate::connection::{Connection, Request, Target};

/// Nothing that is watched for may take longer.
const PATIENCE: Duration = Duration::from_secs(400);

/// An open watch.
pub struct Watch {
    _connection: Connection,
    lines: Lines,
}

/// A body that is read line by line.
pub struct Lines {
    body: Incoming,
    /// What has come and is no whole line yet.
    rest: BytesMut,
}

impl Lines {
    pub fn new(body: Incoming) -> Self {
        Self { body, rest: BytesMut::new() }
    }

    /// The next line's bytes.
    ///
    /// # Errors
    /// When the body ends or breaks off.
    pub async fn next(&mut self) -> Result<BytesMut> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.rest[searched..].iter().position(|byte| *byte == b'\n') {
                return Ok(self.rest.split_to(searched + end + 1));
            }
            searched = self.rest.len();
            let frame = self.body.frame().await.context("the watch ended")??;
            if let Ok(data) = frame.into_data() {
                self.rest.extend_from_slice(&data);
            }
        }
    }
}

impl Watch {
    /// Opens a watch; it sees what happens from here on, and first what is there unless `path` names a revision.
    pub async fn open(target: &Target, path: &str) -> Result<Self> {
        let mut connection = target.connect().await?;
        let separator = if path.contains('?') { '&' } else { '?' };
        let request = Request::plain(Method::GET, format!("{path}{separator}watch=1&timeoutSeconds=1200"));
        let body = connection.send(request).await?;
        Ok(Self { _connection: connection, lines: Lines::new(body) })
    }

    /// The next event's bytes.
    pub async fn line(&mut self) -> Result<BytesMut> {
        self.lines.next().await
    }

    /// Reads events until one will do.
    ///
    /// # Errors
    /// When none comes in time.
    pub async fn until(&mut self, mut enough: impl FnMut(&Value) -> bool) -> Result<()> {
        let search = async {
            loop {
                let event: Value = serde_json::from_slice(&self.line().await?)?;
                if event["type"] == "ERROR" {
                    bail!("the watch failed: {event}");
                }
                if enough(&event) {
                    return Ok(());
                }
            }
        };
        tokio::time::timeout(PATIENCE, search).await.context("what was waited for did not happen")?
    }
}
