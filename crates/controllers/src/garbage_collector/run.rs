//! The loop: takes tasks from the graph, reads the objects, decides, writes.

use std::sync::Arc;

use base::TaskKind;
use client::Recorder;
use informer::executor::{Executor, Outcome};
use informer::{Complaints, Declaration, FIELD_MANAGER, Manager, Queue};
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
    let complaints = Arc::new(Complaints::of(NAME));
    for _ in 0..WORKERS {
        let (monitors, executor, complaints) = (monitors.clone(), executor.clone(), complaints.clone());
        let shutdown = context.supervisor.shutdown().clone();
        context.supervisor.spawn(TaskKind::Essential, NAME, async move {
            tokio::select! {
                () = work(&monitors, &executor, &complaints) => {}
                () = shutdown.started() => {}
            }
        });
    }
}

async fn work(monitors: &Arc<Monitors>, executor: &Executor, complaints: &Complaints<Work>) {
    // Before, an object that has dependents could look as if it had none.
    monitors.wait_synced().await;
    while let Some(work) = monitors.queue.next().await {
        match one(monitors, executor, &work).await {
            Ok(Outcome::Done) => {
                monitors.queue.forget(&work);
                complaints.forget(&work);
            }
            Ok(Outcome::Conflict) => monitors.queue.retry(work.clone()),
            Ok(Outcome::Failed(failure)) => {
                let why = &failure.message;
                if failure.gone {
                    tracing::debug!(controller = NAME, key = %work, why, "what the plan was for is gone");
                } else {
                    complaints.log(&work, "a plan failed and will be tried again", why);
                }
                monitors.queue.retry(work.clone());
            }
            Err(error) => {
                complaints.log(&work, "the state could not be read", &client::message(&error));
                monitors.queue.retry(work.clone());
            }
        }
        monitors.queue.done(&work);
    }
}

/// Does one task; unless it is done, it is to be tried again.
async fn one(monitors: &Arc<Monitors>, executor: &Executor, work: &Work) -> Result<Outcome, kube::Error> {
    let (uid, decide): (&Uid, fn(&decide::Situation) -> Decision) = match work {
        Work::Kinds => {
            monitors.follow_kinds();
            return Ok(Outcome::Done);
        }
        Work::Check(uid) => (uid, decide::check),
        Work::Orphan(uid) => (uid, decide::orphan),
    };
    let Some(known) = monitors.graph().get(uid) else { return Ok(Outcome::Done) };
    if matches!(work, Work::Check(_)) && known.being_deleted && !known.waits {
        return Ok(Outcome::Done);
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
    Ok(executor.run(&decision.plan, &mut Vec::new()).await)
}
