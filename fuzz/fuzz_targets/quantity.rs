//! Two quantities, a space between them: what is taken prints as the same amount; sums do not overflow.

#![no_main]

use api::quantity::Quantity;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (left, right) = text.split_once(' ').unwrap_or((text, "1"));
    let Ok(left) = left.parse::<Quantity>() else { return };
    assert_eq!(left.to_string().parse::<Quantity>(), Ok(left), "{left}");
    let _ = (left.value(), left.milli_value(), left.approximate(), left.rounded_to_millis());
    if let Ok(right) = right.parse::<Quantity>() {
        let _ = (left.plus(&right).to_string(), left.minus(&right).to_string(), left.cmp(&right));
    }
});
