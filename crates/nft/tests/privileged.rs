//! Needs root: the kernel's own answer to transactions, in a network namespace the test makes for itself.

use nft::{Batch, Data, Element, Field, Holds, Set};
use nix::sched::{CloneFlags, unshare};

/// Runs `test` on a thread of a network namespace of its own.
fn alone(test: impl FnOnce() + Send + 'static) {
    std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("needs root: a new network namespace");
        test();
    })
    .join()
    .expect("the test");
}

fn keys(count: u32) -> Vec<[u8; 4]> {
    (0..count).map(u32::to_be_bytes).collect()
}

/// Sixty thousand elements take a megabyte, and far more than one list holds.
#[test]
fn a_large_set_is_one_transaction() {
    alone(|| {
        let keys = keys(60_000);
        let mut batch = Batch::new();
        batch.new_table("large");
        batch.new_set(
            Set { table: "large", name: "members", key: &[Field::Number], holds: Holds::Members },
            1,
        );
        batch.add_elements("large", "members", keys.iter().map(|key| Element { key, data: None }));
        batch.send().expect("taken");
        let held = |key: &[u8]| nft::contains("large", "members", key).expect("asked");
        assert_eq!(keys.iter().filter(|key| held(*key)).count(), keys.len());
        assert!(!held(&60_000u32.to_be_bytes()), "and no other");
        assert_eq!(nft::tables(nft::Family::Ipv4, "lar").expect("listed"), ["large"]);
    });
}

#[test]
fn a_map_leads_to_chains_and_a_bad_batch_changes_nothing() {
    alone(|| {
        let mut batch = Batch::new();
        batch.new_table("map");
        batch.new_chain("map", "target");
        batch.new_set(Set { table: "map", name: "ways", key: &[Field::Number], holds: Holds::Verdicts }, 1);
        let keys = keys(5_000);
        let jump = |key| Element { key, data: Some(Data::Jump("target")) };
        batch.add_elements("map", "ways", keys.iter().map(|key| jump(key)));
        batch.send().expect("taken");
        let held = |key: &[u8]| nft::contains("map", "ways", key).expect("asked");
        assert_eq!(keys.iter().filter(|key| held(*key)).count(), keys.len());

        let mut batch = Batch::new();
        batch.new_table("never");
        batch.add_elements("map", "ways", [Element { key: &[9; 4], data: Some(Data::Jump("nowhere")) }]);
        assert_eq!(batch.send().expect_err("refused").kind(), std::io::ErrorKind::NotFound);
        let mut batch = Batch::new();
        batch.new_table("never");
        batch.add_elements("map", "ways", [Element { key: &[9; 70_000], data: None }]);
        assert_eq!(batch.send().expect_err("refused").kind(), std::io::ErrorKind::InvalidInput);
        assert_eq!(nft::tables(nft::Family::Ipv4, "").expect("listed"), ["map"]);
        assert!(!held(&[9; 4]) && !nft::contains("map", "nowhere", &[9; 4]).expect("asked"));
        let error = nft::contains("map", "ways", &[9; 70_000]).expect_err("refused");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    });
}
