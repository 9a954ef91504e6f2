//! etcd is killed and comes back, loses its leader, loses its majority: nothing acknowledged is lost, and nothing is
//! said that is not so.

use std::collections::BTreeSet;

use etcd::testing::Cluster;
use etcd::v3::MoveLeaderRequest;
use etcd::v3::maintenance_client::MaintenanceClient;
use etcd::{Etcd, TlsFiles};
use futures::StreamExt;
use store::{Error, Expect, ListRange, Store, WatchItem};

use super::Fixture;
use crate::Backend;

/// Counts with compare-and-swap until `target`, through every fault: what a careful writer does. Returns the numbers
/// that were acknowledged.
async fn count_to(store: Etcd, target: u64) -> BTreeSet<u64> {
    let mut acknowledged = BTreeSet::new();
    loop {
        let held = match store.get("/count/n").await {
            Ok((held, _)) => held,
            Err(Error::Unavailable(_) | Error::Timeout(_)) => {
                pause().await;
                continue;
            }
            Err(other) => panic!("{other}"),
        };
        let now: u64 = held.as_ref().map_or(0, |kv| String::from_utf8_lossy(&kv.value).parse().unwrap());
        if now >= target {
            return acknowledged;
        }
        let expect = held.map_or(Expect::Absent, |kv| Expect::Revision(kv.mod_revision));
        match store.put("/count/n", (now + 1).to_string().into(), expect, None).await {
            Ok(_) => assert!(acknowledged.insert(now + 1)),
            Err(Error::Conflict { .. }) => {}
            Err(Error::Unavailable(_) | Error::Timeout(_)) => pause().await,
            Err(other) => panic!("{other}"),
        }
    }
}

/// Between tries: the processes of etcd want the processor, too.
async fn pause() {
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
}

/// Follows to the number `target` through breaks, and returns all numbers seen, in order.
async fn follow(store: Etcd, target: u64) -> Vec<u64> {
    let mut seen: Vec<u64> = Vec::new();
    let mut position = 1;
    while seen.last() != Some(&target) {
        let Ok(mut watch) = store.watch("/count/", position).await else {
            pause().await;
            continue;
        };
        while let Some(Ok(item)) = watch.next().await {
            if let WatchItem::Changes(changes) = item {
                for change in &changes {
                    let value = change.value.as_ref().expect("nothing is deleted");
                    seen.push(String::from_utf8_lossy(value).parse().unwrap());
                }
                position = changes.last().expect("at least one").revision;
            }
            if seen.last() == Some(&target) {
                return seen;
            }
        }
        pause().await;
    }
    seen
}

/// Waits until the counters have come to `n`.
async fn reached(store: &Etcd, n: u64) {
    let follower = follow(store.clone(), n);
    if tokio::time::timeout(std::time::Duration::from_secs(60), follower).await.is_err() {
        panic!("counting stopped before {n}: {:?}", store.get("/count/n").await);
    }
}

