//! What is counted of authentication and authorization, under upstream's names
//! (`k8s.io/apiserver/pkg/endpoints/filters/metrics.go`). The counters of each result are found once: a request costs
//! a few additions.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// The users who are told apart; all else is one of the last two.
const USERS: [&str; 7] = [
    "admin",
    "client",
    "kube_proxy",
    "kubelet",
    "system:serviceaccount:kube-system:default",
    "email_id",
    "other",
];
const EMAIL: usize = 5;
const OTHER: usize = 6;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Result {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct User {
    username: &'static str,
}

/// How an authentication ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Authentication {
    Success,
    /// Nobody knows the caller.
    Failure,
    Error,
}

/// What authorizers said.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Authorization {
    Allowed,
    Denied,
    NoOpinion,
}

pub(crate) struct AccessMetrics {
    // Counters upstream, whose names do not end as those of counters here have to.
    authentications: [(Gauge, Histogram); 3],
    users: [Gauge; USERS.len()],
    authorizations: [(Counter, Histogram); 3],
}

impl AccessMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let durations = || {
            Family::<Result, Histogram, fn() -> Histogram>::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.001, 2.0, 15))
            })
        };
        let (attempts, took) = (Family::<Result, Gauge>::default(), durations());
        let users = Family::<User, Gauge>::default();
        let (asked, decided) = (Family::<Result, Counter>::default(), durations());
        registry.register("authentication_attempts", "Counter of authenticated attempts", attempts.clone());
        registry.register(
            "authentication_duration_seconds",
            "Authentication duration in seconds broken out by result",
            took.clone(),
        );
        registry.register(
            "authenticated_user_requests",
            "Counter of authenticated requests broken out by username",
            users.clone(),
        );
        registry.register(
            "authorization_attempts",
            "Counter of authorization attempts broken down by result. It can be either 'allowed', 'denied', 'no-opinion' or 'error'",
            asked.clone(),
        );
        registry.register(
            "authorization_duration_seconds",
            "Authorization duration in seconds broken out by result",
            decided.clone(),
        );
        let of = |result| Result { result };
        Self {
            authentications: ["success", "failure", "error"].map(|result| {
                (attempts.get_or_create_owned(&of(result)), took.get_or_create_owned(&of(result)))
            }),
            users: USERS.map(|username| users.get_or_create_owned(&User { username })),
            authorizations: ["allowed", "denied", "no-opinion"].map(|result| {
                (asked.get_or_create_owned(&of(result)), decided.get_or_create_owned(&of(result)))
            }),
        }
    }

    /// Counts an authentication, and its user where there is one.
    pub(crate) fn authenticated(&self, ending: Authentication, user: Option<&str>, took: Duration) {
        let (attempts, durations) = &self.authentications[ending as usize];
        attempts.inc();
        durations.observe(took.as_secs_f64());
        if let Some(name) = user {
            let known = USERS[..EMAIL].iter().position(|known| *known == name);
            let place = known.unwrap_or(if name.contains('@') { EMAIL } else { OTHER });
            self.users[place].inc();
        }
    }

    /// Counts an authorization.
    pub(crate) fn authorized(&self, ending: Authorization, took: Duration) {
        let (attempts, durations) = &self.authorizations[ending as usize];
        attempts.inc();
        durations.observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn requests_are_counted_by_result_and_user() {
        let mut registry = Registry::default();
        let metrics = AccessMetrics::register(&mut registry);
        let took = Duration::from_micros(20);
        metrics.authenticated(Authentication::Success, Some("jane@example.com"), took);
        metrics.authenticated(Authentication::Success, Some("system:node:a"), took);
        metrics.authenticated(Authentication::Failure, None, took);
        metrics.authorized(Authorization::NoOpinion, took);
        let mut text = String::new();
        encode(&mut text, &registry).expect("a string takes all");
        for line in [
            "authentication_attempts{result=\"success\"} 2",
            "authentication_attempts{result=\"failure\"} 1",
            "authenticated_user_requests{username=\"email_id\"} 1",
            "authenticated_user_requests{username=\"other\"} 1",
            "authorization_attempts_total{result=\"no-opinion\"} 1",
            "authorization_duration_seconds_count{result=\"no-opinion\"} 1",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} in {text}");
        }
    }
}
