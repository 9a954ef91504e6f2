//! Per-kind logic: [`strategy_for`] picks a kind's [`Strategy`] out of one table; [`GENERIC`] serves
//! the rest. Defaults are in `defaults`, what is valid in `validation`; the files below hold what
//! creation and updates do to an object of a kind.

mod certificate;
mod custom_resource;
mod daemon_set;
mod deployment;
mod job;
mod namespace;
mod pod;
mod qos;
mod service;
mod service_account;
mod status;

use api::names;
use serde_json::json;

use crate::defaults;
use crate::row::Strategy;
use crate::validation as valid;

pub use qos::qos_class;

/// What a kind without logic of its own gets: metadata rules only, status apart from spec.
pub const GENERIC: Strategy = Strategy {
    default: |_| {},
    prepare_create: |_| {},
    prepare_update: |_, _| {},
    prepare_status_update: status::keep_all_but_status,
    validate_create: |_| Vec::new(),
    validate_update: |_, _| Vec::new(),
    validate_status_update: |_, _| Vec::new(),
    validate_part_update: |_, _| Vec::new(),
    warnings: |_| Vec::new(),
    warns_on_update: true,
    has_generation: false,
    create_on_update: false,
    unconditional_update: true,
    grace_period_s: None,
    orphan_by_default: false,
    name_grammar: names::dns1123_subdomain,
};

/// A kind whose status only its controllers write.
const STATUS: Strategy = Strategy { prepare_create: status::clear, prepare_update: status::keep, ..GENERIC };

/// The same, counting changes of the spec.
const COUNTED: Strategy = Strategy { has_generation: true, ..STATUS };

/// A kind without status that counts changes.
const COUNTED_PLAIN: Strategy = Strategy { has_generation: true, ..GENERIC };

/// A kind that PUT may create.
const PUT_CREATES: Strategy = Strategy { create_on_update: true, ..GENERIC };

/// A kind whose updates must say which version they change.
const CONDITIONAL: Strategy = Strategy { unconditional_update: false, ..GENERIC };

/// The strategy of a built-in kind.
pub fn strategy_for(group: &str, kind: &str) -> Strategy {
    match group {
        "" => core(kind),
        "apps" => apps(kind),
        "batch" => batch(kind),
        "autoscaling" | "policy" | "scheduling.k8s.io" => scaling(kind),
        "networking.k8s.io" | "discovery.k8s.io" => networking(kind),
        "storage.k8s.io" | "resource.k8s.io" => storage(kind),
        "rbac.authorization.k8s.io" => rbac(kind),
        "admissionregistration.k8s.io" | "apiextensions.k8s.io" | "apiregistration.k8s.io" => extension(kind),
        _ => others(group, kind),
    }
}

fn core(kind: &str) -> Strategy {
    match kind {
        "Pod" | "PodTemplate" | "ReplicationController" => core_pods(kind),
        "LimitRange" | "ResourceQuota" => core_policy(kind),
        "PersistentVolume" | "PersistentVolumeClaim" => core_storage(kind),
        "Service" => Strategy {
            default: defaults::service,
            prepare_create: |o| status::start(o, json!({"loadBalancer": {}})),
            prepare_update: service::prepare_update,
            validate_create: valid::service::service,
            validate_update: valid::service::service_update,
            create_on_update: true,
            name_grammar: names::dns1035_label,
            ..STATUS
        },
        "Endpoints" => Strategy {
            default: defaults::endpoints,
            validate_create: valid::network::endpoints,
            validate_update: |new, _| valid::network::endpoints(new),
            ..PUT_CREATES
        },
        "Event" => PUT_CREATES,
        "Namespace" => Strategy {
            default: defaults::namespace,
            prepare_create: namespace::prepare_create,
            prepare_update: namespace::prepare_update,
            validate_create: valid::cluster::namespace,
            validate_update: |new, _| valid::cluster::namespace(new),
            validate_status_update: valid::cluster::namespace_status,
            name_grammar: names::dns1123_label,
            ..GENERIC
        },
        "Node" => Strategy {
            default: defaults::node,
            prepare_update: status::keep,
            validate_create: valid::cluster::node,
            validate_update: valid::cluster::node_update,
            validate_status_update: valid::cluster::node_update,
            ..GENERIC
        },
        "ConfigMap" => Strategy {
            validate_create: valid::config::config_map,
            validate_update: valid::config::config_map_update,
            ..GENERIC
        },
        "Secret" => Strategy {
            default: defaults::secret,
            validate_create: valid::config::secret,
            validate_update: valid::config::secret_update,
            ..GENERIC
        },
        "ServiceAccount" => Strategy {
            prepare_create: service_account::prepare,
            prepare_update: |new, _| service_account::prepare(new),
            ..GENERIC
        },
        _ => GENERIC,
    }
}

