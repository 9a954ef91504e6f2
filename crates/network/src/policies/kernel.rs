//! [`Kernel`]: the table in the kernel, and the rounds that keep it as the policies want it. Blocks.

use std::io;

use informer::Key;
use nft::Batch;

use super::calls::What;
use super::changes::{Changes, Found};
use super::holders::Holders;
use super::pod::{self, Pod};
use super::policy::Policy;
use super::state::State;
use super::table::Table;
use super::{Answered, News, PoliciesView};
use crate::tables::{Line, read_whole};

/// The table, with what the kernel has been told of it.
pub(super) struct Kernel {
    table: Table,
    node: String,
    answered: Vec<Answered>,
    view: PoliciesView,
    state: State,
    line: Line,
}

impl Kernel {
    pub fn new(table: String, node: String, answered: Vec<Answered>, view: PoliciesView) -> Self {
        let line = Line::new(&table);
        let table = Table { name: table, answered: answered.iter().map(|one| one.address).collect() };
        let state = State::of(Found::default(), Holders::default());
        Self { table, node, answered, view, state, line }
    }

    pub fn line(&self) -> &Line {
        &self.line
    }

    /// Reads what the kernel has, and makes what is right beside it before it removes what it was: no packet passes
    /// meanwhile that is not to pass. A table of another shape is replaced.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn correct(&mut self, news: &mut News) -> io::Result<()> {
        let corrected = read_whole(|| self.table.read()).and_then(|found| {
            let changes = self.begin(found, news);
            let mut batch = Batch::new();
            self.table.prepare(&mut batch);
            self.send(&changes, batch)
        });
        let Err(error) = corrected else { return Ok(()) };
        tracing::warn!(%error, table = self.table.name, "the table cannot be corrected and is replaced");
        let changes = self.begin(Found { first_free: 1, ..Found::default() }, news);
        let mut batch = Batch::new();
        // Adding before deleting makes the deletion succeed whether or not the table is there.
        batch.new_table(&self.table.name);
        batch.delete_table(&self.table.name);
        self.table.prepare(&mut batch);
        self.table.transaction(&changes, &mut batch);
        self.line.send(batch)?;
        self.state.settle_numbers();
        Ok(())
    }

    /// Everything that is known, as changes of what the kernel has.
    fn begin(&mut self, found: Found, news: &mut News) -> Changes {
        // All of it is looked at.
        (news.namespaces, news.pods, news.policies) = Default::default();
        let holders = self.state.take_holders();
        self.state = State::of(found, holders);
        for namespace in self.view.namespaces.scan("the table begins with all namespaces") {
            self.state.namespace(&namespace.key.name, Some(namespace.labels.clone()));
        }
        for answered in &self.answered {
            self.state.pod(&answered.key(), Some(answered.pod()));
        }
        for pod in self.view.pods.scan("the table begins with all pods") {
            self.state.pod(&pod.key, Pod::of(&pod, &self.node));
        }
        for policy in self.view.policies.scan("the table begins with all policies") {
            let said = policy.typed().map(|typed| Policy::of(&policy.key.namespace, typed));
            self.state.policy(&policy.key, said);
        }
        self.state.forget_absent();
        self.take_calls(news);
        self.state.sweep();
        let changes = self.state.take_changes();
        let (pods, chains, groups) = self.state.len();
        tracing::info!(pods, chains, groups, changed = changes.len(), "the kernel has the NetworkPolicies");
        changes
    }

    /// Tells the kernel what has changed. Calls that have to wait for their pod stay in the news.
    ///
    /// # Errors
    /// When the kernel refuses; what it has is unknown then.
    pub fn update(&mut self, news: &mut News) -> io::Result<()> {
        for name in std::mem::take(&mut news.namespaces) {
            let namespace = self.view.namespaces.find(&name);
            self.state.namespace(&name.name, namespace.map(|namespace| namespace.labels.clone()));
        }
        for key in std::mem::take(&mut news.policies) {
            let policy = self.view.policies.find(&key);
            let said = policy.as_ref().and_then(|policy| Some(Policy::of(&key.namespace, policy.typed()?)));
            self.state.policy(&key, said);
        }
        for key in std::mem::take(&mut news.pods) {
            self.look(&key);
        }
        self.take_calls(news);
        let changes = self.state.take_changes();
        if changes.is_empty() {
            return Ok(());
        }
        self.send(&changes, Batch::new())
    }

    fn send(&mut self, changes: &Changes, first: Batch) -> io::Result<()> {
        for batch in self.table.transactions(changes, first) {
            self.line.send(batch)?;
        }
        self.state.settle_numbers();
        Ok(())
    }

    fn look(&mut self, key: &Key) {
        let pod = self.view.pods.find(key);
        self.state.pod(key, pod.and_then(|pod| Pod::of(&pod, &self.node)));
    }

    /// Notes what the plugin says. Those calls stay whose pods are not known yet; the others are answered once the
    /// kernel has taken what they change.
    fn take_calls(&mut self, news: &mut News) {
        let calls = std::mem::take(&mut news.calls);
        for call in calls.into_iter().filter(|call| !call.is_given_up()) {
            match &call.what {
                What::Attached { pod, uid, address } => {
                    if !self.is_known(pod, uid) {
                        news.calls.push(call);
                        continue;
                    }
                    self.look(pod);
                    self.state.give(pod, *address);
                }
                What::Detached { address } => self.state.release(*address),
            }
            news.done.push(call);
        }
    }

    /// Whether the watch has shown the pod, and not only a former one of its name.
    fn is_known(&self, pod: &Key, uid: &str) -> bool {
        self.view.pods.find(pod).is_some_and(|pod| uid.is_empty() || *pod::uid(&pod) == *uid)
    }
}
