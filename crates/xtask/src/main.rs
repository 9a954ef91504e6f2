//! Development tasks: `cargo xtask TASK`.
//!
//! Start with [`Task`]. Never part of the product.

mod codegen;

use std::path::PathBuf;

use clap::Parser;

#[derive(Parser)]
enum Task {
    /// Regenerates the type facts, resource rows and field descriptions of the built-in kinds.
    Codegen {
        /// OpenAPI v2 document of the tracked Kubernetes version.
        #[arg(long)]
        swagger: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::Codegen { swagger } => codegen::run(&swagger),
    }
}
