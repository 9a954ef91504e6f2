//! The pods' side of a node: the node agent's workers, their logs, and the node's HTTPS API.

use std::sync::Arc;

use anyhow::{Context, Result};
use base::TaskKind;
use cgroup::CgroupMounts;
use informer::Scope;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::storage::v1::CSIDriver;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kubelet::config::PodsConfig;
use kubelet::container_config::ContainerConfigBuilder;
use kubelet::container_config::security::SecurityDefaults;
use kubelet::devices;
use kubelet::eviction::{Evictor, EvictorDeps};
use kubelet::logs::reopen::CriReopen;
use kubelet::logs::rotation::{Policy, Rotation};
use kubelet::metrics::{running, volumes as claims};
use kubelet::plugins::{CsiNodes, Drivers, Registrar};
use kubelet::pod_cgroup::PodCgroups;
use kubelet::pod_logs::LogDirs;
use kubelet::process_pods::{AllPods, Process, ProcessPods};
use kubelet::resolv::ClusterDns;
use kubelet::sandbox_config::SandboxConfigBuilder;
use kubelet::seams::{PodDirectory, Volumes};
use kubelet::server::{ApiReviews, Configuration, ServerDeps, Trusted};
use kubelet::source::PodSource;
use kubelet::static_pods::{StaticPods, StaticPodsDeps};
use kubelet::volumes::csi::{self, Csi};
use kubelet::volumes::reclaim::Reclaimer;
use kubelet::volumes::{self, PodDirs, mount_table};
use kubelet::workers::Workers;

use super::{Config, Deps, Kit, agents};
use crate::pki::KUBELET_CLIENT_NAME;

/// Whether containers without a profile get the runtime's default, as upstream's `--seccomp-default`.
const SECCOMP_DEFAULT: bool = false;

/// Starts the workers of pods, and the node's HTTPS API.
///
/// # Errors
/// When the runtime cannot be reached, or the API's port is taken.
pub(super) async fn start(config: &Config, deps: &Deps, kit: &Kit) -> Result<()> {
    let shutdown = deps.supervisor.shutdown().clone();
    let logs = LogDirs::new(config.layout.logs_dir());
    let dirs = PodDirs::new(config.layout.kubelet_dir()).with_logs(logs.clone());
    let devices = devices(config, deps, kit, &dirs)?;
    let drivers = plugins(config, deps, kit, &dirs, devices.0)?;
    let volumes =
        volumes::Manager::new(kit.client.clone(), dirs.clone(), kit.facts.clone(), deps.clock.clone());
    let volumes = Arc::new(volumes.with_drivers(drivers));
    deps.supervisor.spawn(TaskKind::Essential, "volumes", volumes.clone().run(shutdown.clone()));
    let reclaimer =
        Reclaimer::new(kit.client.clone(), &kit.informers, &config.name, &dirs, kit.events.clone());
    deps.supervisor.spawn(TaskKind::Essential, "volume reclaim", reclaimer.run(shutdown.clone()));
    let shown_volumes = volumes.clone();
    let hierarchy = CgroupMounts::detect().context("looking at the machine's cgroups")?;
    let cgroups = PodCgroups::new(hierarchy, config.layout.cgroup.clone());
    let probe_metrics = base::Metrics::default();
    kit.operations.probes.register(&probe_metrics);
    let pods = kubelet::run::build(
        PodsConfig {
            client: kit.client.clone(),
            runtime: kit.runtime.0.clone(),
            images: kit.runtime.1.clone(),
            source: PodSource::api(&kit.informers, &config.name),
            statics: static_pods(config, deps, kit),
            volumes: volumes.clone(),
            devices: devices.1,
            containers: Arc::new(ContainerConfigBuilder {
                volumes,
                services: kit.informers.cache::<Service>(),
                facts: kit.facts.clone(),
                security: SecurityDefaults {
                    seccomp_default: SECCOMP_DEFAULT,
                    seccomp_root: config.layout.kubelet_dir().join("seccomp").display().to_string(),
                },
                cluster_domain: config.network.domain.clone(),
                logs: logs.clone(),
            }),
            sandboxes: Arc::new(SandboxConfigBuilder {
                cgroups: cgroups.clone(),
                dirs,
                logs,
                cluster_dns: ClusterDns {
                    servers: vec![config.network.dns_ip.to_string()],
                    domain: config.network.domain.clone(),
                },
                resolv_conf: config.resolv_conf.clone(),
                events: kit.events.clone(),
            }),
            events: kit.events.clone(),
            facts: kit.facts.clone(),
            metrics: kit.operations.clone(),
            clock: deps.clock.clone(),
        },
        shutdown,
    )
    .await
    .context("reaching the container runtime")?;
    rotate_logs(config, deps, kit, Arc::new(pods.workers()));
    evict(config, deps, kit, pods.workers())?;
    let process = show_process(config, deps, kit);
    let pods_here = Arc::new(AllPods { run: Arc::new(pods.workers()), process });
    serve_api(config, deps, kit, Shown { pods: pods_here, volumes: shown_volumes, cgroups, probe_metrics })
        .await?;
    deps.supervisor.spawn(TaskKind::Essential, "pods", pods.run());
    Ok(())
}

