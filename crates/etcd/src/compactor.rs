//! Forgetting history every five minutes, as upstream's API servers do, and together with them
//! (`k8s.io/apiserver/pkg/storage/etcd3/compact.go`): whichever server's turn comes first raises the version of one key;
//! the others find it raised and wait anew. So history is kept for five to ten minutes, however many servers there are.

use std::time::Duration;

use base::Shutdown;
use bytes::Bytes;
use store::{Revision, Store};

use crate::Etcd;
use crate::connection::Repeat;
use crate::failure::Failure;
use crate::link::revision_of;
use crate::v3::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::v3::request_op::Request;
use crate::v3::response_op::Response;
use crate::v3::{Compare, PutRequest, RangeRequest, RequestOp, TxnRequest};

/// Upstream's key, beside the prefix.
const KEY: &str = "compact_rev_key";
/// Upstream's default (`--etcd-compaction-interval`).
pub const INTERVAL: Duration = Duration::from_secs(300);

/// What a server knows from its last turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turn {
    /// The key's version.
    version: i64,
    /// The revision then: history before it may go at the next turn. 0 before the first.
    revision: Revision,
}

impl Etcd {
    /// Forgets old history until shutdown.
    pub async fn compactor(self, interval: Duration, shutdown: Shutdown) {
        let mut turn = Turn::default();
        loop {
            tokio::select! {
                () = shutdown.started() => return,
                () = tokio::time::sleep(interval) => {}
            }
            match self.take_turn(turn).await {
                Ok(next) => turn = next,
                Err(store::Error::Closed) => return,
                Err(error) => {
                    tracing::warn!(%error, "history in etcd could not be compacted; it is tried again")
                }
            }
        }
    }

    /// One turn of the compactor; returns what the next one begins with.
    ///
    /// # Errors
    /// The store's; the turn is to be taken again then.
    pub async fn take_turn(&self, turn: Turn) -> Result<Turn, store::Error> {
        self.link.check_open()?;
        let key = Bytes::from_static(KEY.as_bytes());
        let op = |request| RequestOp { request: Some(request) };
        let value = turn.revision.to_string().into();
        let request = TxnRequest {
            compare: vec![Compare {
                result: CompareResult::Equal.into(),
                target: CompareTarget::Version.into(),
                key: key.clone(),
                target_union: Some(TargetUnion::Version(turn.version)),
            }],
            success: vec![op(Request::RequestPut(PutRequest { key: key.clone(), value, lease: 0 }))],
            failure: vec![op(Request::RequestRange(RangeRequest { key, ..RangeRequest::default() }))],
        };
        let answer = self.link.txn(Repeat::Unsafe, &request).await.map_err(Failure::into_error)?;
        let revision = revision_of(answer.header.as_ref());
        if answer.succeeded {
            if turn.revision > 0 {
                self.compact(turn.revision).await?;
                tracing::debug!(revision = turn.revision, "history in etcd is compacted");
            }
            return Ok(Turn { version: turn.version + 1, revision });
        }
        // Another server was first: its turn counts.
        let version = answer.responses.into_iter().find_map(|response| match response.response {
            Some(Response::ResponseRange(range)) => range.kvs.first().map(|kv| kv.version),
            _ => None,
        });
        Ok(Turn { version: version.unwrap_or(0), revision })
    }
}
