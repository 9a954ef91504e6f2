//! The requests of one priority level: which are worked on, which wait, and which comes next. Pure: time comes in, and
//! who is let in comes out.
//!
//! A level has seats; a request takes one or several for as long as it is worked on, and may keep some a little longer.
//! While seats are free a request is let in at once. Else the request waits in one of the queues of its flow
//! ([`Hand`]), and seats that become free go to the queue that has had least: each queue has a virtual time at which its
//! next request would begin if all queues were served alike (upstream: `fairqueuing/queueset/doc.go`).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::dealer::Hand;
use super::demand::{Demand, Observed};

/// How long a request is taken to be worked on before that is known.
const GUESS: Duration = Duration::from_millis(3);

/// What a level does with requests for which no seat is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// There always is one.
    Exempt,
    Reject,
    Queue(Queuing),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Queuing {
    pub queues: u32,
    pub hand: usize,
    pub length: usize,
}

/// What a request takes: seats while it is worked on, and seats for some time after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Work {
    pub seats: u32,
    pub last_seats: u32,
    pub lingers: Duration,
}

impl Work {
    pub const fn simple(seats: u32) -> Self {
        Self { seats, last_seats: 0, lingers: Duration::ZERO }
    }

    /// The seats that are held from the beginning to the end.
    pub fn most(&self) -> u32 {
        self.seats.max(self.last_seats)
    }

    /// In seat-nanoseconds, as are all virtual times.
    pub fn total(&self) -> i128 {
        seat_time(self.seats, GUESS) + seat_time(self.last_seats, self.lingers)
    }
}

fn seat_time(seats: u32, time: Duration) -> i128 {
    i128::from(seats) * time.as_nanos().cast_signed()
}

/// A request that is worked on, as its level must know it when the request ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    queue: Option<u32>,
    pub work: Work,
    pub started: Instant,
}

/// A request that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub queue: u32,
    ticket: u64,
    /// How many wait in the queue, with this one.
    pub length: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No seat is free, and the level has no queues.
    Full,
    QueueFull,
}

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Arrival {
    Started(Placed),
    Waits(Place),
    Refused(Refusal),
}

/// Those who have waited and are let in now.
pub(super) type Started<T> = Vec<(T, Placed)>;

/// A waiting request. `T` is what its level gives back when the request is let in.
pub(super) struct Waiting<T> {
    ticket: u64,
    pub work: Work,
    /// The virtual time when the request came.
    arrived: i128,
    pub waiter: T,
}

/// A queue that is not empty, or whose requests are worked on.
pub(super) struct Queue<T> {
    /// The virtual time at which the next request begins.
    pub next: i128,
    pub waiting: VecDeque<Waiting<T>>,
    /// The work of those that wait.
    pub work: i128,
    pub executing: u32,
    pub seats_in_use: u32,
}

/// See the module's documentation.
pub(super) struct Level<T> {
    mode: Mode,
    limit: u32,
    pub executing: usize,
    pub seats_in_use: u32,
    pub waiting: usize,
    pub seats_waiting: u32,
    /// The virtual time, and when that was.
    virtual_time: i128,
    last: Instant,
    queues: HashMap<u32, Queue<T>>,
    /// Seats that are still held, by when they become free, and of which queue.
    lingering: BinaryHeap<Reverse<(Instant, Option<u32>, u32)>>,
    arrivals: usize,
    /// The queue of which a request was let in last.
    robin: u32,
    tickets: u64,
    demand: Demand,
}

impl<T> Level<T> {
    pub fn new(mode: Mode, limit: u32, now: Instant) -> Self {
        Self {
            mode,
            limit,
            executing: 0,
            seats_in_use: 0,
            waiting: 0,
            seats_waiting: 0,
            virtual_time: 0,
            last: now,
            queues: HashMap::new(),
            lingering: BinaryHeap::new(),
            arrivals: 0,
            robin: 0,
            tickets: 0,
            demand: Demand::new(now),
        }
    }

    pub fn mode(&self) -> Mode {
        self.mode
    }

    pub fn limit(&self) -> u32 {
        self.limit
    }

    pub fn is_idle(&self) -> bool {
        self.executing == 0 && self.waiting == 0
    }

    /// The queues that are not idle.
    pub fn queues(&self) -> &HashMap<u32, Queue<T>> {
        &self.queues
    }

    /// The seats used and waited for since the last call.
    pub fn take_demand(&mut self, now: Instant) -> Observed {
        self.demand.take(now)
    }

    /// Takes a new configuration. Those who wait stay where they are.
    #[must_use]
    pub fn configure(&mut self, mode: Mode, limit: u32, now: Instant) -> Started<T> {
        self.pass(now);
        (self.mode, self.limit) = (mode, limit);
        self.dispatch(now)
    }

