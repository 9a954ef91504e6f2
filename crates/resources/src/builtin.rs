//! [`builtin`]: the table of the built-in kinds, made once from the rows of `kinds`; [`Builtin`] is the table as a source.

use std::sync::{Arc, LazyLock};

use crate::kinds;
use crate::table::{KindTable, ResourceSource};

/// The source of the built-in kinds alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Builtin;

impl ResourceSource for Builtin {
    fn table(&self) -> Arc<KindTable> {
        Arc::clone(&BUILTIN)
    }
}

static BUILTIN: LazyLock<Arc<KindTable>> = LazyLock::new(|| Arc::new(KindTable::new(kinds::builtin())));

/// The table of the built-in kinds: every stable kind of the tracked version.
pub fn builtin() -> &'static KindTable {
    &BUILTIN
}
