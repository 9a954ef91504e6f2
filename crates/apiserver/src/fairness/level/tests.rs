//! Scenarios of one level: requests are numbers, and come in the order of the script.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const ONE: Work = Work::simple(1);

fn queuing(queues: u32, hand: usize, length: usize) -> Mode {
    Mode::Queue(Queuing { queues, hand, length })
}

/// A level, the time, and who is worked on.
struct Scene {
    level: Level<u32>,
    now: Instant,
    working: HashMap<u32, Placed>,
    places: HashMap<u32, Place>,
    /// Who was let in, in order.
    order: Vec<u32>,
}

impl Scene {
    fn new(mode: Mode, limit: u32) -> Self {
        let now = Instant::now();
        let level = Level::new(mode, limit, now);
        Self { level, now, working: HashMap::new(), places: HashMap::new(), order: Vec::new() }
    }

    fn let_in(&mut self, started: Started<u32>) {
        for (request, placed) in started {
            self.places.remove(&request);
            self.working.insert(request, placed);
            self.order.push(request);
        }
    }

    /// A request of the flow with this hash: `run`, `wait`, or why not.
    fn arrive(&mut self, request: u32, flow: u64, work: Work) -> &'static str {
        let (arrival, started) = self.level.arrive(flow, work, self.now, || request);
        let told = match arrival {
            Arrival::Started(placed) => {
                self.let_in(vec![(request, placed)]);
                "run"
            }
            Arrival::Waits(place) => {
                self.places.insert(request, place);
                "wait"
            }
            Arrival::Refused(Refusal::Full) => "full",
            Arrival::Refused(Refusal::QueueFull) => "queue full",
        };
        self.let_in(started);
        told
    }

    fn after(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
    }

    fn finish(&mut self, request: u32) {
        let placed = self.working.remove(&request).expect("it is worked on");
        let started = self.level.finish(&placed, self.now);
        self.let_in(started);
    }
}

#[test]
fn a_level_without_queues_refuses_what_does_not_fit() {
    let mut scene = Scene::new(Mode::Reject, 2);
    assert_eq!(scene.arrive(1, 0, ONE), "run");
    assert_eq!(scene.arrive(2, 0, Work::simple(2)), "full");
    assert_eq!(scene.arrive(3, 0, ONE), "run");
    assert_eq!(scene.arrive(4, 0, ONE), "full");
    scene.finish(1);
    assert_eq!(scene.arrive(5, 0, ONE), "run");
    scene.finish(3);
    scene.finish(5);
    assert_eq!(scene.arrive(6, 0, Work::simple(5)), "run", "what is wider than the level is let in alone");
    assert_eq!(scene.arrive(7, 0, ONE), "full");
}

#[test]
fn an_exempt_level_lets_everybody_in() {
    let mut scene = Scene::new(Mode::Exempt, 0);
    for request in 0..100 {
        assert_eq!(scene.arrive(request, 0, ONE), "run");
    }
    assert_eq!((scene.level.executing, scene.level.seats_in_use), (100, 100));
}

#[test]
fn queues_have_a_length_and_keep_their_order() {
    let mut scene = Scene::new(queuing(1, 1, 2), 1);
    let told: Vec<_> = (1..=4).map(|request| scene.arrive(request, 0, ONE)).collect();
    assert_eq!(told, ["run", "wait", "wait", "queue full"]);
    for request in 1..=3 {
        scene.after(1);
        scene.finish(request);
    }
    assert_eq!(scene.order, [1, 2, 3]);
    assert!(scene.level.is_idle() && scene.level.queues().is_empty());
}

#[test]
fn who_leaves_makes_room_for_who_is_narrower() {
    let mut scene = Scene::new(queuing(1, 1, 10), 2);
    scene.arrive(1, 0, ONE);
    assert_eq!(scene.arrive(2, 0, Work::simple(2)), "wait");
    assert_eq!(scene.arrive(3, 0, ONE), "wait", "nobody overtakes in a queue");
    let place = scene.places[&2];
    let (left, started) = scene.level.forget(place, scene.now);
    assert!(left);
    scene.let_in(started);
    assert_eq!(scene.order, [1, 3]);
    let (left, started) = scene.level.forget(place, scene.now);
    assert!(!left && started.is_empty(), "one leaves once");
}

/// Two flows whose hands are different queues.
fn two_flows(queues: u32) -> (u64, u64) {
    let card = |hash| Hand::deal(hash, queues, 1).cards()[0];
    (0, (1..).find(|hash| card(*hash) != card(0)).expect("there are several queues"))
}

#[test]
fn a_flow_of_many_does_not_delay_one_of_few() {
    let mut scene = Scene::new(queuing(8, 1, 1000), 2);
    let (greedy, modest) = two_flows(8);
    for request in 0..200 {
        scene.arrive(request, greedy, ONE);
    }
    scene.after(5);
    assert_eq!(scene.arrive(1000, modest, ONE), "wait");
    for request in 0..3 {
        scene.finish(request);
    }
    assert!(scene.working.contains_key(&1000), "the flow that had nothing is soon next: {:?}", scene.order);
}

