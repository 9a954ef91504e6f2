//! What a describer is given: the object, the time, and the way to other objects.

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use resources::columns::duration;
use serde_json::Value;

use super::fields::Fields as _;
use super::related::{Related, RelatedError, ResourceName, Selection};

/// `time.RFC1123Z`
const LONG_FORM: &str = "%a, %d %b %Y %H:%M:%S %z";
const UNKNOWN: &str = "<unknown>";

pub struct View<'a> {
    pub related: &'a dyn Related,
    pub object: &'a Value,
    pub now: Timestamp,
    pub zone: TimeZone,
    pub show_events: bool,
}

pub const fn core(resource: &str) -> ResourceName<'_> {
    ResourceName { group: "", version: "v1", resource }
}

impl View<'_> {
    pub fn name(&self) -> &str {
        self.object.text("metadata.name")
    }

    pub fn namespace(&self) -> &str {
        self.object.text("metadata.namespace")
    }

    /// The objects of the described object's namespace.
    pub fn neighbours(&self, resource: ResourceName<'_>, labels: &str) -> Result<Vec<Value>, RelatedError> {
        let namespace = Some(self.namespace()).filter(|namespace| !namespace.is_empty());
        self.related.list(resource, Selection { namespace, label_selector: labels, field_selector: "" })
    }

    /// A time in the user's zone.
    pub fn time(&self, value: Option<&Value>) -> String {
        match parsed(value) {
            Some(time) => {
                let zoned = time.to_zoned(self.zone.clone());
                strtime::format(LONG_FORM, &zoned).unwrap_or_else(|_| time.to_string())
            }
            None => "Mon, 01 Jan 0001 00:00:00 +0000".to_owned(),
        }
    }

    /// A time as Go's `Time` prints itself.
    pub fn go_time(&self, value: Option<&Value>) -> String {
        match parsed(value) {
            Some(time) => {
                let zoned = time.to_zoned(self.zone.clone());
                strtime::format("%Y-%m-%d %H:%M:%S%.f %z %Z", &zoned).unwrap_or_else(|_| time.to_string())
            }
            None => "0001-01-01 00:00:00 +0000 UTC".to_owned(),
        }
    }

    /// How long ago a time was.
    pub fn since(&self, value: Option<&Value>) -> String {
        match parsed(value) {
            Some(time) => duration::human(self.now.duration_since(time)),
            None => UNKNOWN.to_owned(),
        }
    }
}

/// A time in RFC 3339.
pub fn parsed(value: Option<&Value>) -> Option<Timestamp> {
    value.and_then(Value::as_str).and_then(|text| text.parse().ok())
}
