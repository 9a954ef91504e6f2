//! The table that masquerades what pods send out of the cluster.

use std::io;

use nft::{Batch, Comparison};

use crate::config::Range;

const CHAIN: &str = "postrouting";

/// The transaction that makes (or makes anew) the table.
pub(crate) fn make(table: &str, pods: Range) -> Batch {
    let mut batch = Batch::new();
    // Adding before deleting makes the deletion succeed whether or not the table was there.
    batch.new_table(table);
    batch.delete_table(table);
    batch.new_table(table);
    batch.new_source_nat_chain(table, CHAIN);
    batch.new_rule(table, CHAIN, |rule| {
        rule.source(pods.network, pods.mask(), Comparison::Equal);
        rule.destination(pods.network, pods.mask(), Comparison::NotEqual);
        rule.masquerade();
    });
    batch
}

/// Removes the table; fine when it is gone.
pub(crate) fn remove(table: &str) -> io::Result<()> {
    let mut batch = Batch::new();
    batch.delete_table(table);
    match batch.send() {
        Err(error) if error.raw_os_error() == Some(nix::libc::ENOENT) => Ok(()),
        other => other,
    }
}