fn core_pods(kind: &str) -> Strategy {
    match kind {
        "Pod" => Strategy {
            default: defaults::pod,
            prepare_create: pod::prepare_create,
            prepare_status_update: pod::prepare_status_update,
            grace_period_s: Some(pod::grace_period_s),
            validate_create: valid::pod::create,
            validate_update: valid::pod::update,
            validate_status_update: valid::pod::status_update,
            validate_part_update: valid::pod::part_update,
            warnings: valid::pod::warnings,
            // Programs update pods, and often.
            warns_on_update: false,
            ..COUNTED
        },
        "PodTemplate" => Strategy {
            default: defaults::pod_template,
            validate_create: valid::pod::pod_template,
            validate_update: |new, _| valid::pod::pod_template(new),
            has_generation: true,
            ..PUT_CREATES
        },
        "ReplicationController" => Strategy {
            default: defaults::replication_controller,
            prepare_create: |o| status::start(o, json!({"replicas": 0})),
            orphan_by_default: true,
            validate_create: valid::workload::replication_controller,
            validate_update: |new, _| valid::workload::replication_controller(new),
            validate_status_update: valid::workload::replicas_status,
            warnings: valid::pod::template_warnings,
            ..COUNTED
        },
        _ => GENERIC,
    }
}

fn core_policy(kind: &str) -> Strategy {
    match kind {
        "LimitRange" => Strategy {
            default: defaults::limit_range,
            validate_create: valid::policy::limit_range,
            validate_update: |new, _| valid::policy::limit_range(new),
            ..PUT_CREATES
        },
        "ResourceQuota" => Strategy {
            default: defaults::resource_quota,
            validate_create: valid::policy::resource_quota,
            validate_update: |new, _| valid::policy::resource_quota(new),
            validate_status_update: |new, _| valid::policy::resource_quota(new),
            prepare_create: |o| status::start(o, json!({})),
            ..STATUS
        },
        _ => GENERIC,
    }
}

fn core_storage(kind: &str) -> Strategy {
    match kind {
        "PersistentVolume" => Strategy {
            default: defaults::persistent_volume,
            validate_create: valid::storage::volume,
            validate_update: |new, _| valid::storage::volume(new),
            prepare_create: |o| status::start(o, json!({"phase": "Pending"})),
            ..STATUS
        },
        "PersistentVolumeClaim" => Strategy {
            default: defaults::persistent_volume_claim,
            validate_create: valid::storage::claim,
            validate_update: valid::storage::claim_update,
            prepare_create: |o| status::start(o, json!({"phase": "Pending"})),
            ..STATUS
        },
        _ => GENERIC,
    }
}

