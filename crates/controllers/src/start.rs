//! The list of all controllers.

use std::sync::Arc;

use informer::Manager;
use k8s_openapi::api::core::v1::ConfigMap;
use resources::ResourceSource;

use crate::address_repair::AddressRepairController;
use crate::api_service::availability::{self, ApiServiceAvailabilityController, CheckDiscovery};
use crate::api_service::metrics::Metrics as ApiServiceMetrics;
use crate::api_service::registration::ApiServiceRegistrationController;
use crate::attach_detach::{AttachDetachController, AttachedVolumesController};
use crate::autoscaler::AutoscalerController;
use crate::bootstrap_tokens::cleaner::TokenCleanerController;
use crate::bootstrap_tokens::signer::BootstrapSignerController;
use crate::certificates::approving::CsrApprovingController;
use crate::certificates::authority::Authority;
use crate::certificates::cleaner::CsrCleanerController;
use crate::certificates::signing::CsrSigningController;
use crate::cluster_role_aggregation::ClusterRoleAggregationController;
use crate::cron_job::CronJobController;
use crate::custom_resource_definition::CustomResourceDefinitionController;
use crate::daemon_set::DaemonSetController;
use crate::deployment::DeploymentController;
use crate::disruption::{DisruptionController, StaleDisruptionController};
use crate::endpoint_slice::{self, EndpointSliceController};
use crate::endpoint_slice_mirroring::EndpointSliceMirroringController;
use crate::endpoints::EndpointsController;
use crate::extension_authentication::ExtensionAuthenticationController;
use crate::flow_schema::FlowSchemaController;
use crate::garbage_collector;
use crate::job::{JobController, JobOrphanController};
use crate::kubernetes_service::{ApiServiceFeed, KubernetesServiceController};
use crate::load_balancer::{self, LoadBalancerController};
use crate::namespace::NamespaceController;
use crate::node_ipam::{ClusterCidr, NodeIpamController};
use crate::node_lifecycle::NodeLifecycleController;
use crate::node_port_repair::NodePortRepairController;
use crate::pod_gc::PodGcController;
use crate::replicas::{ReplicaSetController, ReplicationControllerController};
use crate::resource_claim::{PodClaimsController, ResourceClaimController};
use crate::resource_quota::ResourceQuotaController;
use crate::root_ca::RootCaController;
use crate::service_account::ServiceAccountController;
use crate::service_account_token::{self, ServiceAccountTokenController, SignToken};
use crate::service_cidr::ServiceCidrController;
use crate::stateful_set::StatefulSetController;
use crate::taint_eviction::TaintEvictionController;
use crate::ttl_after_finished::TtlAfterFinishedController;
use crate::validating_admission_policy_status::ValidatingAdmissionPolicyStatusController;
use crate::volumes::{
    AttributesClassProtectionController, BinderController, ClaimProtectionController,
    EphemeralVolumeController, ProvisionerController, VolumeProtectionController,
};

/// What the operator of the cluster sets.
#[derive(Clone)]
pub struct Config {
    /// The cluster's CA certificates in PEM, published to every namespace.
    pub root_ca_pem: Arc<str>,
    /// Signs the tokens of accounts that lie in Secrets; with `None` nobody here does.
    pub sign_token: Option<SignToken>,
    /// Signs certificates for who asks the API for them; with `None` nobody here does.
    pub authority: Option<Arc<Authority>>,
    /// The network nodes get their pod ranges from; with `None` the controllers do not set `spec.podCIDR`.
    pub cluster_cidr: Option<ClusterCidr>,
    /// The Service of the API server and its endpoints, which are kept; with `None` nobody here does.
    pub api_service: Option<ApiServiceFeed>,
    /// What servers that extend the API need to know its users, which is kept; with `None` nobody here does.
    pub extension_authentication: Option<Arc<ConfigMap>>,
    /// Asks other servers whether they serve what they are registered for; with `None` nobody says so here.
    pub check_discovery: Option<CheckDiscovery>,
    /// Where Services of type LoadBalancer have their addresses from; with `None` these Services are somebody else's.
    pub load_balancer: Option<load_balancer::Source>,
    /// What the process shows; controllers add figures of their own.
    pub metrics: base::Metrics,
    /// All kinds, for controllers that follow, or judge by, more kinds than are known here.
    pub kinds: Arc<dyn ResourceSource>,
    /// The kinds that the API server serves itself.
    pub own_kinds: Arc<dyn ResourceSource>,
}

