//! Members of `system:masters` may do everything, independently of roles.

use super::authorizer::{Authorizer, Decision};
use crate::eventual::Eventual;
use crate::request::{Attributes, User};

/// The group that is above all rules.
pub const PRIVILEGED_GROUP: &str = "system:masters";

/// Allows the members of [`PRIVILEGED_GROUP`] everything and has no opinion about others.
#[derive(Debug, Clone, Copy, Default)]
pub struct PrivilegedGroup;

pub(crate) fn is_privileged(user: &User) -> bool {
    user.groups.iter().any(|group| group == PRIVILEGED_GROUP)
}

impl Authorizer for PrivilegedGroup {
    fn authorize<'a>(&'a self, attributes: &'a Attributes) -> Eventual<'a, Decision> {
        let privileged = is_privileged(&attributes.user);
        if privileged { Decision::Allow } else { Decision::NoOpinion(String::new()) }.into()
    }
}
