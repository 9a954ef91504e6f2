//! Label and field selectors: what is taken prints as a selector of the same meaning.

#![no_main]

use api::selector::{FieldSelector, LabelSelector};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(selector) = LabelSelector::parse(text) {
        let again = LabelSelector::parse(&selector.to_string());
        assert_eq!(again.as_ref().map(LabelSelector::requirements), Ok(selector.requirements()));
        for requirement in selector.requirements() {
            let value = requirement.values().first().map(String::as_str);
            selector.matches(|key| (key == requirement.key()).then_some(value).flatten());
        }
    }
    if let Ok(selector) = FieldSelector::parse(text) {
        for requirement in selector.requirements() {
            selector.exact(&requirement.field);
        }
        selector.matches(|_| Some(text));
    }
});
