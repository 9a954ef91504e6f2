//! What events cost while many pods wait for something else.

use anyhow::Result;

use super::bed::Bed;
use super::objects::Template;
use super::{NODES, PLACED, mean};

const WAITING: usize = 10_000;

/// What was found beside one sort of waiting pods, in microseconds.
pub(super) struct Waiting {
    pub what: String,
    /// To find that one fits nowhere.
    pub tried: f64,
    /// Events.
    pub placed: f64,
    pub gone: f64,
    pub node: f64,
}

pub(super) fn measure(bed: &mut Bed, events: usize) -> Result<Vec<Waiting>> {
    let mut found = Vec::new();
    for (what, template) in [
        ("wait for a label of a node", Template::Label),
        ("wait for more CPU than there is, each for another amount", Template::Cpu),
        ("wait for other pods to leave a zone", Template::Zone),
    ] {
        let tried = bed.wait(template, WAITING)?;
        // Among them are pods of the application that is waited for; others of it are left in the zone.
        let more = PLACED..PLACED + events;
        let placed: Vec<f64> = more.clone().map(|number| bed.placed(number)).collect::<Result<_>>()?;
        let gone: Vec<f64> = more.map(|number| bed.gone(number)).collect::<Result<_>>()?;
        let shrunk: Vec<f64> =
            (NODES - events..NODES).map(|number| bed.shrunk(number)).collect::<Result<_>>()?;
        bed.go(template, WAITING)?;
        for number in NODES - events..NODES {
            bed.node(number)?;
        }
        found.push(Waiting {
            what: format!("{WAITING} pods {what}"),
            tried,
            placed: mean(&placed),
            gone: mean(&gone),
            node: mean(&shrunk),
        });
    }
    Ok(found)
}
