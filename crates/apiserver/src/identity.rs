//! Authentication ([`authn`]), authorization ([`authz`]), and further interfaces to both
//! (`keepers`: issuing tokens, listing rules).

pub mod authn;
pub mod authz;
mod keepers;

pub use keepers::{BoundObject, IssuedToken, RuleResolver, Rules, TokenDemand, TokenIssuer};