/// Starts every controller; [`Manager::graph`] then returns what each reads.
pub fn start_all(manager: &mut Manager, config: Config) {
    garbage_collector::start(manager, config.kinds.clone());
    manager.start::<ResourceQuotaController>(config.kinds.clone());
    manager.start::<DisruptionController>(config.kinds.clone());
    manager.start::<StaleDisruptionController>(());
    manager.start::<AutoscalerController>(config.kinds.clone());
    manager.start::<ValidatingAdmissionPolicyStatusController>(config.own_kinds.clone());
    manager.start::<ApiServiceRegistrationController>(config.own_kinds);
    manager.start::<NamespaceController>(config.kinds);
    if let Some(check) = config.check_discovery {
        let metrics = ApiServiceMetrics::registered(&config.metrics);
        manager.start::<ApiServiceAvailabilityController>(availability::Config { check, metrics });
    }
    if let Some(wanted) = config.extension_authentication {
        manager.start::<ExtensionAuthenticationController>(wanted);
    }
    manager.start::<CustomResourceDefinitionController>(());
    manager.start::<FlowSchemaController>(());
    manager.start::<ServiceAccountController>(());
    if let Some(sign) = config.sign_token {
        let root_ca_pem = config.root_ca_pem.clone();
        manager.start::<ServiceAccountTokenController>(service_account_token::Config { sign, root_ca_pem });
    }
    manager.start::<ServiceCidrController>(());
    manager.start::<AddressRepairController>(());
    manager.start::<NodePortRepairController>(());
    if let Some(api_service) = config.api_service {
        keep_api_service(manager, api_service);
    }
    if let Some(source) = config.load_balancer {
        manager.start::<LoadBalancerController>(source);
    }
    manager.start::<EndpointSliceController>(endpoint_slice::metrics::Metrics::registered(&config.metrics));
    manager.start::<EndpointsController>(());
    manager.start::<EndpointSliceMirroringController>(());
    manager.start::<RootCaController>(config.root_ca_pem);
    manager.start::<ClusterRoleAggregationController>(());
    if let Some(authority) = config.authority {
        manager.start::<CsrSigningController>(authority);
    }
    manager.start::<CsrApprovingController>(());
    manager.start::<CsrCleanerController>(());
    manager.start::<TokenCleanerController>(());
    manager.start::<BootstrapSignerController>(());
    if let Some(cidr) = config.cluster_cidr {
        manager.start::<NodeIpamController>(cidr);
    }
    manager.start::<NodeLifecycleController>(());
    manager.start::<TaintEvictionController>(());
    manager.start::<BinderController>(());
    manager.start::<ProvisionerController>(());
    manager.start::<EphemeralVolumeController>(());
    manager.start::<ClaimProtectionController>(());
    manager.start::<VolumeProtectionController>(());
    manager.start::<AttributesClassProtectionController>(());
    manager.start::<AttachDetachController>(());
    manager.start::<AttachedVolumesController>(());
    manager.start::<PodClaimsController>(());
    manager.start::<ResourceClaimController>(());
    manager.start::<PodGcController>(());
    manager.start::<ReplicationControllerController>(());
    manager.start::<ReplicaSetController>(());
    manager.start::<DeploymentController>(());
    manager.start::<StatefulSetController>(());
    manager.start::<JobController>(());
    manager.start::<JobOrphanController>(());
    manager.start::<CronJobController>(());
    manager.start::<TtlAfterFinishedController>(());
    manager.start::<DaemonSetController>(());
}

/// Starts the controller of the API server's own Service alone: each server keeps its address there, whoever runs the other
/// controllers.
pub fn keep_api_service(manager: &mut Manager, api_service: ApiServiceFeed) {
    manager.start::<KubernetesServiceController>(api_service);
}
