//! The API server as its clients see it: requests through the whole pipeline against a store in memory.

mod discovery;
mod faults;
mod harness;
mod https;
mod malformed;
mod mutation;
mod objects;
mod paging;
mod random;
mod runtime_row;
mod samples;
mod subresources;
mod walk;
mod watching;
