//! Numbers that users give as such or as a percentage.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A number, or a percentage of `total`. An unreadable value counts as 0; validation rejects such values.
pub(crate) fn scaled(value: &IntOrString, total: i32, up: bool) -> i32 {
    match value {
        IntOrString::Int(number) => (*number).max(0),
        IntOrString::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0).clamp(0, 100_000);
            let hundredfold = percent * i64::from(total);
            let rounded = if up { (hundredfold + 99) / 100 } else { hundredfold / 100 };
            i32::try_from(rounded).unwrap_or(i32::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_rounded_as_asked() {
        let percent = |text: &str| IntOrString::String(text.to_owned());
        assert_eq!((scaled(&percent("25%"), 10, true), scaled(&percent("25%"), 10, false)), (3, 2));
        assert_eq!(scaled(&IntOrString::Int(7), 3, true), 7);
        assert_eq!(scaled(&IntOrString::Int(-1), 3, true), 0);
        assert_eq!(scaled(&percent("100%"), i32::MAX, true), i32::MAX);
        assert_eq!(scaled(&percent("many"), 3, true), 0);
    }
}
