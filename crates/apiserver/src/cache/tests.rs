//! Tests over a real store.
