//! Requests for certificates: what was asked for cannot be changed, only answered.

use api::Object;

use super::status;

pub(super) fn prepare_update(new: &mut Object, old: &Object) {
    status::keep(new, old);
    status::keep_field(new, old, "spec");
}
