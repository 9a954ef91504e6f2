//! The recorder of Kubernetes Events: what happened to an object, in upstream's words.
//!
//! [`Recorder::event`] never waits: events go through a bounded queue to one task that writes them.
//! The same event again raises `count` and `lastTimestamp` of the first one; what keeps floods small stands in
//! `correlator`.

mod correlator;

use std::collections::HashMap;
use std::sync::Arc;

use base::{Clock, Supervisor, TaskKind};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::mpsc;

use correlator::{Correlator, Digest, Verdict, digest};

/// How many events may wait to be written; more are dropped (and counted in the log).
const QUEUE_LIMIT: usize = 1024;
/// How many events are remembered for counting repeats.
const MEMORY_LIMIT: usize = 4096;
/// Upstream's limit of an event's message, in bytes.
const MESSAGE_LIMIT_BYTES: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    Normal,
    Warning,
}

impl EventType {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// The reference by which an event names `object`.
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: object.meta().name.clone(),
        namespace: object.meta().namespace.clone(),
        uid: object.meta().uid.clone(),
        resource_version: object.meta().resource_version.clone(),
        field_path: None,
    }
}

struct Occurrence {
    about: ObjectReference,
    event_type: EventType,
    reason: String,
    message: String,
    at: jiff::Timestamp,
}

/// The fields by which two occurrences are the same event.
#[derive(Debug, PartialEq, Eq, Hash, Clone)]
struct Sameness {
    uid: String,
    namespace: String,
    name: String,
    field_path: String,
    event_type: EventType,
    reason: String,
    /// Empty for a combined event.
    message: String,
    /// Stands for all that differ only in their message.
    combined: bool,
}

/// Records events of one component. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Occurrence>,
    clock: Arc<dyn Clock>,
}

impl Recorder {
    /// Starts the writing task. `component` and `host` become the event's source (`kubelet`, node name).
    pub fn start(
        client: Client,
        component: &str,
        host: Option<String>,
        clock: Arc<dyn Clock>,
        supervisor: &Supervisor,
    ) -> Self {
        let (queue, inbox) = mpsc::channel(QUEUE_LIMIT);
        let writer = Writer {
            client,
            component: component.to_owned(),
            host,
            known: HashMap::new(),
            correlator: Correlator::default(),
        };
        let shutdown = supervisor.shutdown().clone();
        supervisor.spawn(TaskKind::Background, "event recorder", async move {
            tokio::select! {
                () = writer.run(inbox) => {}
                () = shutdown.started() => {}
            }
        });
        Self { queue, clock }
    }

    /// Records an event about an object. Never waits; drops the event when the queue is full.
    pub fn event(
        &self,
        about: &ObjectReference,
        event_type: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        let message = shortened(message.into());
        let occurrence = Occurrence {
            about: about.clone(),
            event_type,
            reason: reason.to_owned(),
            message,
            at: self.clock.now(),
        };
        if self.queue.try_send(occurrence).is_err() {
            tracing::warn!(reason, "an event is dropped: the queue is full or closed");
        }
    }
}

struct Known {
    name: Box<str>,
    count: i32,
}

struct Writer {
    client: Client,
    component: String,
    host: Option<String>,
    /// The events written, by the digests of what they are the same for.
    known: HashMap<Digest, Known>,
    correlator: Correlator,
}

impl Writer {
    async fn run(mut self, mut inbox: mpsc::Receiver<Occurrence>) {
        while let Some(occurrence) = inbox.recv().await {
            if let Err(error) = self.write(&occurrence).await
                && !crate::is_without_namespace(&error)
            {
                // An event is news about work, not the work: losing one must not stop anything.
                tracing::warn!(reason = occurrence.reason, %error, "an event could not be written");
            }
        }
    }

    async fn write(&mut self, occurrence: &Occurrence) -> Result<(), kube::Error> {
        let Verdict { same, write } = self.correlator.judge(sameness(occurrence), occurrence.at);
        let key = digest(&same);
        if !write {
            // What is not written now is in the count of the next that is.
            self.known.entry(key).and_modify(|known| known.count += 1);
            return Ok(());
        }
        let namespace = match same.namespace.as_str() {
            "" => "default",
            namespace => namespace,
        };
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        if let Some(known) = self.known.get_mut(&key) {
            let count = known.count + 1;
            let mut patch = serde_json::json!({"count": count, "lastTimestamp": Time(occurrence.at)});
            if same.combined {
                patch["message"] = combined(&occurrence.message).into();
            }
            match api.patch(&known.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
                Ok(_) => {
                    known.count = count;
                    return Ok(());
                }
                Err(error) if crate::is_not_found(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let mut event = self.compose(occurrence, namespace);
        if same.combined {
            event.message = Some(combined(&occurrence.message));
        }
        let name = event.name_any();
        api.create(&PostParams::default(), &event).await?;
        if self.known.len() >= MEMORY_LIMIT {
            self.known.clear();
        }
        self.known.insert(key, Known { name: name.into(), count: 1 });
        Ok(())
    }

    fn compose(&self, occurrence: &Occurrence, namespace: &str) -> Event {
        let about = occurrence.about.clone();
        let stamp = format!("{:x}", occurrence.at.as_nanosecond());
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{}.{stamp}", about.name.as_deref().unwrap_or("unknown"))),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: about,
            reason: Some(occurrence.reason.clone()),
            message: Some(occurrence.message.clone()),
            type_: Some(occurrence.event_type.as_str().to_owned()),
            count: Some(1),
            first_timestamp: Some(Time(occurrence.at)),
            last_timestamp: Some(Time(occurrence.at)),
            source: Some(EventSource { component: Some(self.component.clone()), host: self.host.clone() }),
            reporting_component: Some(self.component.clone()),
            reporting_instance: Some(self.host.clone().unwrap_or_default()),
            ..Event::default()
        }
    }
}

fn combined(message: &str) -> String {
    shortened(format!("(combined from similar events): {message}"))
}

/// Cuts a message that is longer than an event's may be.
fn shortened(mut message: String) -> String {
    if message.len() > MESSAGE_LIMIT_BYTES {
        let cut = (0..=MESSAGE_LIMIT_BYTES - 3).rev().find(|i| message.is_char_boundary(*i)).unwrap_or(0);
        message.truncate(cut);
        message.push_str("...");
    }
    message
}

fn sameness(o: &Occurrence) -> Sameness {
    Sameness {
        uid: o.about.uid.clone().unwrap_or_default(),
        namespace: o.about.namespace.clone().unwrap_or_default(),
        name: o.about.name.clone().unwrap_or_default(),
        field_path: o.about.field_path.clone().unwrap_or_default(),
        event_type: o.event_type,
        reason: o.reason.clone(),
        message: o.message.clone(),
        combined: false,
    }
}
