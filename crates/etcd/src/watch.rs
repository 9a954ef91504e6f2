//! Watches: a gRPC stream each, so that what is said of progress on a stream concerns its one watch.
//!
//! [`Following`] turns etcd's answers into the store's items. It works while somebody waits for the next item, and has
//! no task of its own.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use store::{Change, Error, Revision, Watch, WatchItem};
use tokio::sync::mpsc;
use tokio::sync::watch as signal;
use tonic::Streaming;

use crate::config::Progress;
use crate::failure::Failure;
use crate::history;
use crate::keys;
use crate::link::{Link, revision_of, unsigned};
use crate::v3::event::EventType;
use crate::v3::watch_request::RequestUnion;
use crate::v3::{Event, WatchProgressRequest, WatchRequest, WatchResponse};
use crate::write;

/// How long changes are waited for before progress is asked for (again), as upstream's.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long after a failure progress is asked for again, while the watch itself goes on.
const RETRY: Duration = Duration::from_secs(1);

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pub(crate) async fn start(link: Arc<Link>, prefix: &str, after: Revision) -> Result<Watch, Error> {
    let asked = link.asked.subscribe();
    let closed = link.closed.subscribe();
    let opened = history::open(&link, prefix, after + 1).await.map_err(Failure::into_error)?;
    if opened.first.canceled {
        return Err(canceled(&link, &opened.first, after).await);
    }
    history::check_history(&link, after).await?;
    let begun = revision_of(opened.first.header.as_ref());
    let following = Following {
        prefix: prefix.to_owned(),
        requests: opened.requests,
        answers: opened.answers,
        seen: after,
        replayed: (after < begun).then_some(after),
        held: Vec::new(),
        ready: VecDeque::new(),
        prompt: Prompt::Idle,
        asked,
        closed,
        link,
    };
    Ok(futures::stream::unfold(Some(following), |following| async {
        let mut following = following?;
        let item = following.next().await;
        let next = item.is_ok().then_some(following);
        Some((item, next))
    })
    .boxed())
}

/// Why etcd ended a watch.
async fn canceled(link: &Link, answer: &WatchResponse, seen: Revision) -> Error {
    if answer.compact_revision > 0 {
        return Error::Compacted { asked: seen, oldest: unsigned(answer.compact_revision) };
    }
    match answer.cancel_reason.as_str() {
        "" => Error::Unavailable("etcd ended the watch".into()),
        reason if reason.contains("required revision has been compacted") => {
            history::explain(link, Failure::Compacted, seen).await
        }
        reason => Error::Unavailable(format!("etcd ended the watch: {reason}").into()),
    }
}

/// How far asking for progress has come.
enum Prompt {
    Idle,
    /// Up to where the watch is to come.
    Target(Boxed<Result<Revision, Error>>),
    /// Changes may come that far by themselves.
    Wait {
        target: Revision,
        until: Pin<Box<tokio::time::Sleep>>,
    },
    Mark {
        target: Revision,
        written: Boxed<Result<Revision, Error>>,
    },
    Later(Pin<Box<tokio::time::Sleep>>),
}

/// What ends a step of a prompt.
enum Step {
    Target(Result<Revision, Error>),
    Waited(Revision),
    Marked(Revision, Result<Revision, Error>),
    Again,
}

impl Prompt {
    fn wait(target: Revision, patience: Duration) -> Self {
        Self::Wait { target, until: Box::pin(tokio::time::sleep(patience)) }
    }

    /// Cancellation safe.
    async fn step(&mut self) -> Step {
        match self {
            Self::Idle => pending().await,
            Self::Target(revision) => Step::Target(revision.await),
            Self::Wait { target, until } => {
                until.await;
                Step::Waited(*target)
            }
            Self::Mark { target, written } => Step::Marked(*target, written.await),
            Self::Later(until) => {
                until.await;
                Step::Again
            }
        }
    }
}

async fn ended(closed: &mut signal::Receiver<bool>) {
    // The handle is gone only after its watches, which hold it too.
    let _ = closed.wait_for(|closed| *closed).await;
}

/// One watch.
struct Following {
    link: Arc<Link>,
    prefix: String,
    requests: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
    /// Up to where everything has been taken in.
    seen: Revision,
    /// Where the watch began, until it is known that the history after it was whole when it was read.
    replayed: Option<Revision>,
    /// Events of a revision whose last ones may be still to come.
    held: Vec<Event>,
    ready: VecDeque<WatchItem>,
    prompt: Prompt,
    asked: signal::Receiver<u64>,
    closed: signal::Receiver<bool>,
}

