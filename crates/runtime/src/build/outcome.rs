//! What a build says while it goes on, and why one failed.

use tokio::sync::mpsc;

use super::request::{Event, Place};

/// Why a build failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub message: String,
    pub place: Option<Place>,
    pub step: Option<u32>,
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None, step: None }
    }

    /// From an error, with its causes.
    pub fn of(error: impl std::error::Error) -> Self {
        let (mut message, mut source) = (error.to_string(), error.source());
        while let Some(cause) = source {
            let text = cause.to_string();
            if !message.contains(&text) {
                message.push_str(&format!(": {text}"));
            }
            source = cause.source();
        }
        Self::new(message)
    }

    pub fn at(mut self, place: dockerfile::Place, step: Option<u32>) -> Self {
        self.place = self.place.or(Some(place.into()));
        self.step = self.step.or(step);
        self
    }
}

/// Where events go. A client that has left hears nothing.
#[derive(Clone)]
pub struct Events(mpsc::Sender<Event>);

impl Events {
    pub fn new(sender: mpsc::Sender<Event>) -> Self {
        Self(sender)
    }

    /// Resolves once nobody listens any more.
    pub async fn closed(&self) {
        self.0.closed().await;
    }

    pub async fn tell(&self, event: Event) {
        // Nobody listening ends the build elsewhere.
        let _ = self.0.send(event).await;
    }

    pub async fn log(&self, id: u32, text: &str) {
        self.tell(Event::Log { id, text: text.to_owned() }).await;
    }
}
