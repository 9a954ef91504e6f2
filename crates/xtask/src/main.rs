//! Development tasks: `cargo xtask TASK`.
//!
//! Start with [`Task`]. Never part of the product.

mod bench;
mod codegen;
mod images;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
enum Task {
    /// Makes the container images of tests and demonstrations from Debian packages.
    Images {
        /// Where the archives go.
        #[arg(long, default_value = "target/images")]
        out: PathBuf,
    },
    /// Measures a release build; the figures go to docs/benchmarks.md.
    Bench {
        /// Passed on; see `target/release/bench --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Checks the rules of the tree that neither the compiler nor clippy knows.
    Tidy {
        /// Records what exceeds a limit now as what may stay.
        #[arg(long)]
        accept_excess: bool,
    },
    /// Regenerates the type facts, resource rows and field descriptions of the built-in kinds.
    Codegen {
        /// OpenAPI v2 document of the tracked Kubernetes version.
        #[arg(long)]
        swagger: PathBuf,
        /// The `src` folder of the `k8s-pb` crate; without it the field numbers stay as they are.
        #[arg(long)]
        protobuf: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let done = match Task::parse() {
        Task::Images { out } => images::run(&out),
        Task::Bench { arguments } => bench::run(&arguments),
        Task::Tidy { accept_excess } => tidy::run(accept_excess),
        Task::Codegen { swagger, protobuf } => codegen::run(&swagger, protobuf.as_deref()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