    /// Frees what has lingered long enough.
    #[must_use]
    pub fn settle(&mut self, now: Instant) -> Started<T> {
        self.pass(now);
        self.dispatch(now)
    }

    /// When seats become free for which somebody waits.
    pub fn next_release(&self) -> Option<Instant> {
        (self.waiting > 0).then(|| self.lingering.peek().map(|Reverse((at, ..))| *at))?
    }

    /// Lets a request in, has it wait, or not. `waiter` is made only if the request waits. After `Waits`, the first of
    /// those started may be the request itself.
    pub fn arrive(
        &mut self,
        hash: u64,
        work: Work,
        now: Instant,
        waiter: impl FnOnce() -> T,
    ) -> (Arrival, Started<T>) {
        self.pass(now);
        let queuing = match self.mode {
            Mode::Exempt => return (Arrival::Started(self.start(None, work, now)), Vec::new()),
            Mode::Reject if self.fits(work.most()) => {
                return (Arrival::Started(self.start(None, work, now)), Vec::new());
            }
            Mode::Reject => return (Arrival::Refused(Refusal::Full), Vec::new()),
            Mode::Queue(queuing) => queuing,
        };
        let index = self.choose(hash, queuing);
        if self.waiting == 0 && self.seats_in_use < self.limit && self.fits(work.most()) {
            return (Arrival::Started(self.start(Some(index), work, now)), Vec::new());
        }
        let length = self.queues.get(&index).map_or(0, |queue| queue.waiting.len());
        if self.seats_in_use >= self.limit && length >= queuing.length {
            return (Arrival::Refused(Refusal::QueueFull), Vec::new());
        }
        self.tickets += 1;
        let ticket = self.tickets;
        let arrived = self.virtual_time;
        let queue = self.queue(index);
        queue.waiting.push_back(Waiting { ticket, work, arrived, waiter: waiter() });
        queue.work += work.total();
        queue.bound();
        self.waiting += 1;
        self.seats_waiting += work.most();
        self.note_demand(now);
        (Arrival::Waits(Place { queue: index, ticket, length: length + 1 }), self.dispatch(now))
    }

    /// Takes a request out that waits no more; false if the request has been let in.
    #[must_use]
    pub fn forget(&mut self, place: Place, now: Instant) -> (bool, Started<T>) {
        self.pass(now);
        let Some(queue) = self.queues.get_mut(&place.queue) else { return (false, Vec::new()) };
        let found = queue.waiting.iter().position(|waiting| waiting.ticket == place.ticket);
        let Some(gone) = found.and_then(|found| queue.waiting.remove(found)) else {
            return (false, Vec::new());
        };
        queue.work -= gone.work.total();
        queue.bound();
        self.waiting -= 1;
        self.seats_waiting -= gone.work.most();
        self.tidy(Some(place.queue));
        self.note_demand(now);
        // Its turn may have been next, and it may have been too wide for the seats that are free.
        (true, self.dispatch(now))
    }

    /// The end of a request.
    #[must_use]
    pub fn finish(&mut self, placed: &Placed, now: Instant) -> Started<T> {
        self.pass(now);
        self.executing -= 1;
        if let Some(queue) = placed.queue.and_then(|index| self.queues.get_mut(&index)) {
            queue.executing -= 1;
            // What was guessed is replaced by what is known.
            let took = now.saturating_duration_since(placed.started);
            queue.next -= seat_time(placed.work.seats, GUESS) - seat_time(placed.work.seats, took);
            queue.bound();
        }
        match placed.work.lingers.is_zero() {
            true => self.release(placed.queue, placed.work.most(), now),
            false => {
                let until = now + placed.work.lingers;
                self.lingering.push(Reverse((until, placed.queue, placed.work.most())));
            }
        }
        self.dispatch(now)
    }

    fn release(&mut self, index: Option<u32>, seats: u32, now: Instant) {
        self.seats_in_use -= seats;
        if let Some(queue) = index.and_then(|index| self.queues.get_mut(&index)) {
            queue.seats_in_use -= seats;
        }
        self.tidy(index);
        self.note_demand(now);
    }

