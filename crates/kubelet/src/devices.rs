//! Devices of ResourceClaims (dynamic resource allocation): drivers prepare claims before the pods that use them start, and
//! unprepare them when the last of these pods has ended.
//!
//! Start at [`Manager`]. Drivers register like those of volumes ([`crate::plugins`]) and are known by [`Drivers`], which
//! also takes the ResourceSlices of drivers that stay away out of the API. What may be prepared is on disk before a
//! driver is called ([`checkpoint`]): whoever is killed finds all of it again. How devices get into containers is the
//! runtime's: it is told their names (Container Device Interface).

pub mod checkpoint;
pub mod drivers;
mod manager;
mod wiping;

pub use drivers::Drivers;
pub use manager::{Deps, Manager};
pub use wiping::Wiper;
