//! [`Foreign`]: a value of whoever has an expression evaluated, whose functions are computed there.

use std::fmt;
use std::sync::Arc;

/// A value with functions of its own. Which there are, and of what types, is in `signatures`: all take texts.
pub trait Foreign: fmt::Debug + Send + Sync {
    /// The name of the value's type.
    fn type_name(&self) -> &'static str;

    /// The result of a function, or the field of that name; `None` where the value has none.
    fn call(&self, name: &str, arguments: &[&str]) -> Option<Given>;
}

/// What a function of a [`Foreign`] value returns.
#[derive(Debug, Clone)]
pub enum Given {
    Bool(bool),
    Text(String),
    Foreign(Arc<dyn Foreign>),
}
