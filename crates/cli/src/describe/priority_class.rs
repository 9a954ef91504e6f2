//! PriorityClass.

use super::events;
use super::fields::Fields as _;
use super::related::DescribeError;
use super::selectors;
use super::text::{Text, put};
use super::view::View;

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let class = view.object;
    put!(text, 0, "Name:\t{}", view.name());
    put!(text, 0, "Value:\t{}", class.number("value"));
    put!(text, 0, "GlobalDefault:\t{}", class.flag("globalDefault"));
    put!(text, 0, "PreemptionPolicy:\t{}", class.text("preemptionPolicy"));
    put!(text, 0, "Description:\t{}", class.text("description"));
    put!(text, 0, "Annotations:\t{}", selectors::map(class, "metadata.annotations"));
    events::write(view, text);
    Ok(())
}
