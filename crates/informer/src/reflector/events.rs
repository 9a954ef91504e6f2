//! [`Events`]: splits the body of a watch into events, without copying objects that the sender sent as frames of their
//! own.
//!
//! An API server of the same process sends an event as three frames: the text before the object, the object in the
//! bytes that the server itself keeps, and the text after the object. Such an object is kept without a copy.
//! Everything else (an HTTPS connection's frames begin and end anywhere) is gathered into lines.

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A line longer than this is no object that an API server can hold.
const LINE_LIMIT: usize = 64 * 1024 * 1024;
const TAIL: &[u8] = b"}\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum EventKind {
    Added,
    Modified,
    Deleted,
    Bookmark,
    Error,
}

/// What stands before an object.
const HEADS: [(EventKind, &[u8]); 3] = [
    (EventKind::Added, b"{\"type\":\"ADDED\",\"object\":"),
    (EventKind::Modified, b"{\"type\":\"MODIFIED\",\"object\":"),
    (EventKind::Deleted, b"{\"type\":\"DELETED\",\"object\":"),
];

#[derive(Debug, PartialEq)]
pub(super) struct Event {
    pub kind: EventKind,
    pub object: Bytes,
}

/// What has come of an event whose parts are apart.
#[derive(Default)]
enum Apart {
    #[default]
    Nothing,
    Head(EventKind, Bytes),
    Object(EventKind, Bytes, Bytes),
}

#[derive(Default)]
pub(super) struct Events {
    apart: Apart,
    /// The beginning of a line.
    gathered: BytesMut,
}

impl Events {
    /// Takes the next frame in and returns the events that are complete.
    ///
    /// # Errors
    /// When a line is no event, or has no end.
    pub fn take(&mut self, frame: Bytes) -> Result<Vec<Event>, String> {
        match std::mem::take(&mut self.apart) {
            Apart::Nothing if self.gathered.is_empty() => {
                if let Some((kind, _)) = HEADS.iter().find(|(_, head)| *head == &*frame) {
                    self.apart = Apart::Head(*kind, frame);
                    return Ok(Vec::new());
                }
            }
            Apart::Nothing => {}
            // What ends a line is no object alone: a connection's frame happened to end after the head.
            Apart::Head(kind, head) if !frame.contains(&b'\n') => {
                self.apart = Apart::Object(kind, head, frame);
                return Ok(Vec::new());
            }
            Apart::Head(_, head) => self.gathered.extend_from_slice(&head),
            Apart::Object(kind, _, object) if &*frame == TAIL => return Ok(vec![Event { kind, object }]),
            Apart::Object(_, head, object) => {
                self.gathered.extend_from_slice(&head);
                self.gathered.extend_from_slice(&object);
            }
        }
        self.gathered.extend_from_slice(&frame);
        self.lines()
    }

    fn lines(&mut self) -> Result<Vec<Event>, String> {
        let mut events = Vec::new();
        while let Some(end) = self.gathered.iter().position(|byte| *byte == b'\n') {
            let line = self.gathered.split_to(end + 1).freeze();
            if !line.trim_ascii().is_empty() {
                events.push(event(&line).map_err(|error| format!("a watch's line cannot be read: {error}"))?);
            }
        }
        if self.gathered.len() > LINE_LIMIT {
            return Err(format!("a watch's line has more than {LINE_LIMIT} bytes"));
        }
        Ok(events)
    }
}

fn event(line: &Bytes) -> Result<Event, serde_json::Error> {
    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(rename = "type")]
        kind: EventKind,
        #[serde(borrow)]
        object: &'a RawValue,
    }
    let Line { kind, object } = serde_json::from_slice(line)?;
    // A copy of its own: the line's buffer has room for many lines.
    Ok(Event { kind, object: Bytes::copy_from_slice(object.get().as_bytes()) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_object_that_comes_apart_is_kept_as_it_came() {
        let object = Bytes::from_static(b"{\"a\":1}");
        let mut events = Events::default();
        assert_eq!(events.take(Bytes::from_static(HEADS[1].1)), Ok(Vec::new()));
        assert_eq!(events.take(object.clone()), Ok(Vec::new()));
        let taken = events.take(Bytes::from_static(TAIL)).expect("an event");
        assert_eq!(taken[0].kind, EventKind::Modified);
        assert_eq!(taken[0].object.as_ptr(), object.as_ptr());
    }

    #[test]
    fn a_connections_frame_may_end_after_a_head() {
        let mut events = Events::default();
        assert_eq!(events.take(Bytes::from_static(HEADS[0].1)), Ok(Vec::new()));
        let rest = Bytes::from_static(b"{\"a\":1}}\n");
        let taken = events.take(rest).expect("an event, at once");
        assert_eq!(taken, [Event { kind: EventKind::Added, object: Bytes::from_static(b"{\"a\":1}") }]);
    }

    #[test]
    fn what_is_no_event_is_an_error() {
        for bad in ["{\"type\":\"OTHER\",\"object\":{}}\n", "nothing\n", "{\"type\":\"ADDED\"}\n"] {
            assert!(Events::default().take(Bytes::from_static(bad.as_bytes())).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn frames_may_begin_and_end_anywhere(cuts in proptest::collection::vec(1_usize..30, 0..40)) {
            let text = "{\"type\":\"ADDED\",\"object\":{\"a\":\"}\\n\"}}\n{\"type\":\"BOOKMARK\",\"object\":{}}\n\
                        {\"type\":\"DELETED\",\"object\":{\"b\":2}}\n";
            let mut rest = Bytes::copy_from_slice(text.as_bytes());
            let mut events = Events::default();
            let mut taken = Vec::new();
            for cut in cuts {
                let piece = rest.split_to(cut.min(rest.len()));
                taken.extend(events.take(piece).map_err(TestCaseError::fail)?);
            }
            taken.extend(events.take(rest).map_err(TestCaseError::fail)?);
            let seen: Vec<_> = taken.iter().map(|event| (event.kind, &*event.object)).collect();
            let expected: [(EventKind, &[u8]); 3] = [
                (EventKind::Added, b"{\"a\":\"}\\n\"}"),
                (EventKind::Bookmark, b"{}"),
                (EventKind::Deleted, b"{\"b\":2}"),
            ];
            prop_assert_eq!(seen, expected);
        }
    }
}
