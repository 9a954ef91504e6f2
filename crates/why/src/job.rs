//! Why a Job has not completed, and why a CronJob starts none.

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Event, Pod};

use crate::account::{Account, number};
use crate::reader::Reader;
use crate::{deletion, refusals, warnings, workload};

/// What an account of a Job is made of.
#[derive(Debug, Default)]
pub struct Facts {
    pub job: Job,
    pub events: Vec<Event>,
    /// The accounts of its pods that run or wait and are not ready, and of those that failed.
    pub unwell: Vec<Account>,
}

/// # Errors
/// When there is no such Job, or what it depends on cannot be read.
pub async fn tell(reader: &Reader, namespace: &str, name: &str) -> kube::Result<Account> {
    let job: Job = reader.get(namespace, name).await?;
    let selector = job.spec.as_ref().and_then(|spec| spec.selector.as_ref()).map(workload::written);
    let pods: Vec<Pod> = match selector.filter(|selector| !selector.is_empty()) {
        Some(selector) => reader.list(namespace, &selector).await?,
        None => Vec::new(),
    };
    let events = reader.events(Some(namespace), job.metadata.uid.as_deref()).await?;
    // Without those that have succeeded: they are well.
    let unwell = workload::unwell(reader, pods).await?;
    Ok(account(&Facts { job, events, unwell }))
}

pub fn account(facts: &Facts) -> Account {
    let meta = &facts.job.metadata;
    let mut account = deletion::account(meta).unwrap_or_else(|| state(facts));
    if !account.well {
        account.stand_behind(facts.unwell.iter().cloned());
    }
    account.of("job", meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default())
}

fn state(facts: &Facts) -> Account {
    let (spec, status) =
        (facts.job.spec.clone().unwrap_or_default(), facts.job.status.clone().unwrap_or_default());
    let condition = |kind: &str| {
        status
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == kind && condition.status == "True")
    };
    let (succeeded, failed, active) =
        (status.succeeded.unwrap_or(0), status.failed.unwrap_or(0), status.active.unwrap_or(0));
    if condition("Complete").is_some() {
        return Account::well(format!("has completed: {} succeeded", number(succeeded, "pod")));
    }
    if let Some(condition) = condition("Failed").or_else(|| condition("FailureTarget")) {
        let (reason, message) =
            (condition.reason.clone().unwrap_or_default(), condition.message.clone().unwrap_or_default());
        let mut account = Account::unwell(format!("has failed: {reason}: {message}"));
        account.causes.push(format!("{} failed, {succeeded} succeeded", number(failed, "pod")));
        account.help = match reason.as_str() {
            "DeadlineExceeded" => Some("raise activeDeadlineSeconds, or make the work shorter".to_owned()),
            "BackoffLimitExceeded" => {
                Some("mend what makes the pods fail and make the Job anew, or raise backoffLimit".to_owned())
            }
            _ => None,
        };
        return account;
    }
    if let Some(other) = spec.managed_by.filter(|name| name != "kubernetes.io/job-controller") {
        return Account::unwell(format!("waits for the controller {other:?}, which is not knarr's"));
    }
    if spec.suspend == Some(true) {
        let mut account = Account::unwell("is suspended");
        account.help = Some("set spec.suspend to false".to_owned());
        return account;
    }
    let done = match spec.completions {
        Some(wanted) => format!("{succeeded} of {}", number(wanted, "pod")),
        None => number(succeeded, "pod"),
    };
    let mut account = Account::unwell(format!("runs: {done} succeeded, {active} active, {failed} failed"));
    if let Some(message) = warnings::message(&facts.events, "FailedCreate") {
        account.causes.push(format!("a pod cannot be made: {message}"));
        account.help = refusals::help(message);
    }
    if failed > 0 {
        let limit = spec.backoff_limit.unwrap_or(6);
        account.causes.push(format!("it is given up after {}", number(limit, "failure")));
    }
    account
}

