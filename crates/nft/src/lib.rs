//! nftables over netlink (kernel: `include/uapi/linux/netfilter/nf_tables.h`): as many messages as the house needs, and
//! the flows that the kernel tracks by them.
//!
//! Start at [`Batch`]: a transaction, of which a bad message leaves everything as it was. `attributes` is the wire
//! format, `expression` and `register` what rules are made of, [`Set`] and [`Element`] are sets and maps, `dump` reads,
//! [`places`] has the bytes of addresses with ports, [`Events`] hears of changes, `flows` are the flows of UDP. A batch and
//! a list of elements may have any size: what does not fit an attribute is spread over messages, and what can't be
//! spread is an error. Never decides which rules there are.

mod attributes;
mod batch;
mod dump;
mod events;
mod expression;
mod flows;
mod message;
pub mod places;
mod register;
mod set;

pub use attributes::Attributes;
pub use batch::{Batch, Family, Hook, Passing, Sender};
pub use dump::{chains, contains, elements, ranges, tables, verdicts};
pub use events::{Change, Events, What};
pub use expression::Comparison;
pub use flows::{Flow, forget, udp_flows};
pub use register::{Memory, Register};
pub use set::{Data, Element, Field, Holds, Set};
