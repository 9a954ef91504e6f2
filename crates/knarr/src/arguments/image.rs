//! The arguments of `knarr image`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Which;

#[derive(Debug, Subcommand)]
pub enum Image {
    /// Build an image from a Dockerfile
    Build(Box<Build>),
    /// Import images from an OCI or Docker archive (- for standard input)
    #[command(visible_alias = "load")]
    Import {
        #[command(flatten)]
        which: Which,
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// List the node's images
    #[command(visible_alias = "ls")]
    List(Which),
    /// Pull an image from its registry
    Pull {
        #[command(flatten)]
        which: Which,
        reference: String,
    },
    /// Remove images, or one of an image's names
    Rm {
        #[command(flatten)]
        which: Which,
        #[arg(required = true)]
        references: Vec<String>,
    },
    /// Give an image a further name
    Tag {
        #[command(flatten)]
        which: Which,
        source: String,
        target: String,
    },
    /// Show all about images, in JSON
    Inspect {
        #[command(flatten)]
        which: Which,
        #[arg(required = true)]
        references: Vec<String>,
    },
    /// Show the instructions that an image was made by
    History {
        #[command(flatten)]
        which: Which,
        reference: String,
        /// Show whole instructions
        #[arg(long)]
        no_trunc: bool,
    },
    /// Remove images without a name, and the build cache
    Prune {
        #[command(flatten)]
        which: Which,
        /// All images that no container uses
        #[arg(short, long)]
        all: bool,
        /// Do not ask
        #[arg(short, long)]
        force: bool,
    },
    /// Write images to an archive
    Save {
        #[command(flatten)]
        which: Which,
        /// The file to write, instead of standard output
        #[arg(short, long)]
        output: Option<PathBuf>,
        #[arg(required = true)]
        references: Vec<String>,
    },
}

#[derive(Debug, Clone, Args)]
pub struct Build {
    // Its `--name` is the cluster's.
    #[command(flatten)]
    pub which: Which,
    /// The image's name (NAME[:TAG]); may be repeated
    #[arg(short, long = "tag", value_name = "NAME")]
    pub tags: Vec<String>,
    /// The Dockerfile [default: PATH/Dockerfile; - for standard input]
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The value of an ARG (NAME=VALUE, or NAME for the environment's)
    #[arg(long = "build-arg", value_name = "NAME=VALUE")]
    pub build_args: Vec<String>,
    /// Build up to this stage
    #[arg(long)]
    pub target: Option<String>,
    /// Carry out every instruction anew
    #[arg(long)]
    pub no_cache: bool,
    /// Ask registries for newer base images
    #[arg(long)]
    pub pull: bool,
    /// What the image is for; only the node's own platform can be built
    #[arg(long)]
    pub platform: Option<String>,
    /// A label of the image
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub labels: Vec<String>,
    /// A secret for RUN --mount=type=secret (id=ID[,src=FILE|,env=NAME])
    #[arg(long = "secret", value_name = "SPEC")]
    pub secrets: Vec<String>,
    /// The network of RUN
    #[arg(long, value_parser = ["default", "none", "host"])]
    pub network: Option<String>,
    /// How progress is shown
    #[arg(long, default_value = "auto", value_parser = ["auto", "plain", "tty", "quiet"])]
    pub progress: String,
    /// Print the image's id alone
    #[arg(short, long)]
    pub quiet: bool,
    /// The folder with the files; - for a Dockerfile without files on standard input
    #[arg(value_name = "PATH|-")]
    pub path: PathBuf,
}
