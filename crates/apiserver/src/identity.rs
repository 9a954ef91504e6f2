//! Who somebody is ([`authn`]), what they may do ([`authz`]), and what else is asked of the keepers of identity
//! (`keepers`: issuing tokens, listing rules).

pub mod authn;
pub mod authz;
mod keepers;

pub use keepers::{BoundObject, IssuedToken, RuleResolver, Rules, TokenDemand, TokenIssuer};