#[test]
fn flows_that_both_wait_get_equal_parts_of_the_time() {
    let mut scene = Scene::new(queuing(8, 1, 1000), 1);
    let (slow, fast) = two_flows(8);
    for request in 0..300 {
        scene.arrive(request, slow, ONE);
        scene.arrive(1000 + request, fast, ONE);
    }
    let mut spent = [0_i64, 0];
    for _ in 0..200 {
        let (&request, _) = scene.working.iter().next().expect("one is worked on");
        let (flow, milliseconds) = if request < 1000 { (0, 9_u64) } else { (1, 3) };
        spent[flow] += milliseconds.cast_signed();
        scene.after(milliseconds);
        scene.finish(request);
    }
    let difference = spent[0] - spent[1];
    assert!(difference.abs() <= 30, "slow requests and fast ones had {spent:?} milliseconds");
}

#[test]
fn what_a_flow_did_not_use_is_no_credit() {
    let mut scene = Scene::new(queuing(8, 1, 1000), 1);
    let (steady, late) = two_flows(8);
    for request in 0..100 {
        scene.arrive(request, steady, ONE);
    }
    for request in 0..50 {
        scene.after(3);
        scene.finish(request);
    }
    for request in 1000..1050 {
        scene.arrive(request, late, ONE);
    }
    scene.order.clear();
    for _ in 0..20 {
        scene.after(3);
        let (&request, _) = scene.working.iter().next().expect("one is worked on");
        scene.finish(request);
    }
    let of_late = scene.order.iter().filter(|request| **request >= 1000).count();
    assert!((8..=12).contains(&of_late), "{:?}", scene.order);
}

#[test]
fn seats_that_linger_become_free_by_time() {
    let mut scene = Scene::new(queuing(1, 1, 10), 4);
    let work = Work { seats: 1, last_seats: 4, lingers: Duration::from_millis(5) };
    assert_eq!(scene.arrive(1, 0, work), "run");
    assert_eq!(scene.arrive(2, 0, ONE), "wait");
    scene.finish(1);
    assert!(scene.working.is_empty() && scene.level.executing == 0);
    assert_eq!(scene.level.next_release(), Some(scene.now + Duration::from_millis(5)));
    scene.after(4);
    let started = scene.level.settle(scene.now);
    assert!(started.is_empty());
    scene.after(1);
    let started = scene.level.settle(scene.now);
    scene.let_in(started);
    assert_eq!(scene.order, [1, 2]);
    assert_eq!(scene.level.next_release(), None);
}

#[test]
fn a_new_limit_lets_in_those_who_fit_now() {
    let mut scene = Scene::new(queuing(4, 2, 10), 1);
    for request in 0..5 {
        scene.arrive(request, 7, ONE);
    }
    let started = scene.level.configure(queuing(4, 2, 10), 3, scene.now);
    scene.let_in(started);
    assert_eq!((scene.working.len(), scene.level.waiting), (3, 2));
    let started = scene.level.configure(Mode::Reject, 0, scene.now);
    assert!(started.is_empty());
    assert_eq!(scene.arrive(9, 7, ONE), "full");
}

proptest! {
    #[test]
    fn nothing_is_lost_and_the_limit_holds(
        limit in 1_u32..6, queues in 1_u32..6,
        steps in prop::collection::vec((0_u8..4, 0_u64..8, 1_u32..4, 0_u64..3), 1..200),
    ) {
        let mut scene = Scene::new(queuing(queues, 2, 4), limit);
        let mut taken_in = 0;
        for (number, (step, flow, seats, lingers)) in (0_u32..).zip(steps) {
            scene.after(1);
            let someone = scene.working.keys().min().copied();
            match (step, someone) {
                (0, Some(request)) => scene.finish(request),
                (1, _) => if let Some((&request, &place)) = scene.places.iter().min_by_key(|(request, _)| **request) {
                    scene.places.remove(&request);
                    let (left, started) = scene.level.forget(place, scene.now);
                    prop_assert!(left);
                    taken_in -= 1;
                    scene.let_in(started);
                },
                _ => {
                    let work = Work { seats, last_seats: 1, lingers: Duration::from_millis(lingers) };
                    let told = scene.arrive(number, flow, work);
                    taken_in += u32::from(told == "run" || told == "wait");
                }
            }
            let alone = scene.level.executing <= 1;
            prop_assert!(scene.level.seats_in_use <= limit || alone || lingers > 0);
            prop_assert_eq!(scene.level.executing, scene.working.len());
            prop_assert_eq!(scene.level.waiting, scene.places.len());
        }
        loop {
            if let Some(request) = scene.working.keys().min().copied() {
                scene.finish(request);
            }
            scene.after(5);
            let started = scene.level.settle(scene.now);
            scene.let_in(started);
            if scene.level.is_idle() {
                break;
            }
        }
        prop_assert_eq!(scene.order.len(), taken_in as usize);
        prop_assert!(scene.level.queues().is_empty() && scene.level.seats_in_use == 0 && scene.level.waiting == 0);
    }
}
