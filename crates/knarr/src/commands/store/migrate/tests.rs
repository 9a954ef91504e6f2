use base::ManualClock;
use etcd::testing::Cluster as Members;
use store::{Memory, Previous};

use super::*;

async fn put(store: &dyn Store, key: &str, value: &str, ttl_s: Option<u64>) {
    store.put(key, value.to_owned().into(), Expect::Anything, ttl_s).await.expect("written");
}

async fn fill(store: &dyn Store, kind: &str, count: usize) {
    for n in 0..count {
        put(store, &format!("/registry/{kind}/default/m{n:04}"), &format!("{{\"n\":{n}}}"), None).await;
    }
}

fn memory() -> Memory {
    Memory::new(store::memory::Config::default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_moved_there_and_back_is_the_same() {
    let members = Members::start(1, None).expect("etcd starts");
    let etcd = Etcd::connect(members.config()).await.expect("etcd answers");
    let (first, last) = (memory(), memory());
    fill(&first, "configmaps", 1203).await;
    put(&first, "/registry/events/default/e", "{}", None).await;
    put(&first, "/registry/knarr.io/cluster", "{}", None).await;
    ensure_empty(&etcd, "etcd", "remedy").await.expect("a new etcd is empty");
    let there = copy(&first, &etcd).await.expect("copied");
    assert_eq!((there.objects, there.from, there.to), (1204, 1206, 1205));
    let error = ensure_empty(&etcd, "etcd", "remedy").await.expect_err("not empty").to_string();
    assert!(error.contains("configmaps/default/m0000") && error.contains("`remedy`"), "{error}");
    assert!(copy(&first, &etcd).await.expect_err("not twice").to_string().contains("is there already"));
    let back = copy(&etcd, &last).await.expect("copied");
    assert_eq!((back.objects, back.bytes), (there.objects, there.bytes));
    // What differs afterwards is found.
    put(&last, "/registry/configmaps/default/m0600", "{}", None).await;
    let at = etcd.revision().await.expect("etcd answers");
    assert!(
        compare(&etcd, &last, at)
            .await
            .expect_err("they differ")
            .to_string()
            .contains("not what is read back")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_with_a_server_on_it_is_left_alone() {
    let members = Members::start(1, None).expect("etcd starts");
    let etcd = Etcd::connect(members.config()).await.expect("etcd answers");
    let clock = ManualClock::new("2026-01-01T00:00:10Z".parse().expect("a time"));
    let lease = |holder: &str| {
        serde_json::json!({"spec": {
            "holderIdentity": holder, "renewTime": "2026-01-01T00:00:00.000000Z", "leaseDurationSeconds": 15,
        }})
    };
    let hold = async |holder: &str| put(&etcd, LEASES[0], &lease(holder).to_string(), None).await;
    ensure_idle(&etcd, &clock).await.expect("nobody is there");
    hold("a_1").await;
    let error = ensure_idle(&etcd, &clock).await.expect_err("refused").to_string();
    assert!(error.contains("a server, a_1, works on the etcd") && error.contains("10 s ago"), "{error}");
    clock.advance(jiff::SignedDuration::from_secs(5));
    ensure_idle(&etcd, &clock).await.expect("the lease has run out");
    clock.advance(jiff::SignedDuration::from_secs(-5));
    hold("").await;
    ensure_idle(&etcd, &clock).await.expect("the lease was released");
    // A server that leads nothing.
    put(&etcd, "/registry/masterleases/10.0.0.7", "{}", Some(15)).await;
    let error = ensure_idle(&etcd, &clock).await.expect_err("refused").to_string();
    assert!(
        error.contains("the server at 10.0.0.7 works on the etcd") && error.contains("stop all"),
        "{error}"
    );
}

#[tokio::test]
async fn keys_of_servers_lie_anywhere_among_full_pages() {
    // Objects that sort before and after the keys of servers: pages that end before, at, after and between those.
    for (before, behind) in [(300, 1203), (499, 501), (500, 500), (498, 1), (0, 1000), (1000, 0)] {
        let (source, target) = (memory(), memory());
        fill(&source, "configmaps", before).await;
        fill(&source, "pods", behind).await;
        for key in ["knarr.io/cluster", "masterleases/10.0.0.1", "masterleases/10.0.0.2"] {
            put(&source, &format!("/registry/{key}"), "{}", None).await;
        }
        let moved = copy(&source, &target).await.expect("copied");
        assert_eq!(moved.objects, before + behind);
        let all = target.list(ListRange::default()).await.expect("listed").items;
        assert!(all.len() == before + behind && !all.iter().any(|item| is_of_servers(&item.key)));
        // One more, behind all others, is no match either.
        put(&target, "/registry/services/default/s", "{}", None).await;
        let error = compare(&source, &target, moved.from).await.expect_err("they differ").to_string();
        assert!(error.contains("not what is read back"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_changed_after_it_was_copied_is_noticed() {
    let members = Members::start(1, None).expect("etcd starts");
    let etcd = Etcd::connect(members.config()).await.expect("etcd answers");
    put(&etcd, "/registry/pods/default/a", "{}", None).await;
    put(&etcd, "/registry/events/default/e", "{}", None).await;
    let now = async || etcd.revision().await.expect("etcd answers");
    let delete = async |key| etcd.delete(key, Expect::Anything, Previous::Unwanted).await.expect("deleted");
    let at = now().await;
    ensure_unchanged(&etcd, at).await.expect("nothing was written");
    put(&etcd, "/elsewhere/a", "{}", None).await;
    delete("/registry/events/default/e").await;
    ensure_unchanged(&etcd, at).await.expect("no object was written");
    put(&etcd, "/registry/pods/default/a", "{\"n\":1}", None).await;
    let error = ensure_unchanged(&etcd, at).await.expect_err("written").to_string();
    assert!(error.contains("/registry/pods/default/a was changed") && error.contains("Stop all"), "{error}");
    let at = now().await;
    delete("/registry/pods/default/a").await;
    ensure_unchanged(&etcd, at).await.expect_err("deleted");
    // A server that came and went.
    let at = now().await;
    put(&etcd, "/registry/masterleases/10.0.0.7", "{}", Some(15)).await;
    delete("/registry/masterleases/10.0.0.7").await;
    ensure_no_server(&etcd).await.expect("gone");
    ensure_unchanged(&etcd, at).await.expect_err("a server was there");
}
