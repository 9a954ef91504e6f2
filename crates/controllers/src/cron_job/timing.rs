//! Which run of a cron job is due (`mostRecentScheduleTime` of `pkg/controller/cronjob/utils.go`).

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec};
use resources::cron::{self, Schedule};

/// So many missed runs are more than a few.
const MANY: i64 = 100;
/// How long after its time a round comes, for clocks that differ a little.
const PADDING: Duration = Duration::from_millis(100);

/// A cron job's schedule in its zone.
pub(super) struct Timetable {
    schedule: Schedule,
    pub zone: TimeZone,
}

/// Why there is no timetable.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoTimetable {
    Zone(String),
    Schedule(String),
}

/// The run that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub at: Timestamp,
    /// Whether many more before it were missed.
    pub many_missed: bool,
}

/// What was found between the last run and now.
struct Found {
    /// The last run, or when the cron job was made.
    since: Timestamp,
    latest: Option<Timestamp>,
    missed: i64,
}

impl Timetable {
    pub fn of(spec: &CronJobSpec) -> Result<Self, NoTimetable> {
        let name = spec.time_zone.as_deref().unwrap_or("");
        let zone = cron::zone(name).ok_or_else(|| NoTimetable::Zone(format!("unknown time zone {name}")))?;
        let schedule = Schedule::parse(&spec.schedule).map_err(NoTimetable::Schedule)?;
        Ok(Self { schedule, zone })
    }

    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.schedule.next(after, &self.zone)
    }

    /// The latest run that is not made, if one is due.
    ///
    /// # Errors
    /// When the schedule names no times.
    pub fn due(&self, job: &CronJob, now: Timestamp) -> Result<Option<Due>, &'static str> {
        let deadline = job.spec.starting_deadline_seconds;
        let oldest = deadline.and_then(|seconds| now.checked_sub(SignedDuration::from_secs(seconds)).ok());
        let found = self.latest(job, oldest, now)?;
        Ok(found.latest.filter(|at| *at <= now).map(|at| Due { at, many_missed: found.missed > MANY }))
    }

    /// How long until the next run.
    pub fn until_next(&self, job: &CronJob, now: Timestamp) -> Option<Duration> {
        let from = match self.latest(job, None, now) {
            Err(_) => now,
            Ok(Found { latest: Some(at), .. }) => at,
            Ok(Found { since, missed: 0, .. }) => since,
            Ok(_) => now,
        };
        let wait = self.next(from)?.duration_since(now);
        Some(Duration::try_from(wait).unwrap_or(Duration::ZERO) + PADDING)
    }

    fn latest(
        &self,
        job: &CronJob,
        oldest: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Found, &'static str> {
        const NEVER: &str = "time difference between two schedules is less than 1 second";
        let made = job.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
        let last = job.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
        let mut since = last.map_or(made, |time| time.0);
        if let Some(oldest) = oldest {
            since = since.max(oldest);
        }
        let first = self.next(since).ok_or(NEVER)?;
        if now < first {
            return Ok(Found { since, latest: None, missed: 0 });
        }
        let second = self.next(first).ok_or(NEVER)?;
        if now < second {
            return Ok(Found { since, latest: Some(first), missed: 0 });
        }
        // How many there were is estimated by the first two; only the last few are looked at one by one.
        let between = second.as_second() - first.as_second();
        if between < 1 {
            return Err(NEVER);
        }
        let missed = now.duration_since(first).as_secs() / between + 1;
        let near = SignedDuration::from_secs((missed - 2) * between);
        let mut at = self.next(first.checked_add(near).unwrap_or(first));
        let mut latest = None;
        while let Some(run) = at.filter(|run| *run <= now) {
            latest = Some(run);
            at = self.next(run);
        }
        Ok(Found { since, latest, missed })
    }
}
