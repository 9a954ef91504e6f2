//! The acceptance rows: what a user of Kubernetes types, against a real cluster, with stock kubectl.
//!
//! Each trial carries its row's number and runs in a namespace of its own; [`suite`] says what it is given. One
//! cluster serves all, started with the first row and taken down whatever happens. Arguments are those of
//! `cargo test`. Needs root; what is missing makes the run fail, nothing is skipped.

mod admission;
mod aggregation;
mod apart;
mod autoscaling;
mod balancers;
mod building;
mod cluster;
mod configuration;
mod containers;
mod customs;
mod daemons;
mod dashboard;
mod deletion;
mod deployments;
mod devices;
mod disruption;
mod drivers;
mod endpoints;
mod faults;
mod ingress;
mod inside;
mod jobs;
mod labels;
mod leftovers;
mod lifecycle;
mod lost_node;
mod manifests;
mod members;
mod names;
mod network;
mod past;
mod pods;
mod policies;
mod pressure;
mod profiles;
mod replication;
mod requests;
mod services;
mod settings;
mod shared_store;
mod stateful;
mod static_pods;
mod streams;
mod suite;
mod volumes;
mod webhooks;

use std::process::ExitCode;

use libtest_mimic::Arguments;

/// Every file of rows.
const AREAS: &[&[suite::Row]] = &[
    lost_node::ROWS,
    members::ROWS,
    admission::ROWS,
    aggregation::ROWS,
    apart::ROWS,
    autoscaling::ROWS,
    balancers::ROWS,
    building::ROWS,
    cluster::ROWS,
    past::ROWS,
    pods::ROWS,
    streams::ROWS,
    containers::ROWS,
    lifecycle::ROWS,
    configuration::ROWS,
    volumes::ROWS,
    drivers::ROWS,
    webhooks::ROWS,
    customs::ROWS,
    daemons::ROWS,
    dashboard::ROWS,
    faults::ROWS,
    leftovers::ROWS,
    jobs::ROWS,
    labels::ROWS,
    pressure::ROWS,
    replication::ROWS,
    deployments::ROWS,
    stateful::ROWS,
    static_pods::ROWS,
    deletion::ROWS,
    disruption::ROWS,
    names::ROWS,
    network::ROWS,
    policies::ROWS,
    endpoints::ROWS,
    services::ROWS,
    shared_store::ROWS,
    ingress::ROWS,
    inside::ROWS,
    requests::ROWS,
    profiles::ROWS,
    devices::ROWS,
    settings::ROWS,
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if arguments.test_threads.is_none() {
        arguments.test_threads = Some(4);
    }
    let rows: Vec<suite::Row> = AREAS.iter().copied().flatten().copied().collect();
    suite::run(&arguments, &rows)
}
