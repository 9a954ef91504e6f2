//! What the flow schemas and priority levels that are stored mean together: [`read`] makes a [`Config`] of them. Pure but
//! for the levels that go on from one configuration to the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderValue;
use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, FlowSchemaSpec, LimitResponse, PriorityLevelConfiguration, PriorityLevelConfigurationSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use resources::flowcontrol::{CATCH_ALL, EXEMPT, mandatory};
use tokio::time::Instant;

use super::gate::{Class, Handle, wake};
use super::level::{Mode, Queuing};
use super::metrics::FairnessMetrics;
use super::schema::Matcher;
use super::shares::{Bounds, Shares, bounds};
use super::width;

/// The objects, by name.
#[derive(Default)]
pub(super) struct Stored {
    pub schemas: BTreeMap<String, FlowSchema>,
    pub levels: BTreeMap<String, PriorityLevelConfiguration>,
}

/// A level of a configuration.
#[derive(Clone)]
pub(super) struct Entry {
    pub handle: Arc<Handle>,
    pub bounds: Bounds,
    pub mode: Mode,
}

/// All that requests are classed and limited by.
pub(super) struct Config {
    /// In the order in which they are asked; the last one matches whatever no other does.
    pub classes: Vec<Arc<Class>>,
    pub levels: Vec<Entry>,
    /// Levels that are no more and still have requests.
    pub leaving: Vec<Arc<Handle>>,
}

/// A level as its object describes it.
struct Described {
    name: String,
    uid: String,
    mode: Mode,
    shares: Shares,
}

/// Makes the configuration that follows `before`. Mandatory objects that are not stored count as if they were.
pub(super) fn read(
    stored: &Stored,
    before: Option<&Config>,
    total: u32,
    metrics: &FairnessMetrics,
    now: Instant,
) -> Config {
    let described = levels(stored);
    let shares: Vec<Shares> = described.iter().map(|level| level.shares).collect();
    let mut entries = Vec::with_capacity(described.len());
    for (level, bounds) in described.iter().zip(bounds(total, &shares)) {
        let known = before.and_then(|before| before.handle(&level.name));
        let limit = known.as_ref().map_or(bounds.nominal, |handle| handle.level().limit());
        let handle = match known {
            Some(handle) => {
                let started = handle.level().configure(level.mode, limit, now);
                wake(started);
                handle
            }
            None => Arc::new(Handle::new(level.name.as_str().into(), level.mode, limit, now)),
        };
        entries.push(Entry { handle, bounds, mode: level.mode });
    }
    let classes = schemas(stored)
        .into_iter()
        .filter_map(|(name, uid, spec)| {
            let wanted = &spec.priority_level_configuration.name;
            let at = described.iter().position(|level| level.name == *wanted)?;
            Some(Arc::new(class(&name, &uid, spec, (&described[at], &entries[at]), metrics)))
        })
        .collect();
    let gone = before.into_iter().flat_map(|before| {
        let levels = before.levels.iter().map(|entry| &entry.handle);
        levels.chain(&before.leaving)
    });
    let stays = |handle: &Arc<Handle>| entries.iter().any(|entry| Arc::ptr_eq(&entry.handle, handle));
    let leaving = gone.filter(|handle| !stays(handle) && !handle.level().is_idle()).cloned().collect();
    Config { classes, levels: entries, leaving }
}

impl Config {
    fn handle(&self, name: &str) -> Option<Arc<Handle>> {
        let levels = self.levels.iter().map(|entry| &entry.handle).chain(&self.leaving);
        levels.into_iter().find(|handle| *handle.name == *name).cloned()
    }
}

fn class(
    name: &str,
    uid: &str,
    spec: FlowSchemaSpec,
    (level, entry): (&Described, &Entry),
    metrics: &FairnessMetrics,
) -> Class {
    let header = |uid: &str| HeaderValue::from_str(uid).unwrap_or(HeaderValue::from_static(""));
    let most = match level.mode {
        Mode::Queue(queuing) => Some(width::most_of_level(entry.bounds.nominal, queuing.hand)),
        Mode::Exempt | Mode::Reject => None,
    };
    let name: Arc<str> = name.into();
    Class {
        uid: header(uid),
        level_uid: header(&level.uid),
        matcher: Matcher::new(spec),
        exempt: level.mode == Mode::Exempt,
        most,
        figures: metrics.of(&name, &entry.handle.name),
        level: entry.handle.clone(),
        name,
    }
}