    /// Lets the virtual time pass: as fast as each queue would be served if all were served alike.
    fn pass(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.last);
        self.last = self.last.max(now);
        if !self.queues.is_empty() && !passed.is_zero() {
            let asked = self.seats_in_use.saturating_add(self.seats_waiting).min(self.limit);
            let queues = i128::try_from(self.queues.len()).unwrap_or(i128::MAX);
            self.virtual_time += seat_time(asked, passed) / queues;
        }
        while self.lingering.peek().is_some_and(|Reverse((until, ..))| *until <= now) {
            if let Some(Reverse((_, index, seats))) = self.lingering.pop() {
                self.release(index, seats, now);
            }
        }
    }

    /// The queue of the flow's hand in which least work waits.
    fn choose(&mut self, hash: u64, queuing: Queuing) -> u32 {
        let hand = Hand::deal(hash, queuing.queues, queuing.hand);
        let cards = hand.cards();
        // Begun elsewhere each time, so that queues that are alike are used alike.
        let offset = self.arrivals % cards.len();
        self.arrivals = self.arrivals.wrapping_add(1);
        let work = |card: &u32| self.queues.get(card).map_or(0, |queue| queue.work);
        let (first, second) = cards.split_at(offset);
        let least = second.iter().chain(first).min_by_key(|card| work(card));
        *least.expect("a hand has a card")
    }

    fn queue(&mut self, index: u32) -> &mut Queue<T> {
        let next = self.virtual_time;
        let new = || Queue { next, waiting: VecDeque::new(), work: 0, executing: 0, seats_in_use: 0 };
        let queue = self.queues.entry(index).or_insert_with(new);
        if queue.waiting.is_empty() && queue.executing == 0 {
            queue.next = next;
        }
        queue
    }

    fn start(&mut self, index: Option<u32>, work: Work, now: Instant) -> Placed {
        if let Some(index) = index {
            let queue = self.queue(index);
            queue.next += work.total();
            queue.executing += 1;
            queue.seats_in_use += work.most();
        }
        self.executing += 1;
        self.seats_in_use += work.most();
        self.note_demand(now);
        Placed { queue: index, work, started: now }
    }

    /// Whether so many seats are free. What needs more than the level has is let in alone.
    fn fits(&self, seats: u32) -> bool {
        match seats > self.limit {
            true => self.executing == 0,
            false => self.seats_in_use + seats <= self.limit,
        }
    }

    /// Lets in as many as fit, each from the queue that has had least.
    fn dispatch(&mut self, now: Instant) -> Started<T> {
        let mut started = Vec::new();
        while self.waiting > 0 && self.seats_in_use < self.limit {
            let Some(index) = self.next_queue() else { break };
            let seats = self.queues[&index].waiting.front().map_or(0, |first| first.work.most());
            if !self.fits(seats) {
                break;
            }
            let queue = self.queues.get_mut(&index).expect("it was found among them");
            let Some(mut first) = queue.waiting.pop_front() else { break };
            queue.work -= first.work.total();
            self.waiting -= 1;
            self.seats_waiting -= first.work.most();
            self.robin = index;
            // The same work, by the seats that there are.
            if first.work.last_seats > self.limit.max(1) {
                let lasts = first.work.lingers * first.work.last_seats / self.limit.max(1);
                (first.work.last_seats, first.work.lingers) = (self.limit.max(1), lasts);
            }
            let placed = self.start_next(index, first.work, now);
            started.push((first.waiter, placed));
        }
        started
    }

    /// As [`Self::start`], for a request that has waited: its queue was not idle.
    fn start_next(&mut self, index: u32, work: Work, now: Instant) -> Placed {
        let queue = self.queues.get_mut(&index).expect("its request was in it");
        queue.next += work.total();
        queue.executing += 1;
        queue.seats_in_use += work.most();
        queue.bound();
        self.executing += 1;
        self.seats_in_use += work.most();
        self.note_demand(now);
        Placed { queue: Some(index), work, started: now }
    }

    /// The queue whose first request would end first; of equals the one that comes next after the last one.
    fn next_queue(&self) -> Option<u32> {
        let ends = |(index, queue): (&u32, &Queue<T>)| {
            let first = queue.waiting.front()?;
            let turn = index.wrapping_sub(self.robin).wrapping_sub(1);
            Some((queue.next + first.work.total(), turn, *index))
        };
        self.queues.iter().filter_map(ends).min().map(|(_, _, index)| index)
    }

    fn tidy(&mut self, index: Option<u32>) {
        let idle =
            |queue: &Queue<T>| queue.waiting.is_empty() && queue.executing == 0 && queue.seats_in_use == 0;
        if let Some(index) = index.filter(|index| self.queues.get(index).is_some_and(idle)) {
            self.queues.remove(&index);
        }
    }

    fn note_demand(&mut self, now: Instant) {
        self.demand.set(now, f64::from(self.seats_in_use) + f64::from(self.seats_waiting));
    }
}

impl<T> Queue<T> {
    /// No request begins before it came: what a queue did not use is no credit.
    fn bound(&mut self) {
        if let Some(first) = self.waiting.front() {
            self.next = self.next.max(first.arrived);
        }
    }
}

#[cfg(test)]
mod tests;
