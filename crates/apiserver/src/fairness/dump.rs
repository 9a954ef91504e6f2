//! What the levels, queues and waiting requests are now, as upstream shows them (`apf_controller_debug.go`).

use std::fmt::Write;
use std::sync::Arc;

use tokio::time::Instant;

use super::Fairness;
use super::gate::{Details, Handle, Waiter};
use super::level::{Level, Mode, Queue};

/// Of more queues only those are shown that are not idle.
const MOST_IDLE: u32 = 10_000;

impl Fairness {
    /// The text of `/debug/api_priority_and_fairness/NAME`; `None` when there is none of this name.
    pub(crate) fn dump(&self, name: &str, details: bool) -> Option<String> {
        let rows = match name {
            "dump_priority_levels" => self.dump_levels(),
            "dump_queues" => self.dump_queues(),
            "dump_requests" => self.dump_requests(details),
            _ => return None,
        };
        Some(laid_out(&rows))
    }

    /// The levels in use by name, and whether each is about to go.
    fn handles(&self) -> Vec<(Arc<Handle>, bool)> {
        let now = Instant::now();
        let config = self.shared.config.load();
        let used = config.levels.iter().map(|entry| (entry.handle.clone(), false));
        let mut handles: Vec<_> =
            used.chain(config.leaving.iter().map(|handle| (handle.clone(), true))).collect();
        handles.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        for (handle, _) in &handles {
            handle.settle(now);
        }
        handles
    }

    fn dump_levels(&self) -> Vec<Vec<String>> {
        let mut rows = vec![row(&[
            "PriorityLevelName",
            "ActiveQueues",
            "IsIdle",
            "IsQuiescing",
            "WaitingRequests",
            "ExecutingRequests",
        ])];
        for (handle, leaving) in self.handles() {
            let level = handle.level();
            let active = level.queues().values().filter(|queue| !queue.waiting.is_empty()).count();
            rows.push(vec![
                handle.name.to_string(),
                active.to_string(),
                level.is_idle().to_string(),
                leaving.to_string(),
                level.waiting.to_string(),
                level.executing.to_string(),
            ]);
        }
        rows
    }

    fn dump_queues(&self) -> Vec<Vec<String>> {
        let mut rows = vec![row(&[
            "PriorityLevelName",
            "Index",
            "PendingRequests",
            "ExecutingRequests",
            "SeatsInUse",
            "NextDispatchR",
            "InitialSeatsSum",
            "MaxSeatsSum",
            "TotalWorkSum",
        ])];
        for (handle, _) in self.handles() {
            let level = handle.level();
            for index in shown(&level) {
                rows.push(queue_row(&handle.name, index, level.queues().get(&index)));
            }
        }
        rows
    }