/// # Errors
/// When there is no such CronJob, or its events cannot be read.
pub async fn tell_cron(reader: &Reader, namespace: &str, name: &str) -> kube::Result<Account> {
    let cron: CronJob = reader.get(namespace, name).await?;
    let events = reader.events(Some(namespace), cron.metadata.uid.as_deref()).await?;
    let mut behind = Vec::new();
    for active in cron.status.iter().flat_map(|status| status.active.iter().flatten()) {
        if let Some(job) = &active.name {
            behind.push(tell(reader, namespace, job).await?);
        }
    }
    Ok(account_of_cron(&cron, &events, behind))
}

fn account_of_cron(cron: &CronJob, events: &[Event], active: Vec<Account>) -> Account {
    let meta = &cron.metadata;
    let mut account = deletion::account(meta).unwrap_or_else(|| cron_state(cron));
    account.stand_behind(active);
    account.causes.extend(warnings::lines(events));
    account.well = account.well && account.behind.is_empty() && account.causes.is_empty();
    account.of("cronjob", meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default())
}

fn cron_state(cron: &CronJob) -> Account {
    let (spec, status) = (cron.spec.clone(), cron.status.clone().unwrap_or_default());
    if spec.suspend == Some(true) {
        let mut account = Account::unwell("is suspended");
        account.help = Some("set spec.suspend to false".to_owned());
        return account;
    }
    let zone = spec.time_zone.map(|zone| format!(" in {zone}")).unwrap_or_default();
    let last = match status.last_schedule_time {
        Some(time) => format!("its last start was at {}", time.0),
        None => "it has not started a Job yet".to_owned(),
    };
    let mut account = Account::well(format!("starts a Job at {:?}{zone}; {last}", spec.schedule));
    let active = status.active.map_or(0, |active| active.len());
    if spec.concurrency_policy.as_deref() == Some("Forbid") && active > 0 {
        account.well = false;
        account
            .causes
            .push("it starts no Job while the one before runs (concurrencyPolicy Forbid)".to_owned());
    }
    account
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::samples::object;

    #[test]
    fn a_failed_job_says_how() {
        let status = json!({"failed": 7, "conditions": [{"type": "Failed", "status": "True",
            "reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit"}]});
        let facts = Facts { job: object("j", json!({"template": {}}), status), ..Facts::default() };
        assert_eq!(
            account(&facts).text(),
            "job ns/j has failed: BackoffLimitExceeded: Job has reached the specified backoff limit\n  \
             7 pods failed, 0 succeeded\n\
             What would help: mend what makes the pods fail and make the Job anew, or raise backoffLimit.\n"
        );
    }

    #[test]
    fn a_job_that_waits_names_its_pods() {
        let pod = Account::unwell("waits: none of 1 nodes takes it").of("pod", Some("ns"), "j-1");
        let facts = Facts {
            job: object("j", json!({"template": {}, "completions": 2}), json!({"active": 1, "succeeded": 1})),
            unwell: vec![pod],
            ..Facts::default()
        };
        assert_eq!(
            account(&facts).text(),
            "job ns/j runs: 1 of 2 pods succeeded, 1 active, 0 failed\n  pod ns/j-1 waits: none of 1 nodes takes it\n"
        );
        let facts = Facts {
            job: object("j", json!({"template": {}, "suspend": true}), json!({})),
            ..Facts::default()
        };
        assert!(account(&facts).text().ends_with("What would help: set spec.suspend to false.\n"));
    }

    #[test]
    fn a_cron_job_that_forbids_a_second_job_names_the_one_that_runs() {
        let spec = json!({"schedule": "* * * * *", "concurrencyPolicy": "Forbid", "jobTemplate": {}});
        let cron = object("c", spec, json!({"active": [{"name": "c-1"}]}));
        let job = Account::unwell("runs").of("job", Some("ns"), "c-1");
        assert_eq!(
            account_of_cron(&cron, &[], vec![job]).text(),
            "cronjob ns/c starts a Job at \"* * * * *\"; it has not started a Job yet\n  \
             it starts no Job while the one before runs (concurrencyPolicy Forbid)\n  job ns/c-1 runs\n"
        );
    }
}
