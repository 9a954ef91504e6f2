//! Secret: the sizes of its values, and of service accounts' tokens the value.

use super::config_map::decoded;
use super::fields::Fields as _;
use super::metadata;
use super::related::DescribeError;
use super::text::{Text, put};
use super::view::View;

const TOKEN: &str = "kubernetes.io/service-account-token";

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let secret = view.object;
    metadata::head(text, secret);
    put!(text, 0, "\nType:\t{}", secret.text("type"));
    put!(text, 0, "\nData\n====");
    for (key, value) in secret.entries("data") {
        let bytes = decoded(value);
        if key == "token" && secret.text("type") == TOKEN {
            put!(text, 0, "{key}:\t{}", String::from_utf8_lossy(&bytes));
        } else {
            put!(text, 0, "{key}:\t{} bytes", bytes.len());
        }
    }
    Ok(())
}