    fn dump_requests(&self, details: bool) -> Vec<Vec<String>> {
        let mut head = row(&[
            "PriorityLevelName",
            "FlowSchemaName",
            "QueueIndex",
            "RequestIndexInQueue",
            "FlowDistingsher",
            "ArriveTime",
            "InitialSeats",
            "FinalSeats",
            "AdditionalLatency",
        ]);
        if details {
            let more =
                ["UserName", "Verb", "APIPath", "Namespace", "Name", "APIVersion", "Resource", "SubResource"];
            head.extend(row(&more));
        }
        let mut rows = vec![head];
        for (handle, _) in self.handles() {
            let level = handle.level();
            for index in shown(&level) {
                let waiting = level.queues().get(&index).into_iter().flat_map(|queue| &queue.waiting);
                for (place, request) in waiting.enumerate() {
                    let (waiter, work) = (&request.waiter, &request.work);
                    let mut cells = vec![
                        handle.name.to_string(),
                        waiter.class.name.to_string(),
                        index.to_string(),
                        place.to_string(),
                        waiter.details.flow.clone(),
                        waiter.details.arrived.clone(),
                        work.seats.to_string(),
                        work.last_seats.to_string(),
                        go_duration(work.lingers.as_millis()),
                    ];
                    if details {
                        cells.extend(described(&waiter.details));
                    }
                    rows.push(cells);
                }
            }
        }
        rows
    }
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

fn described(details: &Details) -> Vec<String> {
    let Details { user, verb, path, namespace, name, api_version, resource, subresource, .. } = details;
    row(&[user, verb, path, namespace, name, api_version, resource, subresource])
}

/// The queues to show, in order.
fn shown(level: &Level<Waiter>) -> Vec<u32> {
    match level.mode() {
        Mode::Queue(queuing) if queuing.queues <= MOST_IDLE => {
            let beyond = level.queues().keys().copied().filter(|index| *index >= queuing.queues);
            let mut beyond: Vec<u32> = beyond.collect();
            beyond.sort_unstable();
            (0..queuing.queues).chain(beyond).collect()
        }
        _ => {
            let mut active: Vec<u32> = level.queues().keys().copied().collect();
            active.sort_unstable();
            active
        }
    }
}

fn queue_row(level: &str, index: u32, queue: Option<&Queue<Waiter>>) -> Vec<String> {
    let sum = |of: fn(&super::level::Work) -> u32| {
        let waiting = queue.into_iter().flat_map(|queue| &queue.waiting);
        waiting.map(|request| u64::from(of(&request.work))).sum::<u64>()
    };
    let (next, work) = queue.map_or((0, 0), |queue| (queue.next, queue.work));
    vec![
        level.to_owned(),
        index.to_string(),
        queue.map_or(0, |queue| queue.waiting.len()).to_string(),
        queue.map_or(0, |queue| queue.executing).to_string(),
        queue.map_or(0, |queue| queue.seats_in_use).to_string(),
        seat_seconds(next),
        sum(|work| work.seats).to_string(),
        sum(|work| work.most()).to_string(),
        seat_seconds(work),
    ]
}

/// Seat-nanoseconds as upstream writes seat-seconds.
fn seat_seconds(nanoseconds: i128) -> String {
    let hundred_millionths = nanoseconds.max(0) / 10;
    format!("{}.{:08}ss", hundred_millionths / 100_000_000, hundred_millionths % 100_000_000)
}

/// Milliseconds as Go writes a duration.
fn go_duration(milliseconds: u128) -> String {
    match milliseconds {
        0 => "0s".to_owned(),
        1..1000 => format!("{milliseconds}ms"),
        _ => {
            let fraction = format!("{:03}", milliseconds % 1000);
            match fraction.trim_end_matches('0') {
                "" => format!("{}s", milliseconds / 1000),
                fraction => format!("{}.{fraction}s", milliseconds / 1000),
            }
        }
    }
}

/// Rows in columns: cells end with a comma and are filled up with spaces, to at least eight characters, as Go's
/// tabwriter does it.
fn laid_out(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells =
            rows.iter().filter(|row| column + 1 < row.len()).map(|row| row[column].chars().count() + 2);
        cells.max().unwrap_or(0).max(8)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            if column + 1 == row.len() {
                text.push_str(cell);
                continue;
            }
            let filled = format!("{cell},");
            // Writing into a string does not fail.
            let _written = write!(text, "{filled:<width$}", width = widths[column]);
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_columns_are_written_as_upstream_writes_them() {
        assert_eq!(seat_seconds(3_000_000), "0.00300000ss");
        assert_eq!(seat_seconds(12_345_678_901), "12.34567890ss");
        assert_eq!([0, 5, 1000, 1250].map(go_duration), ["0s", "5ms", "1s", "1.25s"]);
        let rows = [row(&["PriorityLevelName", "ActiveQueues", "IsIdle"]), row(&["exempt", "0", "true"])];
        assert_eq!(
            laid_out(&rows),
            "PriorityLevelName, ActiveQueues, IsIdle\nexempt,            0,            true\n"
        );
    }
}
