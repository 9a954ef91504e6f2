//! [`Dialect`]: the versions of OpenAPI that documents are written in.

/// What OpenAPI 2 and 3 say differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    V2,
    V3,
}
