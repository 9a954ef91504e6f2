//! Which users are nodes.

use crate::request::User;

const NODES_GROUP: &str = "system:nodes";
const NODE_USER_PREFIX: &str = "system:node:";

/// The node a user is; `None` for users that are none. The name may be empty.
pub(crate) fn node_name(user: &User) -> Option<&str> {
    let name = user.name.strip_prefix(NODE_USER_PREFIX)?;
    user.groups.iter().any(|group| group == NODES_GROUP).then_some(name)
}

pub(crate) fn is_node(user: &User) -> bool {
    node_name(user).is_some()
}
