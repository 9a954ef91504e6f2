//! The loop: takes tasks from the graph, reads the objects, decides, writes.

use std::sync::Arc;

use base::TaskKind;
use client::Recorder;
use informer::executor::{Executor, Outcome};
use informer::{Declaration, FIELD_MANAGER, Manager, Queue};
use resources::ResourceSource;

use super::decide::{self, Decision};
use super::graph::{Graph, Uid, Work};
use super::look;
use super::monitor::Monitors;

const NAME: &str = "garbage-collector-controller";
const QUEUE: &str = "garbage_collector_attempt_to_delete";
const ACCOUNT: &str = "generic-garbage-collector";
/// How many objects are worked on at once.
const WORKERS: usize = 4;

/// Starts the garbage collector over the kinds of `kinds`; it ends with the manager's supervisor.
pub fn start(manager: &mut Manager, kinds: Arc<dyn ResourceSource>) {
    manager.declare(Declaration { name: NAME, reads: vec!["metadata of every kind".to_owned()] });
    let context = manager.context();
    let client = (context.client_of)(ACCOUNT);
    let recorder = Recorder::start(client.clone(), NAME, None, context.clock.clone(), &context.supervisor);
    let executor =
        Executor::new(client.clone(), recorder.clone(), FIELD_MANAGER).counted(&context.metrics, NAME);
    let queue = Queue::named(QUEUE, &context.metrics);
    let informers = context.informers.clone();
    let monitors = Monitors::new(client, informers, kinds, recorder, context.supervisor.clone(), queue);
    monitors.follow_kinds();
    for _ in 0..WORKERS {
        let (monitors, executor) = (monitors.clone(), executor.clone());
        let shutdown = context.supervisor.shutdown().clone();
        context.supervisor.spawn(TaskKind::Essential, NAME, async move {
            tokio::select! {
                () = work(&monitors, &executor) => {}
                () = shutdown.started() => {}
            }
        });
    }
}

async fn work(monitors: &Arc<Monitors>, executor: &Executor) {
    // Before, an object that has dependents could look as if it had none.
    monitors.wait_synced().await;
    while let Some(work) = monitors.queue.next().await {
        match one(monitors, executor, &work).await {
            Ok(true) => monitors.queue.forget(&work),
            Ok(false) => monitors.queue.retry(work.clone()),
            Err(error) => {
                tracing::warn!(controller = NAME, ?work, %error, "the state could not be read");
                monitors.queue.retry(work.clone());
            }
        }
        monitors.queue.done(&work);
    }
}

/// Returns whether the task is done; if not, it is to be tried again.
async fn one(monitors: &Arc<Monitors>, executor: &Executor, work: &Work) -> Result<bool, kube::Error> {
    let (uid, decide): (&Uid, fn(&decide::Situation) -> Decision) = match work {
        Work::Kinds => {
            monitors.follow_kinds();
            return Ok(true);
        }
        Work::Check(uid) => (uid, decide::check),
        Work::Orphan(uid) => (uid, decide::orphan),
    };
    let Some(known) = monitors.graph().get(uid) else { return Ok(true) };
    if matches!(work, Work::Check(_)) && known.being_deleted && !known.waits {
        return Ok(true);
    }
    let table = monitors.table();
    let situation = look::situation(&monitors.client, &table, known).await?;
    if let Some(references) = situation.live.as_ref().and_then(|live| live.owner_references.as_deref()) {
        let news = monitors.graph().resolve(&table, &situation.known.identity, references);
        monitors.take(news);
    }
    let decision = decide(&situation);
    if decision.gone {
        let news = Graph::gone(&mut monitors.graph(), uid);
        monitors.take(news);
    }
    for next in decision.check {
        monitors.queue.add(Work::Check(next));
    }
    for reason in &decision.plan.reasons {
        let identity = &situation.known.identity;
        tracing::debug!(controller = NAME, kind = %identity.row.kind, name = %identity.name, reason);
    }
    match executor.run(&decision.plan, &mut Vec::new()).await {
        Outcome::Done => Ok(true),
        Outcome::Conflict => Ok(false),
        Outcome::Failed(failure) => {
            let why = failure.message;
            tracing::warn!(controller = NAME, %uid, why, "a plan failed and will be tried again");
            Ok(false)
        }
    }
}
