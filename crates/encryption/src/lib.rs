//! Encryption at rest: a store whose values are encrypted as upstream's API server encrypts them, byte for byte, so that
//! what one has written the other reads.
//!
//! [`Configuration`] reads an `EncryptionConfiguration` (`apiserver.config.k8s.io/v1`); [`Encrypted`] is a
//! [`store::Store`] around another one. The first provider that is configured for a resource writes, all of them read.
//! `provider` has the ciphers, `kms` the keys that a
//! key management service keeps.
//!
//! Never here: kinds. Which keys are a resource's is told by who opens the store.

mod configuration;
mod encrypted;
mod kms;
mod provider;
mod secretbox;

pub use configuration::{Configuration, Covered, Wanted};
pub use encrypted::Encrypted;
pub use kms::Kms;
