//! Writes: transactions that compare the key's last revision, and tell its state where it is not as expected.

use bytes::Bytes;
use store::{Deletion, Error, Expect, KeyValue, Previous, Revision};

use crate::connection::{Repeat, with_leader};
use crate::failure::Failure;
use crate::link::{Link, revision_of, signed, unsigned};
use crate::v3::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::v3::lease_client::LeaseClient;
use crate::v3::request_op::Request;
use crate::v3::response_op::Response;
use crate::v3::{
    self, Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, RequestOp, ResponseOp,
    TxnRequest, TxnResponse,
};

/// The largest key and value together, in bytes: what etcd takes unless it is told otherwise (`--max-request-bytes`).
const LIMIT_BYTES: usize = 3 << 19;

fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

/// What [`Expect`] demands, as a comparison; an absent key's revision is 0.
fn compare(key: &Bytes, expect: Expect) -> Vec<Compare> {
    let revision = match expect {
        Expect::Anything => return Vec::new(),
        Expect::Absent => 0,
        Expect::Revision(revision) => signed(revision),
    };
    vec![Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: key.clone(),
        target_union: Some(TargetUnion::ModRevision(revision)),
    }]
}

fn read(key: &Bytes, keys_only: bool) -> RequestOp {
    op(Request::RequestRange(RangeRequest { key: key.clone(), keys_only, ..RangeRequest::default() }))
}

impl Link {
    /// Says that the key is not as expected, and how it is.
    fn conflict(&self, answer: TxnResponse) -> Error {
        let current = ranged(answer.responses).map(|kv| self.key_value(kv)).transpose();
        match current {
            Ok(current) => Error::Conflict { current: current.flatten() },
            Err(error) => error,
        }
    }
}

/// What the read of a transaction found.
fn ranged(responses: Vec<ResponseOp>) -> Option<v3::KeyValue> {
    responses.into_iter().find_map(|response| match response.response {
        Some(Response::ResponseRange(range)) => range.kvs.into_iter().next(),
        _ => None,
    })
}

/// A new lease that lasts `ttl_s`.
async fn grant(link: &Link, ttl_s: u64) -> Result<i64, Error> {
    let request = LeaseGrantRequest { ttl: i64::try_from(ttl_s).unwrap_or(i64::MAX), id: 0 };
    let grant = link.repeatable(|channel| async move {
        let answer = LeaseClient::new(channel).lease_grant(with_leader(request)).await;
        answer.map(tonic::Response::into_inner)
    });
    // One that nobody learns of ends by itself; and the key is not written yet, whatever became of it.
    let answer = grant.await.map_err(|failure| match failure {
        Failure::Open(text) => Error::Unavailable(text.into()),
        other => other.into_error(),
    })?;
    if answer.error.is_empty() { Ok(answer.id) } else { Err(Error::Unavailable(answer.error.into())) }
}

pub(crate) async fn put(
    link: &Link,
    key: &str,
    value: Bytes,
    expect: Expect,
    ttl_s: Option<u64>,
) -> Result<KeyValue, Error> {
    let outside = link.keys.outside(key);
    let mut request = TxnRequest {
        compare: compare(&outside, expect),
        success: Vec::new(),
        failure: vec![read(&outside, false)],
    };
    let mut renewed = false;
    let answer = loop {
        let lease = match ttl_s {
            Some(ttl_s) => link.leases.lease(ttl_s, |granted_s| grant(link, granted_s)).await?,
            None => 0,
        };
        let put = PutRequest { key: outside.clone(), value: value.clone(), lease };
        // The read after the write tells when the key was made.
        request.success = vec![op(Request::RequestPut(put)), read(&outside, true)];
        match link.txn(Repeat::Unsafe, &request).await {
            Ok(answer) => break answer,
            // Somebody revoked it. Nothing was written, and another lease will do.
            Err(Failure::LeaseNotFound) if !renewed => {
                renewed = true;
                link.leases.forget(lease).await;
            }
            Err(Failure::TooLarge) => return Err(too_large(key.len() + value.len())),
            Err(failure) => return Err(failure.into_error()),
        }
    };
    if !answer.succeeded {
        return Err(link.conflict(answer));
    }
    let mod_revision = revision_of(answer.header.as_ref());
    let create_revision =
        ranged(answer.responses).map_or(mod_revision, |written| unsigned(written.create_revision));
    Ok(KeyValue { key: key.into(), value, create_revision, mod_revision })
}

pub(crate) async fn delete(
    link: &Link,
    key: &str,
    expect: Expect,
    wanted: Previous,
) -> Result<Deletion, Error> {
    let outside = link.keys.outside(key);
    let prev_kv = wanted == Previous::Wanted;
    let delete = DeleteRangeRequest { key: outside.clone(), prev_kv, ..DeleteRangeRequest::default() };
    let request = TxnRequest {
        compare: compare(&outside, expect),
        success: vec![op(Request::RequestDeleteRange(delete))],
        failure: vec![read(&outside, false)],
    };
    let answer = link.txn(Repeat::Unsafe, &request).await.map_err(Failure::into_error)?;
    if !answer.succeeded {
        return Err(link.conflict(answer));
    }
    let revision = revision_of(answer.header.as_ref());
    let deleted = answer.responses.into_iter().find_map(|response| match response.response {
        Some(Response::ResponseDeleteRange(deleted)) => Some(deleted),
        _ => None,
    });
    let deleted = deleted.unwrap_or_default();
    let previous = deleted.prev_kvs.into_iter().next().map(|kv| link.key_value(kv)).transpose()?.flatten();
    Ok(Deletion { existed: deleted.deleted > 0, previous, revision })
}

/// Writes the key whose change marks progress below `prefix`; returns the change's revision.
pub(crate) async fn mark(link: &Link, prefix: &str) -> Result<Revision, Error> {
    let put = PutRequest { key: link.keys.marker(prefix), ..PutRequest::default() };
    let request = TxnRequest { success: vec![op(Request::RequestPut(put))], ..TxnRequest::default() };
    // Twice does no harm.
    let answer = link.txn(Repeat::Safe, &request).await.map_err(Failure::into_error)?;
    Ok(revision_of(answer.header.as_ref()))
}

pub(crate) fn check_size(bytes: usize) -> Result<(), Error> {
    if bytes > LIMIT_BYTES { Err(Error::TooLarge { bytes, limit: LIMIT_BYTES }) } else { Ok(()) }
}

/// etcd's own limit, which counts what is around key and value too.
fn too_large(bytes: usize) -> Error {
    Error::TooLarge { bytes, limit: LIMIT_BYTES.min(bytes.saturating_sub(1)) }
}