fn levels(stored: &Stored) -> Vec<Described> {
    let described = |meta: &ObjectMeta, spec: &Option<PriorityLevelConfigurationSpec>| {
        let name = meta.name.clone().unwrap_or_default();
        let Some((mode, shares)) = spec.as_ref().and_then(|spec| level(&name, spec)) else {
            tracing::warn!(
                priority_level = name,
                "the specification contradicts itself; the level is left out"
            );
            return None;
        };
        Some(Described { name, uid: meta.uid.clone().unwrap_or_default(), mode, shares })
    };
    let mut levels: Vec<Described> =
        stored.levels.values().filter_map(|object| described(&object.metadata, &object.spec)).collect();
    let missing = mandatory().iter().filter(|object| object.kind() == "PriorityLevelConfiguration");
    for object in missing {
        if !levels.iter().any(|level| level.name == object.name()) {
            let object: PriorityLevelConfiguration =
                object.typed().expect("a mandatory object is of its kind");
            levels.extend(described(&object.metadata, &object.spec));
        }
    }
    levels
}

/// What a level does, and its part; `None` when the specification contradicts itself.
fn level(name: &str, spec: &PriorityLevelConfigurationSpec) -> Option<(Mode, Shares)> {
    let number = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok());
    match (&*spec.type_, &spec.limited) {
        ("Exempt", None) if name == EXEMPT => {
            let exempt = spec.exempt.clone().unwrap_or_default();
            let shares = Shares {
                nominal: number(exempt.nominal_concurrency_shares).unwrap_or(0),
                lendable_percent: number(exempt.lendable_percent).unwrap_or(0),
                borrowing_limit_percent: None,
            };
            Some((Mode::Exempt, shares))
        }
        ("Limited", Some(limited)) if name != EXEMPT => {
            let shares = Shares {
                nominal: number(limited.nominal_concurrency_shares).unwrap_or(30),
                lendable_percent: number(limited.lendable_percent).unwrap_or(0),
                borrowing_limit_percent: number(limited.borrowing_limit_percent),
            };
            Some((response(limited.limit_response.as_ref()?)?, shares))
        }
        _ => None,
    }
}

fn response(response: &LimitResponse) -> Option<Mode> {
    match (&*response.type_, &response.queuing) {
        ("Reject", None) => Some(Mode::Reject),
        ("Queue", Some(queuing)) => {
            let number = |value: Option<i32>, absent: u32| {
                value.and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(absent)
            };
            Some(Mode::Queue(Queuing {
                queues: number(queuing.queues, 64),
                hand: number(queuing.hand_size, 8) as usize,
                length: number(queuing.queue_length_limit, 50) as usize,
            }))
        }
        _ => None,
    }
}

/// Name, uid and specification of all schemas, in the order in which they are asked.
fn schemas(stored: &Stored) -> Vec<(String, String, FlowSchemaSpec)> {
    let mut schemas: Vec<&FlowSchema> = stored.schemas.values().collect();
    // A stable sort of what is in the order of names.
    schemas
        .sort_by_key(|schema| schema.spec.as_ref().and_then(|spec| spec.matching_precedence).unwrap_or(1000));
    let mut schemas: Vec<_> = schemas.into_iter().cloned().collect();
    for name in [EXEMPT, CATCH_ALL] {
        if stored.schemas.contains_key(name) {
            continue;
        }
        let object = mandatory().iter().find(|object| object.kind() == "FlowSchema" && object.name() == name);
        let object = object.expect("it is among them").typed().expect("a mandatory object is of its kind");
        match name {
            EXEMPT => schemas.insert(0, object),
            _ => schemas.push(object),
        }
    }
    // Whatever others of the lowest precedence there are: what matches everything comes last.
    if let Some(at) = schemas.iter().position(|schema| schema.metadata.name.as_deref() == Some(CATCH_ALL)) {
        let last = schemas.remove(at);
        schemas.push(last);
    }
    let parts = |schema: FlowSchema| {
        (
            schema.metadata.name.unwrap_or_default(),
            schema.metadata.uid.unwrap_or_default(),
            schema.spec.unwrap_or_default(),
        )
    };
    schemas.into_iter().map(parts).collect()
}