/// Has ResourceSlices of drivers that stay away go, and finds what an earlier agent has prepared.
fn devices(
    config: &Config,
    deps: &Deps,
    kit: &Kit,
    dirs: &PodDirs,
) -> Result<(devices::Drivers, Arc<devices::Manager>)> {
    let drivers = devices::Drivers::new(dirs.clone());
    let wiper = devices::Wiper::new(kit.client.clone(), &config.name, drivers.clone());
    let shutdown = deps.supervisor.shutdown().clone();
    deps.supervisor.spawn(TaskKind::Essential, "slices of devices", wiper.run(shutdown));
    let checkpoint = dirs.root().join("dra_manager_state");
    let reading = format!("reading {}", checkpoint.display());
    let manager = devices::Manager::new(devices::Deps {
        client: kit.client.clone(),
        drivers: drivers.clone(),
        figures: kit.operations.devices.clone(),
        checkpoint,
    });
    Ok((drivers, Arc::new(manager.context(reading)?)))
}

/// Makes the folders of plugins, and registers those that come.
fn plugins(
    config: &Config,
    deps: &Deps,
    kit: &Kit,
    dirs: &PodDirs,
    devices: devices::Drivers,
) -> Result<Arc<Csi>> {
    for folder in [dirs.pods(), dirs.plugins(), dirs.plugin_registrations()] {
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    }
    mount_table::share(dirs.root()).context("sharing what drivers mount")?;
    let drivers = Drivers::new(dirs.clone());
    let nodes = CsiNodes::new(kit.client.clone(), &config.name);
    let registrar = Registrar::new(dirs.plugin_registrations(), drivers.clone(), nodes, devices);
    let shutdown = deps.supervisor.shutdown().clone();
    deps.supervisor.spawn(TaskKind::Essential, "plugins", registrar.run(shutdown));
    let drivers = Arc::new(Csi::new(csi::Deps {
        client: kit.client.clone(),
        node: config.name.clone(),
        dirs: dirs.clone(),
        drivers,
        terms: kit.informers.cache::<CSIDriver>(),
        own_node: kit.informers.cache_of(Scope::fields(format!("metadata.name={}", config.name))),
        in_use: kit.in_use.clone(),
        clock: deps.clock.clone(),
    }));
    let shutdown = deps.supervisor.shutdown().clone();
    deps.supervisor.spawn(TaskKind::Essential, "volumes of drivers", drivers.clone().run(shutdown));
    Ok(drivers)
}

/// Ends pods before the node runs short of something.
fn evict(config: &Config, deps: &Deps, kit: &Kit, workers: Workers) -> Result<()> {
    let evictor = Evictor::new(EvictorDeps {
        node: config.name.clone(),
        thresholds: config.settings.node.thresholds()?,
        workers,
        runtime: kit.runtime.0.clone(),
        images: kit.runtime.1.clone(),
        dirs: PodDirs::new(config.layout.kubelet_dir()),
        log_root: config.layout.pod_logs_dir(),
        facts: kit.facts.clone(),
        events: kit.events.clone(),
        clock: deps.clock.clone(),
        tell: kit.pressure.clone(),
    });
    let shutdown = deps.supervisor.shutdown().clone();
    deps.supervisor.spawn(TaskKind::Essential, "eviction", async move {
        tokio::select! {
            () = evictor.run() => {}
            () = shutdown.started() => {}
        }
    });
    Ok(())
}

/// The pods that manifests of this machine ask for.
fn static_pods(config: &Config, deps: &Deps, kit: &Kit) -> StaticPods {
    let from = StaticPodsDeps {
        pods: kit.informers.cache_of(PodSource::scope(&config.name)),
        node: kit.informers.cache_of(Scope::fields(format!("metadata.name={}", config.name))),
        client: kit.client.clone(),
        events: kit.events.clone(),
        clock: deps.clock.clone(),
    };
    StaticPods::new(&config.name, config.static_pods.clone(), from)
}

