//! ServiceAccount.

use super::events;
use super::fields::Fields as _;
use super::metadata;
use super::related::DescribeError;
use super::text::Text;
use super::view::View;

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let account = view.object;
    metadata::head(text, account);
    let secrets = account.items("imagePullSecrets");
    let names: Vec<String> = secrets.iter().map(|secret| secret.text("name").to_owned()).collect();
    metadata::listed(text, 0, "", "Image pull secrets", &names);
    events::write(view, text);
    Ok(())
}
