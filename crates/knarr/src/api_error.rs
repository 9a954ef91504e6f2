//! Failed calls to the API in words for people, and what is behind them.

use std::error::Error;
use std::io;

/// The server's message alone, or what kept the call from an answer.
pub fn words(error: kube::Error) -> anyhow::Error {
    match &error {
        kube::Error::Api(_) => anyhow::anyhow!("{}", client::message(&error)),
        _ => match cause::<rustls::Error>(&error) {
            Some(cause) => anyhow::anyhow!("{cause}"),
            None => cause::<io::Error>(&error)
                .map(|cause| anyhow::anyhow!("{cause}"))
                .unwrap_or_else(|| error.into()),
        },
    }
}

/// The error of this type that is behind an error.
pub fn cause<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    if let Some(found) = error.downcast_ref::<T>() {
        return Some(found);
    }
    // What an input error holds is not among its sources.
    let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    if let Some(found) = held.and_then(|held| cause(held)) {
        return Some(found);
    }
    error.source().and_then(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    #[test]
    fn a_cause_is_found_within_input_errors_too() {
        let wrong = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let error = Outer(io::Error::new(io::ErrorKind::InvalidData, wrong.clone()));
        assert_eq!(cause::<rustls::Error>(&error), Some(&wrong));
        assert_eq!(cause::<io::Error>(&error).map(io::Error::kind), Some(io::ErrorKind::InvalidData));
        assert!(cause::<std::fmt::Error>(&error).is_none());
    }
}
