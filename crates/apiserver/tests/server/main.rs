//! The API server as its clients see it: requests through the whole pipeline against a store in memory.

mod applying;
mod cost;
mod counting;
mod discovery;
mod faults;
mod gate;
mod harness;
mod https;
mod layout;
mod malformed;
mod mutation;
mod negotiating;
mod objects;
mod operations;
mod paging;
mod quota;
mod random;
mod reserving;
mod runtime_row;
mod samples;
mod selecting;
mod services;
mod subresources;
mod waiting;
mod walk;
mod watching;