/// Runs two counters and a follower beside `fault`, and checks that they agree.
async fn through(fixture: &mut Fixture, target: u64, fault: impl AsyncFnOnce(&mut Cluster, &Etcd)) {
    let store = fixture.store.clone();
    let mut counters = tokio::task::JoinSet::new();
    for _ in 0..2 {
        counters.spawn(count_to(store.clone(), target));
    }
    let mut followers = tokio::task::JoinSet::new();
    followers.spawn(follow(store.clone(), target));
    reached(&store, 20).await;
    fault(&mut fixture.cluster, &store).await;
    let counted = counters.join_all().await;
    assert!(counted[0].is_disjoint(&counted[1]), "each number was acknowledged to one");
    let seen = followers.join_all().await.remove(0);
    assert!(seen.iter().copied().eq(1..=target), "every number once, in order: {seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_etcd_comes_back_with_all_it_acknowledged() {
    let mut fixture = Fixture::new();
    through(&mut fixture, 300, async |cluster, _| {
        cluster.members[0].kill();
        cluster.members[0].start().expect("etcd starts again");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_and_leaders_change_under_readers_and_writers() {
    let mut fixture = Fixture::of(3);
    through(&mut fixture, 400, async |cluster, store| {
        let (leader, ids) = members(cluster).await;
        let next = (leader + 1) % 3;
        let channel = etcd::connect_member(&cluster.members[leader].endpoint(), &TlsFiles::default());
        let target_id = ids[next];
        MaintenanceClient::new(channel)
            .move_leader(MoveLeaderRequest { target_id })
            .await
            .expect("the leader moves");
        reached(store, 60).await;
        cluster.members[next].kill();
        reached(store, 120).await;
        cluster.members[next].start().expect("the member starts again");
    })
    .await;
}

/// Which member leads, and all members' numbers.
async fn members(cluster: &Cluster) -> (usize, Vec<u64>) {
    let mut ids = Vec::new();
    let mut leader = 0;
    for member in &cluster.members {
        let channel = etcd::connect_member(&member.endpoint(), &TlsFiles::default());
        let status =
            MaintenanceClient::new(channel).status(etcd::v3::StatusRequest {}).await.unwrap().into_inner();
        leader = status.leader;
        ids.push(status.header.expect("every answer has a header").member_id);
    }
    (ids.iter().position(|id| *id == leader).expect("one of them leads"), ids)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_nothing_is_answered_and_with_it_all_goes_on() {
    let mut fixture = Fixture::of(3);
    let store = fixture.store.clone();
    let put = async |value: &'static str| store.put("/a", value.into(), Expect::Anything, None).await;
    let first = put("1").await.unwrap();
    let mut watch = store.watch("/", first.mod_revision).await.unwrap();
    fixture.cluster.members[1].kill();
    fixture.cluster.members[2].kill();
    let written = put("2").await;
    assert!(matches!(written, Err(Error::Unavailable(_) | Error::Timeout(_))), "{written:?}");
    let read = store.get("/a").await;
    assert!(matches!(read, Err(Error::Unavailable(_) | Error::Timeout(_))), "no old answer: {read:?}");
    let broken = loop {
        match watch.next().await {
            Some(Ok(_)) => {}
            other => break other,
        }
    };
    assert!(matches!(broken, Some(Err(Error::Unavailable(_) | Error::Timeout(_)))), "{broken:?}");
    fixture.cluster.members[1].start().expect("the member starts again");
    let last = loop {
        match put("3").await {
            Ok(last) => break last,
            Err(Error::Unavailable(_) | Error::Timeout(_)) => pause().await,
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(store.get("/a").await.unwrap().0.as_ref().map(|kv| &kv.value), Some(&last.value));
    // The write in between may have been done or not: a reader that goes on sees which.
    let mut watch = store.watch("/", first.mod_revision).await.unwrap();
    let mut values = Vec::new();
    while values.last().is_none_or(|value| value != "3") {
        if let WatchItem::Changes(changes) = watch.next().await.unwrap().unwrap() {
            values.extend(changes.iter().filter_map(|change| change.value.clone()));
        }
    }
    let page = store.list(ListRange { at: Some(first.mod_revision), ..ListRange::default() }).await.unwrap();
    assert_eq!(page.items[0].value, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_hangs_leaves_the_others_time() {
    let mut fixture = Fixture::of(3);
    let put = async |value: &'static str| fixture.store.put("/a", value.into(), Expect::Anything, None).await;
    put("1").await.unwrap();
    let pid = fixture.cluster.members[0].pid().and_then(|pid| i32::try_from(pid).ok()).expect("a process");
    let pid = rustix::process::Pid::from_raw(pid).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("it is this test's own");
    let begun = tokio::time::Instant::now();
    assert_eq!(fixture.store.get("/a").await.unwrap().0.unwrap().value, "1", "another member answers");
    assert!(begun.elapsed() < std::time::Duration::from_secs(9), "{:?}", begun.elapsed());
    // The next call begins with the one that answered.
    let begun = tokio::time::Instant::now();
    put("2").await.unwrap();
    assert!(begun.elapsed() < std::time::Duration::from_secs(4), "{:?}", begun.elapsed());
    fixture.cluster.members[0].kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_that_is_not_there_is_named() {
    let mut fixture = Fixture::new();
    let url = fixture.cluster.members[0].url().to_owned();
    fixture.cluster.members[0].kill();
    let Err(error) = Etcd::connect(fixture.cluster.config()).await else { panic!("nobody listens") };
    assert!(matches!(&error, Error::Unavailable(_)), "{error:?}");
    assert!(error.to_string().contains(&url) && error.to_string().contains("refused"), "{error}");
    let written = fixture.store.put("/a", "1".into(), Expect::Anything, None).await;
    assert!(matches!(written, Err(Error::Unavailable(_) | Error::Timeout(_))), "{written:?}");
}
