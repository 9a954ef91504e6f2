//! What agents share that each keep a table of nftables: what the kernel has of it and is to have, and the event by which an agent
//! hears that somebody else has changed the table.
//!
//! Start with [`Line`], by which an agent speaks to the kernel, and [`Guard`]. [`Mirror`] is a set or a map as it is to be.
//! Never here: which tables there are, and what is in them.

mod elements;
mod guard;
mod line;
mod mirror;

pub(crate) use elements::{add, remove, tolerate_absent, word};
pub(crate) use guard::Guard;
pub(crate) use line::{Line, read_whole};
pub(crate) use mirror::{Difference, Mirror};
