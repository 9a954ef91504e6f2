//! A keeper under a clock that stands still while nobody waits.

use std::sync::Mutex;

use rcgen::KeyPair;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::*;

/// The wall's clock, driven by tokio's.
struct Wall {
    start: Timestamp,
    since: Instant,
}

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        self.start + SignedDuration::try_from(self.since.elapsed()).expect("a short time")
    }
}

fn start() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().expect("a time")
}

/// Signs for ten hours, unless it is told to fail.
struct Signer {
    clock: Arc<Wall>,
    failing: Arc<Mutex<u32>>,
    put: mpsc::UnboundedSender<(Timestamp, Vec<String>)>,
    tried: Arc<Mutex<Vec<Timestamp>>>,
}

fn certificate(names: &[String], common_name: &str, begins: Timestamp) -> Pair {
    let key = KeyPair::generate().expect("a key");
    let mut parameters = rcgen::CertificateParams::new(names.to_vec()).expect("names");
    parameters.distinguished_name = crate::pki::distinguished_name(common_name, None);
    let day = rcgen::date_time_ymd(2026, 6, 1);
    let offset = |at: Timestamp| {
        let midnight: Timestamp = "2026-06-01T00:00:00Z".parse().expect("a time");
        day + at.duration_since(midnight).unsigned_abs()
    };
    parameters.not_before = offset(begins);
    parameters.not_after = offset(begins + SignedDuration::from_hours(10));
    let certificate_pem = parameters.self_signed(&key).expect("signed").pem();
    Pair { certificate_pem, key_pem: key.serialize_pem() }
}

#[async_trait]
impl Source for Signer {
    async fn issue(&self, wanted: &Wanted) -> Result<Pair> {
        self.tried.lock().expect("whole").push(self.clock.now());
        {
            let mut failing = self.failing.lock().expect("whole");
            if *failing > 0 {
                *failing -= 1;
                anyhow::bail!("not now");
            }
        }
        let names: Vec<String> = wanted.names().to_vec();
        Ok(certificate(&names, &wanted.common_name, self.clock.now()))
    }

    fn put(&self, pair: &Pair) -> Result<()> {
        let facts = Facts::read(&pair.certificate_pem).context("unreadable")?;
        self.put.send((self.clock.now(), facts.names)).context("nobody listens")
    }
}

struct Stage {
    put: mpsc::UnboundedReceiver<(Timestamp, Vec<String>)>,
    tried: Arc<Mutex<Vec<Timestamp>>>,
    failing: Arc<Mutex<u32>>,
    addresses: watch::Sender<Vec<IpAddr>>,
    shutdown: Shutdown,
    running: tokio::task::JoinSet<()>,
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn stage(first: Option<Facts>) -> Stage {
    let clock = Arc::new(Wall { start: start(), since: Instant::now() });
    let (sender, put) = mpsc::unbounded_channel();
    let (addresses, follower) = watch::channel(vec![ip("192.0.2.7")]);
    let (failing, tried) = (Arc::new(Mutex::new(0)), Arc::<Mutex<Vec<_>>>::default());
    let keeper = Keeper {
        name: "serving",
        wanted: Box::new(|addresses| Wanted::serving("n1", addresses)),
        addresses: follower,
        source: Box::new(Signer {
            clock: clock.clone(),
            failing: failing.clone(),
            put: sender,
            tried: tried.clone(),
        }),
        figures: Figures::default(),
        clock,
    };
    let shutdown = Shutdown::new();
    let mut running = tokio::task::JoinSet::new();
    running.spawn(keeper.run(first, shutdown.clone()));
    Stage { put, tried, failing, addresses, shutdown, running }
}

impl Stage {
    async fn next(&mut self) -> (SignedDuration, Vec<String>) {
        let (at, names) = self.put.recv().await.expect("the keeper runs");
        (at.duration_since(start()), names)
    }

    async fn stop(mut self) {
        self.shutdown.start();
        self.running.join_next().await.expect("one task").expect("ended in order");
    }
}

fn facts(names: &[&str], begins: Timestamp) -> Facts {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    Facts::read(&certificate(&names, "system:node:n1", begins).certificate_pem).expect("readable")
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_renewed_between_70_and_90_percent_of_its_life() {
    let mut stage = stage(Some(facts(&["n1", "192.0.2.7"], start())));
    let mut before = SignedDuration::ZERO;
    for _ in 0..5 {
        let (at, names) = stage.next().await;
        let used = at - before;
        assert!((SignedDuration::from_hours(7)..=SignedDuration::from_hours(9)).contains(&used), "{used:?}");
        assert_eq!(names, ["n1", "192.0.2.7"]);
        before = SignedDuration::from_secs(at.as_secs());
    }
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_certificate_one_is_asked_for_at_once_and_an_old_one_is_late_already() {
    let mut none = stage(None);
    assert_eq!(none.next().await.0, SignedDuration::ZERO);
    none.stop().await;
    let mut old = stage(Some(facts(&["n1", "192.0.2.7"], start() - SignedDuration::from_hours(9))));
    assert_eq!(old.next().await.0, SignedDuration::ZERO);
    old.stop().await;
    // Of another node.
    let mut other = facts(&["n1", "192.0.2.7"], start());
    other.common_name = "system:node:n2".into();
    let mut other = stage(Some(other));
    assert_eq!(other.next().await.0, SignedDuration::ZERO);
    other.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_address_gets_a_certificate_at_once_and_a_former_one_does_not() {
    let mut stage = stage(Some(facts(&["n1", "192.0.2.7"], start())));
    tokio::time::sleep(Duration::from_hours(1)).await;
    stage.addresses.send_replace(vec![ip("192.0.2.7")]);
    tokio::time::sleep(Duration::from_mins(30)).await;
    assert!(stage.tried.lock().expect("whole").is_empty(), "nothing has changed");
    stage.addresses.send_replace(vec![ip("2001:db8::7")]);
    let (at, names) = stage.next().await;
    assert_eq!((at.as_mins(), names), (90, vec!["n1".to_owned(), "2001:db8::7".to_owned()]));
    stage.stop().await;
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_with_growing_waits() {
    let mut stage = stage(None);
    *stage.failing.lock().expect("whole") = 4;
    assert_eq!(stage.next().await.0.as_secs(), 2 + 4 + 8 + 16);
    let tried: Vec<i64> =
        stage.tried.lock().expect("whole").iter().map(|at| at.duration_since(start()).as_secs()).collect();
    assert_eq!(tried, [0, 2, 6, 14, 30]);
    stage.stop().await;
}

#[test]
fn the_moment_is_within_its_bounds() {
    let facts = facts(&[], start());
    let after = |millionths| renewal(&facts, millionths).duration_since(start()).as_secs();
    assert_eq!((after(0), after(500_000), after(999_999)), (25_200, 28_800, 32_399));
}
