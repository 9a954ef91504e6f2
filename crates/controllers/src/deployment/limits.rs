//! How far a rolling update may go over and under the wanted number of pods.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::scaled::scaled;

/// The number of pods wanted.
pub(super) fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
}

pub(super) fn is_rolling(spec: &DeploymentSpec) -> bool {
    spec.strategy.as_ref().and_then(|s| s.type_.as_deref()).unwrap_or("RollingUpdate") == "RollingUpdate"
}

/// Pods over and under the wanted number, both 0 unless the update is a rolling one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub max_surge: i32,
    pub max_unavailable: i32,
}

impl Limits {
    /// Percentages of surge round up, those of unavailability down; where both come to nothing, one pod may
    /// be unavailable, or the update could not move.
    pub fn of(deployment: &Deployment) -> Self {
        let replicas = replicas(deployment);
        let none = Self { max_surge: 0, max_unavailable: 0 };
        let Some(spec) = deployment.spec.as_ref().filter(|spec| is_rolling(spec)) else { return none };
        let rolling = spec.strategy.as_ref().and_then(|s| s.rolling_update.as_ref());
        let quarter = IntOrString::String("25%".to_owned());
        let surge = rolling.and_then(|r| r.max_surge.as_ref()).unwrap_or(&quarter);
        let unavailable = rolling.and_then(|r| r.max_unavailable.as_ref()).unwrap_or(&quarter);
        let max_surge = scaled(surge, replicas, true);
        let mut max_unavailable = scaled(unavailable, replicas, false);
        if max_surge == 0 && max_unavailable == 0 {
            max_unavailable = 1;
        }
        Self { max_surge, max_unavailable: max_unavailable.min(replicas) }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::{DeploymentStrategy, RollingUpdateDeployment};

    use super::*;

    #[test]
    fn fence_posts() {
        let of = |replicas: i32, surge: &str, unavailable: &str| {
            let value = |text: &str| {
                Some(text.parse().map_or_else(|_| IntOrString::String(text.to_owned()), IntOrString::Int))
            };
            let rolling =
                RollingUpdateDeployment { max_surge: value(surge), max_unavailable: value(unavailable) };
            let strategy = DeploymentStrategy { rolling_update: Some(rolling), type_: None };
            let spec = DeploymentSpec {
                replicas: Some(replicas),
                strategy: Some(strategy),
                ..DeploymentSpec::default()
            };
            let limits = Limits::of(&Deployment { spec: Some(spec), ..Deployment::default() });
            (limits.max_surge, limits.max_unavailable)
        };
        assert_eq!(of(3, "25%", "25%"), (1, 0));
        assert_eq!(of(10, "25%", "25%"), (3, 2));
        assert_eq!(of(10, "0", "0%"), (0, 1));
        assert_eq!(of(2, "0", "5"), (0, 2));
    }
}
