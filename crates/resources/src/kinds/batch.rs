//! Work that ends.

pub(super) mod cron_job;
pub(super) mod job;
