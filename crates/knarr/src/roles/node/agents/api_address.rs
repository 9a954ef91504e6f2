//! The address of the `kubernetes` Service, by which pods reach the API.

use anyhow::Result;

use super::AgentDeps;
use crate::roles::built::Built;

/// The port of the `kubernetes` Service.
const PORT: u16 = 443;

/// Opens the address.
///
/// # Errors
/// When the node does not have it, or it is taken.
pub(super) async fn build(deps: &AgentDeps) -> Result<Built> {
    deps.api.door.open((deps.network.api_service_ip, PORT).into()).await
}
