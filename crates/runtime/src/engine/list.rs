//! Lists with the CRI's filters, oldest first.

use std::collections::HashMap;

use cri::v1::{Container as ContainerItem, ContainerFilter, PodSandbox, PodSandboxFilter};

use super::{Container, Engine, Sandbox};

impl Engine {
    pub fn list_sandboxes(&self, filter: &PodSandboxFilter) -> Vec<PodSandbox> {
        let mut items: Vec<PodSandbox> = self.registry().sandboxes.values().map(|s| s.item()).collect();
        items.retain(|s| {
            s.id.starts_with(&filter.id)
                && filter.state.as_ref().is_none_or(|wanted| wanted.state == s.state)
                && selects(&filter.label_selector, &s.labels)
        });
        items.sort_by_key(|s| s.created_at);
        items
    }

    pub fn list_containers(&self, filter: &ContainerFilter) -> Vec<ContainerItem> {
        let mut items: Vec<ContainerItem> =
            self.selected_containers(filter).iter().map(|container| container.item()).collect();
        items.sort_by_key(|c| c.created_at);
        items
    }

    pub(super) fn selected_containers(&self, filter: &ContainerFilter) -> Vec<std::sync::Arc<Container>> {
        let wanted = |c: &Container| {
            c.id.starts_with(&filter.id)
                && c.sandbox.id.starts_with(&filter.pod_sandbox_id)
                && filter.state.as_ref().is_none_or(|wanted| wanted.state == c.cri_state() as i32)
                && selects(&filter.label_selector, &c.config.labels)
        };
        self.registry().containers.values().filter(|c| wanted(c)).cloned().collect()
    }

    pub(super) fn selected_sandboxes(
        &self,
        id: &str,
        labels: &HashMap<String, String>,
    ) -> Vec<std::sync::Arc<Sandbox>> {
        let wanted = |s: &Sandbox| s.id.starts_with(id) && selects(labels, &s.config.labels);
        self.registry().sandboxes.values().filter(|s| wanted(s)).cloned().collect()
    }

    /// Statuses of all containers of a sandbox.
    pub fn statuses_in(&self, sandbox: &Sandbox) -> Vec<cri::v1::ContainerStatus> {
        self.containers_of(sandbox).iter().map(|c| c.status()).collect()
    }
}

fn selects(selector: &HashMap<String, String>, labels: &HashMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}
