//! Watches by trigger: a change wakes the watches of the values that it concerns, and no others.
//!
//! A [`Lane`] is for one value that watches select exactly: an object's key, a trigger field's value (a pod's
//! `spec.nodeName`), a namespace. A lane exists while its value is watched, and stores the revisions of the changes that
//! concern the value; the events themselves are in the ring. So a change costs one look-up for each kind of lane,
//! independent of the number of watches.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use store::Revision;
use tokio::sync::watch;

use super::resource_spec::ResourceSpec;
use super::signal::Signal;
use super::{CacheEvent, Entry, Scope};

/// What the watches of a lane want exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trigger {
    /// The key of the one object.
    Key(Box<str>),
    /// The value of a trigger field, by the field's place among the spec's.
    Field(usize, Box<str>),
    /// What the keys of a namespace have in common.
    Space(Box<str>),
}

impl Trigger {
    /// The value that narrows the scope most; `None` for a scope that wants no value exactly.
    pub fn of(spec: &ResourceSpec, scope: &Scope) -> Option<Self> {
        let namespace = scope.namespace.as_deref();
        if let Some(name) = scope.exact("metadata.name")
            && (namespace.is_some() || !spec.namespaced)
        {
            return Some(Self::Key(spec.key(namespace.unwrap_or_default(), name).into()));
        }
        let field = |index: &usize| Some((*index, scope.exact(spec.field_names.get(*index)?)?));
        if let Some((index, value)) = spec.triggers.iter().find_map(field) {
            return Some(Self::Field(index, value.into()));
        }
        namespace.filter(|_| spec.namespaced).map(|namespace| Self::Space(namespace.into()))
    }

    fn value(&self) -> &str {
        let (Self::Key(value) | Self::Field(_, value) | Self::Space(value)) = self;
        value
    }
}

/// The changes of one value.
struct Lane {
    watches: usize,
    /// In order. Those that the ring has lost go when the next one comes.
    revisions: VecDeque<Revision>,
    /// The lane knows of every change of its value after this revision.
    since: Revision,
    signal: Arc<watch::Sender<Signal>>,
}

impl Lane {
    fn new(signal: Signal) -> Self {
        let (since, signal) = (signal.revision, Arc::new(watch::Sender::new(signal)));
        Self { watches: 0, revisions: VecDeque::new(), since, signal }
    }

    fn note(&mut self, revision: Revision, kept_since: Revision, woken: &mut Woken) {
        while let Some(lost) = self.revisions.pop_front_if(|oldest| *oldest <= kept_since) {
            self.since = lost;
        }
        // Both values of a change may be the same one, and changes of keys that expire together share a revision.
        if self.revisions.back() == Some(&revision) {
            return;
        }
        self.revisions.push_back(revision);
        woken.add(&self.signal, revision);
    }
}

/// Whom changes concern.
#[derive(Default)]
pub(super) struct Woken(Vec<(Arc<watch::Sender<Signal>>, Revision)>);

impl Woken {
    pub fn add(&mut self, signal: &Arc<watch::Sender<Signal>>, revision: Revision) {
        match self.0.iter_mut().find(|(known, _)| Arc::ptr_eq(known, signal)) {
            Some((_, last)) => *last = revision,
            None => self.0.push((signal.clone(), revision)),
        }
    }

    pub fn wake(self) {
        for (signal, revision) in self.0 {
            signal.send_modify(|signal| signal.revision = revision);
        }
    }
}

/// The lanes of a resource.
#[derive(Default)]
pub(super) struct Lanes {
    keys: HashMap<Box<str>, Lane>,
    fields: HashMap<usize, HashMap<Box<str>, Lane>>,
    spaces: HashMap<Box<str>, Lane>,
}

impl Lanes {
    /// Joins the lane. `last` is the resource's last change and whether it has ended.
    pub fn join(&mut self, trigger: &Trigger, last: Signal) -> watch::Receiver<Signal> {
        let lanes = match trigger {
            Trigger::Key(_) => &mut self.keys,
            Trigger::Field(index, _) => self.fields.entry(*index).or_default(),
            Trigger::Space(_) => &mut self.spaces,
        };
        let lane = lanes.entry(trigger.value().into()).or_insert_with(|| Lane::new(last));
        lane.watches += 1;
        lane.signal.subscribe()
    }

    /// How many watches there are of one key or of its namespace, and of one value of each field that may be the
    /// object's: as many as there are on the average.
    pub fn watches(&self, namespace: &str, key: &str) -> usize {
        let of =
            |lanes: &HashMap<Box<str>, Lane>, value: &str| lanes.get(value).map_or(0, |lane| lane.watches);
        let fields = self.fields.values().filter(|lanes| !lanes.is_empty()).count();
        of(&self.keys, key) + of(&self.spaces, namespace) + fields
    }

    pub fn leave(&mut self, trigger: &Trigger) {
        let lanes = match trigger {
            Trigger::Key(_) => Some(&mut self.keys),
            Trigger::Field(index, _) => self.fields.get_mut(index),
            Trigger::Space(_) => Some(&mut self.spaces),
        };
        let Some(lanes) = lanes else { return };
        let value = trigger.value();
        if let Some(lane) = lanes.get_mut(value) {
            lane.watches -= 1;
            if lane.watches == 0 {
                lanes.remove(value);
            }
        }
    }

    /// Notes a change in the lanes of the values that the object had or has. `kept_since` is how far the ring reaches
    /// back.
    pub fn note(&mut self, event: &CacheEvent, kept_since: Revision, woken: &mut Woken) {
        let revision = event.revision;
        if let Some(lane) = self.keys.get_mut(&*event.entry.key) {
            lane.note(revision, kept_since, woken);
        }
        if let Some(lane) = self.spaces.get_mut(event.entry.namespace()) {
            lane.note(revision, kept_since, woken);
        }
        for (index, lanes) in &mut self.fields {
            let mut concern = |entry: &Entry| {
                if let Some(lane) = lanes.get_mut(entry.field_at(*index)) {
                    lane.note(revision, kept_since, woken);
                }
            };
            concern(&event.entry);
            if let Some(previous) = &event.previous {
                concern(previous);
            }
        }
    }

    /// The revisions after `position`, about `limit`; `None` when the lane does not reach back so far.
    pub fn after(&self, trigger: &Trigger, position: Revision, limit: usize) -> Option<Vec<Revision>> {
        let lanes = match trigger {
            Trigger::Key(_) => &self.keys,
            Trigger::Field(index, _) => self.fields.get(index)?,
            Trigger::Space(_) => &self.spaces,
        };
        let lane = lanes.get(trigger.value()).filter(|lane| lane.since <= position)?;
        let start = lane.revisions.partition_point(|revision| *revision <= position);
        Some(lane.revisions.range(start..).take(limit).copied().collect())
    }

    pub fn close(&self) {
        let fields = self.fields.values().flat_map(HashMap::values);
        for lane in self.keys.values().chain(fields).chain(self.spaces.values()) {
            lane.signal.send_modify(|signal| signal.closed = true);
        }
    }
}