fn apps(kind: &str) -> Strategy {
    match kind {
        "ReplicaSet" => Strategy {
            default: defaults::replica_set,
            validate_create: valid::workload::replica_set,
            validate_update: valid::workload::replica_set_update,
            validate_status_update: valid::workload::replicas_status,
            warnings: valid::pod::template_warnings,
            prepare_create: |o| status::start(o, json!({"replicas": 0})),
            ..COUNTED
        },
        "Deployment" => Strategy {
            default: defaults::deployment,
            prepare_create: |o| status::start(o, json!({})),
            prepare_update: deployment::prepare_update,
            prepare_status_update: deployment::prepare_status_update,
            validate_create: valid::workload::deployment,
            validate_update: valid::workload::deployment_update,
            warnings: valid::pod::template_warnings,
            ..COUNTED
        },
        "DaemonSet" => Strategy {
            default: defaults::daemon_set,
            prepare_create: daemon_set::prepare_create,
            prepare_update: daemon_set::prepare_update,
            validate_create: valid::workload::daemon_set,
            validate_update: valid::workload::daemon_set_update,
            warnings: valid::pod::template_warnings,
            ..COUNTED
        },
        "StatefulSet" => Strategy {
            default: defaults::stateful_set,
            validate_create: valid::workload::stateful_set,
            validate_update: valid::workload::stateful_set_update,
            warnings: valid::pod::template_warnings,
            prepare_create: |o| status::start(o, json!({"replicas": 0, "availableReplicas": 0})),
            ..COUNTED
        },
        _ => GENERIC,
    }
}

fn batch(kind: &str) -> Strategy {
    match kind {
        "Job" => Strategy {
            default: defaults::job,
            prepare_create: job::prepare_create,
            validate_create: valid::batch::job,
            validate_update: valid::batch::job_update,
            warnings: valid::pod::template_warnings,
            orphan_by_default: true,
            ..COUNTED
        },
        "CronJob" => Strategy {
            default: defaults::cron_job,
            validate_create: valid::batch::cron_job,
            validate_update: |new, _| valid::batch::cron_job(new),
            prepare_create: |o| status::start(o, json!({})),
            ..COUNTED
        },
        _ => GENERIC,
    }
}

/// Autoscalers, disruption budgets, priorities.
fn scaling(kind: &str) -> Strategy {
    match kind {
        "HorizontalPodAutoscaler" => Strategy {
            default: defaults::autoscaler,
            validate_create: valid::policy::autoscaler,
            validate_update: |new, _| valid::policy::autoscaler(new),
            prepare_create: |o| status::start(o, json!({"currentReplicas": 0, "desiredReplicas": 0})),
            ..STATUS
        },
        "PodDisruptionBudget" => Strategy {
            prepare_create: |o| {
                let zero = json!({
                    "disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0,
                });
                status::start(o, zero);
            },
            validate_create: valid::policy::disruption_budget,
            validate_update: |new, _| valid::policy::disruption_budget(new),
            unconditional_update: false,
            ..COUNTED
        },
        "PriorityClass" => Strategy {
            default: defaults::priority_class,
            validate_create: valid::policy::priority_class,
            validate_update: valid::policy::priority_class_update,
            ..COUNTED_PLAIN
        },
        _ => GENERIC,
    }
}

fn networking(kind: &str) -> Strategy {
    match kind {
        "Ingress" => Strategy {
            prepare_create: |o| status::start(o, json!({"loadBalancer": {}})),
            validate_create: valid::network::ingress,
            validate_update: |new, _| valid::network::ingress(new),
            ..COUNTED
        },
        "IngressClass" => Strategy { default: defaults::ingress_class, ..COUNTED_PLAIN },
        "NetworkPolicy" => Strategy {
            default: defaults::network_policy,
            validate_create: valid::network::network_policy,
            validate_update: |new, _| valid::network::network_policy(new),
            ..COUNTED_PLAIN
        },
        "EndpointSlice" => Strategy {
            default: defaults::endpoint_slice,
            validate_create: valid::network::endpoint_slice,
            validate_update: valid::network::endpoint_slice_update,
            ..COUNTED_PLAIN
        },
        "ServiceCIDR" => STATUS,
        "IPAddress" => Strategy { name_grammar: path_segment, ..GENERIC },
        _ => GENERIC,
    }
}

