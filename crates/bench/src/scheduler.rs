//! What the scheduler's own part costs in a large cluster: in this process, on one thread, without an API server.
//!
//! Start with [`measure`]. The events of nodes and pods go into [`scheduler::state::State`] as the watch's task would
//! send them, and its rounds decide. Objects are made outside of what is counted; reading them is counted, as far as
//! the scheduler reads them. All figures are processor time of this thread.

mod bed;
mod objects;
mod preempting;
mod waiting;

use anyhow::Result;

use bed::Bed;
use objects::Template;
use waiting::Waiting;

pub const NODES: usize = 5_000;
pub const PLACED: usize = 50_000;
/// Pods that are created and placed, of each sort.
const CREATED: usize = 5_000;
/// Events of a kind that are averaged over.
const EVENTS: usize = 1_000;
/// Nodes that are compared.
const ENDS: usize = 100;

/// What was found; microseconds unless said otherwise.
pub struct Scheduler {
    node_first: f64,
    node_last: f64,
    node_beside: f64,
    heartbeat: f64,
    placed: f64,
    status: f64,
    gone: f64,
    /// By template, in the order of [`SORTS`].
    created: Vec<Created>,
    waiting: Vec<Waiting>,
    /// A pod that another one goes for.
    preempting: f64,
}

/// What pods of one sort cost that are created without a node.
struct Created {
    sort: &'static str,
    /// From the event of its creation to the event of its having a node.
    each: f64,
}

/// The pods that are created.
const SORTS: [(&str, Template); 4] = [
    ("plain pods", Template::Plain),
    ("pods with requests of their own each", Template::Own),
    ("pods spread over zones, and softly over nodes", Template::Spread),
    ("pods kept apart by node", Template::Apart),
];

/// Fills the scheduler's table and measures at its size.
///
/// # Errors
/// When an object cannot be made, or a pod is not placed.
pub fn measure() -> Result<Scheduler> {
    let mut bed = Bed::new()?;
    let nodes: Vec<f64> = (0..NODES).map(|number| bed.node(number)).collect::<Result<_>>()?;
    let placed: Vec<f64> = (0..PLACED).map(|number| bed.placed(number)).collect::<Result<_>>()?;
    let beside: Vec<f64> = (NODES..NODES + ENDS).map(|number| bed.node(number)).collect::<Result<_>>()?;
    let heartbeat: Vec<f64> = (0..EVENTS).map(|number| bed.heartbeat(number)).collect::<Result<_>>()?;
    let status: Vec<f64> = (0..EVENTS).map(|number| bed.status(number)).collect::<Result<_>>()?;
    let mut created = Vec::new();
    for (sort, template) in SORTS {
        created.push(Created { sort, each: bed.create(template, CREATED)? });
    }
    let waiting = waiting::measure(&mut bed, EVENTS)?;
    // The last ones, so that the table is as full for all else.
    let gone: Vec<f64> = (PLACED - EVENTS..PLACED).map(|number| bed.gone(number)).collect::<Result<_>>()?;
    Ok(Scheduler {
        node_first: mean(&nodes[..ENDS]),
        node_last: mean(&nodes[NODES - ENDS..]),
        node_beside: mean(&beside),
        heartbeat: mean(&heartbeat),
        placed: mean(&placed[PLACED - EVENTS..]),
        status: mean(&status),
        gone: mean(&gone),
        created,
        waiting,
        preempting: preempting::measure(EVENTS)?,
    })
}

fn mean(all: &[f64]) -> f64 {
    all.iter().sum::<f64>() / all.len() as f64
}

impl Scheduler {
    /// The lines of the report: what, and the figure.
    pub fn rows(&self) -> Vec<(String, String)> {
        let us = |figure: f64| format!("{figure:.1} µs");
        let mut rows = vec![
            (format!("a node came: the first {ENDS}"), us(self.node_first)),
            (format!("… the last {ENDS}"), us(self.node_last)),
            (format!("… {ENDS} more beside all pods"), us(self.node_beside)),
            ("a node's heartbeat".to_owned(), us(self.heartbeat)),
            (format!("a placed pod came: the last {EVENTS}"), us(self.placed)),
            ("… its status changed".to_owned(), us(self.status)),
            ("… it went".to_owned(), us(self.gone)),
        ];
        for Created { sort, each } in &self.created {
            rows.push((format!("{sort}: created and placed, a second"), format!("{:.0}", 1e6 / each)));
        }
        let preempting = format!("{:.0}", 1e6 / self.preempting);
        rows.push((
            "pods that another one of a full cluster goes for: created and placed, a second".to_owned(),
            preempting,
        ));
        for waiting in &self.waiting {
            rows.push((format!("{}: tried, each", waiting.what), us(waiting.tried)));
            rows.push(("… a placed pod came, beside them".to_owned(), us(waiting.placed)));
            rows.push(("… it went".to_owned(), us(waiting.gone)));
            rows.push(("… a node got less CPU to give away".to_owned(), us(waiting.node)));
        }
        rows
    }
}
