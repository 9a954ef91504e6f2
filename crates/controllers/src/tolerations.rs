//! Which taints a pod tolerates, and for how long.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Taint, Toleration};

/// How long a pod may stay on a node with these taints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stay {
    /// Without limit.
    Forever,
    /// For this time after the taints were added.
    For(SignedDuration),
    /// Not at all.
    No,
}

/// The shortest time that any toleration used allows; not at all if a taint is not tolerated.
pub(crate) fn stay(taints: &[Taint], tolerations: &[Toleration]) -> Stay {
    let mut shortest = Stay::Forever;
    for taint in taints {
        let Some(used) = tolerations.iter().find(|t| pods::tolerates_taint(t, taint)) else {
            return Stay::No;
        };
        let Some(seconds) = used.toleration_seconds else { continue };
        let limit = SignedDuration::from_secs(seconds.max(0));
        shortest = match shortest {
            Stay::For(so_far) if so_far <= limit => shortest,
            _ => Stay::For(limit),
        };
    }
    shortest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toleration(key: &str, operator: &str, value: &str, effect: &str, seconds: Option<i64>) -> Toleration {
        let text = |t: &str| Some(t.to_owned()).filter(|t| !t.is_empty());
        Toleration {
            key: text(key),
            operator: text(operator),
            value: text(value),
            effect: text(effect),
            toleration_seconds: seconds,
        }
    }

    fn taint(key: &str, value: &str) -> Taint {
        let value = Some(value.to_owned()).filter(|v| !v.is_empty());
        Taint { key: key.into(), value, effect: "NoExecute".into(), time_added: None }
    }

    #[test]
    fn the_shortest_time_counts() {
        let (a, b) = (taint("a", ""), taint("b", ""));
        let long = toleration("a", "Exists", "", "", Some(300));
        let short = toleration("b", "Exists", "", "", Some(5));
        let forever = toleration("", "Exists", "", "", None);
        assert_eq!(
            stay(std::slice::from_ref(&a), std::slice::from_ref(&long)),
            Stay::For(SignedDuration::from_secs(300))
        );
        assert_eq!(
            stay(&[a.clone(), b.clone()], &[long.clone(), short]),
            Stay::For(SignedDuration::from_secs(5))
        );
        assert_eq!(stay(&[a.clone(), b.clone()], std::slice::from_ref(&long)), Stay::No);
        assert_eq!(stay(&[b, a], &[forever]), Stay::Forever);
        assert_eq!(stay(&[], &[]), Stay::Forever);
    }
}
