//! What etcd keeps of the past: watches that are opened there, and the errors about revisions, which etcd leaves half said.

use store::{Error, Revision};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::connection::{CALL_PATIENCE, with_leader};
use crate::failure::Failure;
use crate::link::{Link, MAX_ANSWER_BYTES, signed, unsigned};
use crate::v3::watch_client::WatchClient;
use crate::v3::watch_request::RequestUnion;
use crate::v3::{RangeRequest, WatchCreateRequest, WatchRequest, WatchResponse};

/// A stream that etcd has confirmed, with its first answer.
pub(crate) struct Open {
    pub requests: mpsc::Sender<WatchRequest>,
    pub answers: Streaming<WatchResponse>,
    pub first: WatchResponse,
}

pub(crate) async fn open(link: &Link, prefix: &str, start: Revision) -> Result<Open, Failure> {
    let (key, range_end) = link.keys.range(prefix);
    let create = WatchCreateRequest {
        key,
        range_end,
        start_revision: signed(start),
        progress_notify: false,
        prev_kv: true,
        fragment: true,
    };
    link.repeatable(|channel| {
        let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create.clone())) };
        async move {
            let (requests, stream) = mpsc::channel(4);
            let gone = |_| tonic::Status::unavailable("the stream ended");
            requests.send(create).await.map_err(gone)?;
            let mut client = WatchClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
            let mut answers = client.watch(with_leader(ReceiverStream::new(stream))).await?.into_inner();
            let first = answers.message().await?;
            let first = first.ok_or_else(|| tonic::Status::unavailable("the stream ended"))?;
            Ok(Open { requests, answers, first })
        }
    })
    .await
}

/// The oldest revision that is kept: what etcd tells only a watch that begins before it.
async fn oldest(link: &Link) -> Result<Revision, Error> {
    let mut opened = open(link, "", 1).await.map_err(Failure::into_error)?;
    let mut answer = opened.first;
    loop {
        if answer.compact_revision > 0 {
            return Ok(unsigned(answer.compact_revision));
        }
        // Changes from the first revision on: nothing has been compacted.
        if !answer.events.is_empty() {
            return Ok(1);
        }
        answer = match tokio::time::timeout(CALL_PATIENCE, opened.answers.message()).await {
            Ok(Ok(Some(answer))) => answer,
            Ok(Ok(None)) => return Err(Error::Unavailable("etcd ended a watch".into())),
            Ok(Err(status)) => return Err(Failure::of(&status).into_error()),
            Err(_) => return Err(Error::Timeout("etcd does not say which history it keeps".into())),
        };
    }
}

/// Whether history after `revision` is there: [`Error::Compacted`] and [`Error::Future`] say that it is not.
pub(crate) async fn check_history(link: &Link, revision: Revision) -> Result<(), Error> {
    let key = link.keys.marker("");
    let revision = revision.max(1);
    let request =
        RangeRequest { key, revision: signed(revision), count_only: true, ..RangeRequest::default() };
    match link.range(request).await {
        Ok(_) => Ok(()),
        Err(failure) => Err(explain(link, failure, revision).await),
    }
}

/// The error of a call that named a revision; etcd's own says neither the oldest nor the current one.
pub(crate) async fn explain(link: &Link, failure: Failure, asked: Revision) -> Error {
    let (oldest, current) = match &failure {
        Failure::Compacted => match oldest(link).await {
            Ok(oldest) => (oldest, 0),
            Err(error) => return error,
        },
        Failure::Future => match link.revision().await {
            Ok(current) => (0, current),
            Err(error) => return error,
        },
        _ => (0, 0),
    };
    failure.about(asked, oldest, current)
}