/// Storage, and claims of devices.
fn storage(kind: &str) -> Strategy {
    match kind {
        "StorageClass" => Strategy {
            default: defaults::storage_class,
            validate_create: valid::storage::storage_class,
            validate_update: valid::storage::storage_class_update,
            ..GENERIC
        },
        "CSIDriver" => Strategy { default: defaults::csi_driver, has_generation: true, ..CONDITIONAL },
        "CSINode" | "CSIStorageCapacity" => CONDITIONAL,
        "VolumeAttachment" => Strategy { unconditional_update: false, ..STATUS },
        "ResourceClaim" => Strategy {
            default: defaults::device_claim,
            prepare_status_update: status::keep_all_else,
            ..STATUS
        },
        "ResourceClaimTemplate" => Strategy { default: defaults::device_claim_template, ..GENERIC },
        "ResourceSlice" | "DeviceClass" => COUNTED_PLAIN,
        _ => GENERIC,
    }
}

fn rbac(kind: &str) -> Strategy {
    let common = Strategy { name_grammar: path_segment, ..PUT_CREATES };
    let binding = Strategy { default: defaults::role_binding, ..common };
    match kind {
        "Role" => Strategy {
            validate_create: valid::rbac::role,
            validate_update: |new, _| valid::rbac::role(new),
            ..common
        },
        "ClusterRole" => Strategy {
            validate_create: valid::rbac::cluster_role,
            validate_update: |new, _| valid::rbac::cluster_role(new),
            ..common
        },
        "RoleBinding" => Strategy {
            validate_create: valid::rbac::role_binding,
            validate_update: |new, old| {
                [valid::rbac::role_binding(new), valid::rbac::same_role(new, old)].concat()
            },
            ..binding
        },
        "ClusterRoleBinding" => Strategy {
            validate_create: valid::rbac::cluster_role_binding,
            validate_update: |new, old| {
                [valid::rbac::cluster_role_binding(new), valid::rbac::same_role(new, old)].concat()
            },
            ..binding
        },
        _ => common,
    }
}

/// What extends the API.
fn extension(kind: &str) -> Strategy {
    let policy = Strategy {
        default: defaults::admission_policy,
        prepare_status_update: status::keep_all_else,
        unconditional_update: false,
        ..COUNTED
    };
    match kind {
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => {
            Strategy { default: defaults::webhooks, unconditional_update: false, ..COUNTED_PLAIN }
        }
        "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy" => policy,
        "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding" => Strategy {
            default: defaults::admission_policy_binding,
            unconditional_update: false,
            ..COUNTED_PLAIN
        },
        "CustomResourceDefinition" => Strategy {
            default: defaults::custom_resource_definition,
            prepare_create: custom_resource::prepare_create,
            prepare_status_update: status::keep_all_else,
            unconditional_update: false,
            ..COUNTED
        },
        "APIService" => Strategy {
            default: defaults::api_service,
            prepare_create: |o| status::start(o, json!({})),
            prepare_status_update: status::keep_all_else,
            unconditional_update: false,
            name_grammar: path_segment,
            ..STATUS
        },
        _ => GENERIC,
    }
}

fn others(group: &str, kind: &str) -> Strategy {
    match (group, kind) {
        ("events.k8s.io", "Event") => PUT_CREATES,
        ("coordination.k8s.io", "Lease") => Strategy {
            validate_create: valid::policy::lease,
            validate_update: |new, _| valid::policy::lease(new),
            create_on_update: true,
            ..CONDITIONAL
        },
        ("node.k8s.io", "RuntimeClass") => CONDITIONAL,
        ("certificates.k8s.io", "CertificateSigningRequest") => Strategy {
            prepare_create: |o| status::start(o, json!({})),
            prepare_update: certificate::prepare_update,
            ..STATUS
        },
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => Strategy {
            default: defaults::flow_schema,
            prepare_create: |o| status::start(o, json!({})),
            prepare_status_update: status::keep_all_else,
            ..COUNTED
        },
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => Strategy {
            default: defaults::priority_level,
            prepare_create: |o| status::start(o, json!({})),
            prepare_status_update: status::keep_all_else,
            ..COUNTED
        },
        _ => GENERIC,
    }
}

/// The grammar of names that only have to fit in a URL.
fn path_segment(name: &str) -> names::Faults {
    names::path_segment_name(name, false)
}

#[cfg(test)]
mod tests;
