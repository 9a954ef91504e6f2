//! PodDisruptionBudget.

use super::events;
use super::fields::Fields as _;
use super::metadata;
use super::related::DescribeError;
use super::selectors;
use super::text::{Text, put};
use super::view::View;

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let budget = view.object;
    metadata::names(text, budget);
    if budget.has("spec.minAvailable") {
        put!(text, 0, "Min available:\t{}", budget.number_or_text("spec.minAvailable"));
    } else if budget.has("spec.maxUnavailable") {
        put!(text, 0, "Max unavailable:\t{}", budget.number_or_text("spec.maxUnavailable"));
    }
    if budget.has("spec.selector") {
        put!(text, 0, "Selector:\t{}", selectors::shown(budget, "spec.selector"));
    } else {
        put!(text, 0, "Selector:\t<unset>");
    }
    put!(text, 0, "Status:");
    for (title, path) in [
        ("Allowed disruptions", "status.disruptionsAllowed"),
        ("Current", "status.currentHealthy"),
        ("Desired", "status.desiredHealthy"),
        ("Total", "status.expectedPods"),
    ] {
        put!(text, 2, "{title}:\t{}", budget.number(path));
    }
    events::write(view, text);
    Ok(())
}
