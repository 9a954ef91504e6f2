//! Dockerfiles and `.dockerignore` files, read as BuildKit reads them.
//!
//! Start at [`parse`]: `lines` cuts the text into whole instructions, `instruction` gives each its type, `stages`
//! puts them together. [`expand`] replaces variables when an instruction is carried out; [`Ignore`] says what of
//! a folder is left out. Pure: reads no file, runs nothing.

mod error;
mod expand;
mod glob;
mod glob_text;
mod ignore;
mod instruction;
mod lines;
mod mounts;
mod quoting;
mod stages;

pub use error::{Place, SyntaxError};
pub use expand::{ExpandError, Quotes, expand};
pub use glob::Glob;
pub use ignore::{Ignore, IgnoreError};
pub use instruction::{Command, Copy, Heredoc, Instruction, Network, Run, Source};
pub use lines::FILE_LIMIT_BYTES;
pub use mounts::{Mount, MountKind, Sharing};
pub use stages::{Base, Dockerfile, Stage, Step, parse, parse_trigger};
