//! Recursion that does not end with the stack: expressions come from outside.

/// Stack that must be left for one level more of an expression, and what is added where it is not.
const STACK_NEEDED_BYTES: usize = 128 * 1024;
const STACK_ADDED_BYTES: usize = 1024 * 1024;

/// Goes one level deeper into an expression.
pub(crate) fn deep<T>(inside: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(STACK_NEEDED_BYTES, STACK_ADDED_BYTES, inside)
}