impl Following {
    async fn next(&mut self) -> Result<WatchItem, Error> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(item);
            }
            let idle = matches!(self.prompt, Prompt::Idle);
            tokio::select! {
                biased;
                () = ended(&mut self.closed) => return Err(Error::Closed),
                answer = self.answers.next() => match answer {
                    Some(Ok(answer)) => self.take(answer).await?,
                    Some(Err(status)) => return Err(Failure::of(&status).into_error()),
                    None => return Err(Error::Unavailable("etcd ended the watch".into())),
                },
                Ok(()) = self.asked.changed(), if idle => self.ask(),
                step = self.prompt.step() => self.go_on(step),
            }
        }
    }

    fn ask(&mut self) {
        let link = self.link.clone();
        self.prompt = Prompt::Target(Box::pin(async move { link.revision().await }));
    }

    fn go_on(&mut self, step: Step) {
        match step {
            Step::Target(Ok(target)) | Step::Marked(target, Ok(_)) if self.seen >= target => self.arrive(),
            Step::Target(Ok(target)) => {
                let patience = match self.link.progress {
                    Progress::Asked => Duration::ZERO,
                    Progress::Marked => PATIENCE,
                };
                self.prompt = Prompt::wait(target, patience);
            }
            Step::Waited(target) => match self.link.progress {
                Progress::Asked => {
                    let progress = RequestUnion::ProgressRequest(WatchProgressRequest {});
                    // A full queue holds such requests already; a closed one is the end that the answers tell of.
                    let _ = self.requests.try_send(WatchRequest { request_union: Some(progress) });
                    self.prompt = Prompt::wait(target, PATIENCE);
                }
                Progress::Marked => {
                    let (link, prefix) = (self.link.clone(), self.prefix.clone());
                    let written = Box::pin(async move { write::mark(&link, &prefix).await });
                    self.prompt = Prompt::Mark { target, written };
                }
            },
            Step::Marked(target, Ok(_)) => self.prompt = Prompt::wait(target, RETRY),
            Step::Target(Err(error)) | Step::Marked(_, Err(error)) => {
                tracing::debug!(%error, "a watch cannot learn how far etcd has come");
                self.prompt = Prompt::Later(Box::pin(tokio::time::sleep(RETRY)));
            }
            Step::Again => self.ask(),
        }
    }

    /// Who asked for progress learns of it.
    fn arrive(&mut self) {
        self.prompt = Prompt::Idle;
        self.ready.push_back(WatchItem::Progress(self.seen));
    }

    async fn take(&mut self, answer: WatchResponse) -> Result<(), Error> {
        if answer.canceled {
            return Err(canceled(&self.link, &answer, self.seen).await);
        }
        if answer.events.is_empty() && !answer.fragment && self.held.is_empty() {
            return self.take_progress(&answer).await;
        }
        self.verify().await?;
        self.held.extend(answer.events);
        let last = self.held.last().map(event_revision);
        let whole = match last {
            // More of the last revision may follow.
            Some(last) if answer.fragment => self.held.partition_point(|event| event_revision(event) < last),
            _ => self.held.len(),
        };
        let rest = self.held.split_off(whole);
        let events = std::mem::replace(&mut self.held, rest);
        if let Some(last) = events.last().map(event_revision) {
            match self.deliver(events) {
                Ok(()) => self.seen = last,
                // How much, etcd does not say with the event.
                Err(Error::Compacted { asked, .. }) => {
                    return Err(history::explain(&self.link, Failure::Compacted, asked).await);
                }
                Err(other) => return Err(other),
            }
            self.settle();
        }
        Ok(())
    }

    /// Ends a prompt that changes have answered.
    fn settle(&mut self) {
        if let Prompt::Wait { target, .. } | Prompt::Mark { target, .. } = self.prompt
            && self.seen >= target
        {
            self.arrive();
        }
    }

    async fn take_progress(&mut self, answer: &WatchResponse) -> Result<(), Error> {
        let upto = revision_of(answer.header.as_ref());
        if self.link.progress == Progress::Asked && !answer.created && upto > self.seen {
            self.verify().await?;
            self.seen = upto;
            self.settle();
        }
        Ok(())
    }

    /// History that was forgotten while etcd read it may lack a deletion, without an error: if what lies where the
    /// watch began is still there now, nothing was lacking before.
    async fn verify(&mut self) -> Result<(), Error> {
        if let Some(began) = self.replayed {
            history::check_history(&self.link, began).await?;
            self.replayed = None;
        }
        Ok(())
    }

    fn deliver(&mut self, events: Vec<Event>) -> Result<(), Error> {
        let upto = events.last().map_or(self.seen, event_revision);
        let mut changes = Vec::with_capacity(events.len());
        for event in events {
            changes.extend(self.change(event)?);
        }
        // Only markers.
        let shown = changes.last().map_or(0, |change: &Arc<Change>| change.revision);
        if !changes.is_empty() {
            self.ready.push_back(WatchItem::Changes(changes));
        }
        if shown < upto {
            self.ready.push_back(WatchItem::Progress(upto));
        }
        Ok(())
    }

    fn change(&self, event: Event) -> Result<Option<Arc<Change>>, Error> {
        let deleted = event.r#type() == EventType::Delete;
        let Some(kv) = event.kv else { return Ok(None) };
        if keys::is_marker(&kv.key) {
            return Ok(None);
        }
        let revision = unsigned(kv.mod_revision);
        let made = kv.create_revision == kv.mod_revision;
        let previous = event.prev_kv.map(|kv| self.link.key_value(kv)).transpose()?.flatten();
        if previous.is_none() && (deleted || !made) && self.link.keys.inside(&kv.key).is_some() {
            // What was there before has been forgotten since.
            return Err(Error::Compacted { asked: self.seen, oldest: revision });
        }
        if deleted {
            let Some(previous) = previous else { return Ok(None) };
            let (key, create_revision) = (previous.key.clone(), previous.create_revision);
            let previous = Some(previous);
            return Ok(Some(Arc::new(Change { revision, key, value: None, create_revision, previous })));
        }
        let now = self.link.key_value(kv)?;
        Ok(now.map(|now| {
            let (key, create_revision) = (now.key, now.create_revision);
            Arc::new(Change { revision, key, value: Some(now.value), create_revision, previous })
        }))
    }
}

fn event_revision(event: &Event) -> Revision {
    event.kv.as_ref().map_or(0, |kv| unsigned(kv.mod_revision))
}
