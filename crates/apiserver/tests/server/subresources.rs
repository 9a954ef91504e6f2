//! Subresources with behaviour of their own.
