//! Cron jobs: makes a Job each time a schedule names, and keeps some of those that are over.
//!
//! Start with [`plan`], the decision; [`timing`] says which run is due. A run's Job is named after its time, so that no
//! run is made twice, whoever tries and whenever the controller dies; what the status does not know of such a Job
//! yet, the next round takes from the Job itself.
//!
//! Upstream: `pkg/controller/cronjob`.

pub mod controller;
mod history;
mod plan;
mod timing;

pub use controller::CronJobController;

#[cfg(test)]
mod tests;
