//! `/healthz`, `/livez` and `/readyz`: named checks, with upstream's texts.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;

use crate::body::Body;
use crate::metrics::Metrics;
use crate::request::query::Query;
use crate::respond;

const KINDS: [&str; 3] = ["healthz", "livez", "readyz"];

type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The registered checks. `ping` always passes and is not kept here.
#[derive(Default)]
pub(crate) struct Health {
    ready: Mutex<Vec<(&'static str, Check)>>,
    /// Asked whatever is to be known.
    always: Mutex<Vec<(&'static str, Check)>>,
}

/// Steps of the start that are not done yet; see [`crate::Server::begin`].
#[must_use = "the server is not healthy before its steps are done"]
#[derive(Debug)]
pub struct Steps(Arc<AtomicBool>);

impl Steps {
    pub fn done(self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Health {
    pub(crate) fn add_ready_check(&self, name: &'static str, check: Check) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).push((name, check));
    }

    pub(crate) fn add_check(&self, name: &'static str, check: Check) {
        self.always.lock().unwrap_or_else(PoisonError::into_inner).push((name, check));
    }

    /// Until [`Steps::done`] the checks of these names fail.
    pub(crate) fn begin(&self, names: &[&'static str]) -> Steps {
        let done = Arc::new(AtomicBool::new(false));
        for name in names {
            let done = Arc::clone(&done);
            let check =
                move || if done.load(Ordering::Acquire) { Ok(()) } else { Err("not finished".to_owned()) };
            self.add_check(name, Box::new(check));
        }
        Steps(done)
    }

    /// Answers `/KIND` or `/KIND/CHECK`; `None` for an unknown kind or check. `store` is how the store is.
    pub(crate) fn answer(
        &self,
        kind: &str,
        only: Option<&str>,
        query: &Query,
        metrics: &Metrics,
        store: &Result<(), String>,
    ) -> Option<http::Response<Body>> {
        let kind = KINDS.into_iter().find(|known| *known == kind)?;
        let excluded: Vec<&str> = query.all("exclude").collect();
        let mut lines = String::new();
        let mut failed = false;
        let mut found = false;
        let mut report = |name: &'static str, result: Result<(), String>| {
            if only.is_some_and(|o| o != name) {
                return;
            }
            found = true;
            metrics.checked(name, kind, result.is_ok());
            let line = if excluded.contains(&name) {
                format!("[+]{name} excluded: ok")
            } else if result.is_ok() {
                format!("[+]{name} ok")
            } else {
                failed = true;
                format!("[-]{name} failed: reason withheld")
            };
            if let Err(why) = result {
                tracing::debug!(check = name, why, "health check failed");
            }
            // Writing to a string cannot fail.
            let _ = writeln!(lines, "{line}");
        };
        report("ping", Ok(()));
        // Upstream's says whether its logger can still write; ours never blocks.
        report("log", Ok(()));
        report("etcd", store.clone());
        for (name, check) in self.always.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            report(name, check());
        }
        if kind == "readyz" {
            report("etcd-readiness", store.clone());
            report("informer-sync", store.clone());
            for (name, check) in self.ready.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                report(name, check());
            }
        }
        if !found {
            return None;
        }
        Some(if failed {
            respond::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{lines}{kind} check failed\n"))
        } else if query.flag("verbose") {
            respond::text(StatusCode::OK, format!("{lines}{kind} check passed\n"))
        } else {
            respond::text(StatusCode::OK, "ok")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_part_is_named_and_others_can_be_asked_alone() {
        let (health, metrics) = (Health::default(), Metrics::new(&crate::cache::StoreCalls::default()));
        health.add_ready_check("store", Box::new(|| Err("down".into())));
        let code = |kind, only, query| {
            health.answer(kind, only, &Query::parse(query), &metrics, &Ok(())).map(|r| r.status().as_u16())
        };
        assert_eq!(code("readyz", None, ""), Some(500));
        assert_eq!(code("readyz", Some("ping"), ""), Some(200));
        assert_eq!(code("readyz", None, "exclude=store"), Some(200));
        assert_eq!(code("livez", None, "verbose"), Some(200));
        assert_eq!(code("livez", Some("store"), ""), None);
        health.add_check("keys", Box::new(|| Ok(())));
        assert_eq!(
            (code("livez", Some("keys"), ""), code("readyz", Some("keys"), "")),
            (Some(200), Some(200))
        );
        let lost = Err("no leader".to_owned());
        let code = |kind, only, store| {
            let answer = health.answer(kind, only, &Query::parse("exclude=store"), &metrics, store);
            answer.map(|r| r.status().as_u16())
        };
        assert_eq!(
            (code("livez", Some("etcd"), &lost), code("livez", Some("etcd"), &Ok(()))),
            (Some(500), Some(200))
        );
        assert_eq!(
            (code("readyz", Some("etcd-readiness"), &lost), code("livez", Some("etcd-readiness"), &lost)),
            (Some(500), None)
        );
        assert_eq!((code("livez", None, &lost), code("readyz", None, &Ok(()))), (Some(500), Some(200)));
    }

    #[test]
    fn steps_of_the_start_count_once_they_are_done() {
        let (health, metrics) = (Health::default(), Metrics::new(&crate::cache::StoreCalls::default()));
        let steps = health.begin(&["poststarthook/a", "poststarthook/b"]);
        let code = |kind, only| {
            let answer = health.answer(kind, only, &Query::parse(""), &metrics, &Ok(()));
            answer.map(|answer| answer.status().as_u16())
        };
        assert_eq!((code("livez", None), code("healthz", Some("poststarthook/b"))), (Some(500), Some(500)));
        steps.done();
        assert_eq!((code("livez", None), code("readyz", Some("poststarthook/b"))), (Some(200), Some(200)));
    }
}