/// Shows the parts of this process that belong to the node as pods.
fn show_process(config: &Config, deps: &Deps, kit: &Kit) -> Arc<ProcessPods> {
    let seconds = deps.clock.now().as_second();
    let process = Process {
        node: config.name.clone(),
        ips: kit.ips.clone(),
        started: Time(Timestamp::from_second(seconds).unwrap_or_default()),
        program: concat!("knarr:v", env!("CARGO_PKG_VERSION")).into(),
        log: config.log.clone(),
    };
    let mut parts = config.parts.clone();
    parts.extend(agents::parts());
    let pods = kit.informers.cache_of(PodSource::scope(&config.name));
    let node = kit.informers.cache_of(Scope::fields(format!("metadata.name={}", config.name)));
    let shown = Arc::new(ProcessPods::new(process, parts, pods, node, kit.client.clone()));
    let keep = shown.clone().run(deps.clock.clone(), deps.supervisor.shutdown().clone());
    deps.supervisor.spawn(TaskKind::Essential, "the process's pods", keep);
    shown
}

/// Keeps containers' logs from filling the disk.
fn rotate_logs(config: &Config, deps: &Deps, kit: &Kit, pods: Arc<dyn PodDirectory>) {
    let rotation = Rotation {
        root: config.layout.pod_logs_dir(),
        policy: Policy::default(),
        reopen: Arc::new(CriReopen {
            pods,
            runtime: kit.runtime.0.clone(),
            operations: kit.operations.clone(),
        }),
        clock: deps.clock.clone(),
    };
    let shutdown = deps.supervisor.shutdown().clone();
    deps.supervisor.spawn(TaskKind::Essential, "log rotation", async move {
        if let Err(error) = rotation.run(shutdown).await {
            tracing::error!(%error, "logs cannot be watched any more");
        }
    });
}

/// What the node's API shows of the pods.
struct Shown {
    pods: Arc<dyn PodDirectory>,
    volumes: Arc<dyn Volumes>,
    cgroups: PodCgroups,
    probe_metrics: base::Metrics,
}

/// The node's HTTPS API: logs, exec and the like, for the API server alone.
async fn serve_api(config: &Config, deps: &Deps, kit: &Kit, shown: Shown) -> Result<()> {
    let Shown { pods, volumes, cgroups, probe_metrics } = shown;
    running::register(&kit.metrics, &config.name, pods.clone());
    let server_deps = ServerDeps {
        rates: Default::default(),
        node_name: config.name.clone(),
        pods,
        volumes,
        claims: claims::Volumes::registered(&kit.metrics),
        system_logs: config.settings.node.system_logs(),
        runtime: kit.runtime.0.clone(),
        operations: kit.operations.clone(),
        clock: deps.clock.clone(),
        metrics: kit.metrics.clone(),
        probe_metrics,
        cgroups,
        facts: kit.facts.clone(),
        root: config.layout.kubelet_dir(),
        configuration: configuration(config, kit),
        supervisor: deps.supervisor.clone(),
        trusted: Trusted { users: vec![KUBELET_CLIENT_NAME.into()] },
        reviews: Arc::new(ApiReviews::new(kit.client.clone(), config.name.clone(), deps.clock.clone())),
    };
    let port = config.port;
    let server =
        kubelet::server::Server::bind(([0, 0, 0, 0], port).into(), deps.serving.clone(), server_deps)
            .await
            .with_context(|| format!("listening on port {port} for the node's API"))?;
    let shutdown = deps.supervisor.shutdown().clone();
    deps.supervisor.spawn(TaskKind::Essential, "node API", server.run(shutdown));
    Ok(())
}

/// The node's settings as upstream's kubelet tells its own.
fn configuration(config: &Config, kit: &Kit) -> Configuration {
    let logs = Policy::default();
    let path = config.static_pods.path.as_ref();
    let mut shown = Configuration {
        static_pod_path: path.map(|path| path.display().to_string()).unwrap_or_default(),
        enable_server: true,
        address: "0.0.0.0".into(),
        port: config.port,
        cluster_dns: vec![config.network.dns_ip.to_string()],
        cluster_domain: config.network.domain.clone(),
        resolv_conf: config.resolv_conf.display().to_string(),
        cgroup_root: config.layout.cgroup.clone(),
        cgroup_driver: "cgroupfs".into(),
        cgroups_per_qos: true,
        max_pods: kit.facts.allocatable_amount("pods"),
        pod_log_dir: config.layout.pod_logs_dir().display().to_string(),
        container_log_max_size: format!("{}Mi", logs.max_bytes >> 20),
        container_log_max_files: logs.max_files,
        node_lease_duration_seconds: kubelet::node::lease::DURATION_S.unsigned_abs().into(),
        container_runtime_endpoint: format!("unix://{}", config.layout.cri_socket().display()),
        seccomp_default: SECCOMP_DEFAULT,
        fail_swap_on: false,
        ..Configuration::default()
    };
    config.settings.node.show_in(&mut shown);
    shown
}
