//! [`Link`]: what all calls of a handle share, and the calls that the others are made of.

use std::future::Future;

use bytes::Bytes;
use store::{Error, KeyValue, Revision};
use tokio::sync::watch as signal;
use tonic::Status;
use tonic::transport::Channel;

use crate::config::{Progress, Translate};
use crate::connection::{Members, Repeat, with_leader};
use crate::failure::Failure;
use crate::keys::{self, Keys};
use crate::leases::Leases;
use crate::v3::kv_client::KvClient;
use crate::v3::{self, RangeRequest, RangeResponse, ResponseHeader, TxnRequest, TxnResponse};

/// The largest message that is read: a list's values may be large.
pub(crate) const MAX_ANSWER_BYTES: usize = i32::MAX as usize;
pub(crate) struct Link {
    pub members: Members,
    pub keys: Keys,
    pub translate: Option<Translate>,
    pub progress: Progress,
    pub leases: Leases,
    pub closed: signal::Sender<bool>,
    /// How often progress has been asked for.
    pub asked: signal::Sender<u64>,
    pub version: String,
}

pub(crate) fn kv(channel: Channel) -> KvClient<Channel> {
    KvClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES)
}

/// etcd counts in signed numbers, and never below zero where a revision is.
pub(crate) fn unsigned(revision: i64) -> Revision {
    u64::try_from(revision).unwrap_or(0)
}

pub(crate) fn signed(revision: Revision) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

pub(crate) fn revision_of(header: Option<&ResponseHeader>) -> Revision {
    header.map_or(0, |header| unsigned(header.revision))
}

impl Link {
    pub fn check_open(&self) -> Result<(), Error> {
        if *self.closed.borrow() { Err(Error::Closed) } else { Ok(()) }
    }

    /// Reads, as of now by the majority's word unless a revision is named.
    pub async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Failure> {
        self.repeatable(|channel| {
            let request = with_leader(request.clone());
            async move { kv(channel).range(request).await.map(tonic::Response::into_inner) }
        })
        .await
    }

    pub async fn repeatable<T, F>(&self, call: impl Fn(Channel) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Status>>,
    {
        self.members.call(Repeat::Safe, call).await
    }

    pub async fn revision(&self) -> Result<Revision, Error> {
        let key = self.keys.marker("");
        let request = RangeRequest { key, limit: 1, keys_only: true, ..RangeRequest::default() };
        let answer = self.range(request).await.map_err(Failure::into_error)?;
        Ok(revision_of(answer.header.as_ref()))
    }

    pub fn key_value(&self, kv: v3::KeyValue) -> Result<Option<KeyValue>, Error> {
        if keys::is_marker(&kv.key) {
            return Ok(None);
        }
        let Some(key) = self.keys.inside(&kv.key) else {
            tracing::warn!(key = %kv.key.escape_ascii(), "etcd holds a key that is no key of the store; it is not read");
            return Ok(None);
        };
        let value = self.value(&key, kv.value)?;
        let (create_revision, mod_revision) = (unsigned(kv.create_revision), unsigned(kv.mod_revision));
        Ok(Some(KeyValue { key, value, create_revision, mod_revision }))
    }

    fn value(&self, key: &str, value: Bytes) -> Result<Bytes, Error> {
        let Some(translate) = &self.translate else { return Ok(value) };
        translate(key, value).map_err(|reason| Error::Unreadable { key: key.into(), reason: reason.into() })
    }

    pub async fn txn(&self, repeat: Repeat, request: &TxnRequest) -> Result<TxnResponse, Failure> {
        let call = |channel| async move {
            let answer = kv(channel).txn(with_leader(request.clone())).await;
            answer.map(tonic::Response::into_inner)
        };
        self.members.call(repeat, call).await
    }
}
