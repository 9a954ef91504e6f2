//! Jobs and cron jobs (`pkg/apis/batch/validation`).

mod cron_job;
mod indexes;
mod job;
mod policies;
mod status;
mod template;

pub(crate) use cron_job::{cron_job, cron_job_update};
pub(crate) use job::{job, job_update};
pub(crate) use status::job_status;
