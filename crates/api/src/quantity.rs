//! [`Quantity`]: fixed-point amounts such as `500m`, `1Gi`, `12e6`, parsed and printed as upstream
//! does (`k8s.io/apimachinery/pkg/api/resource`).
//!
//! Amounts are whole numbers of nano units in an `i128`; nothing is ever a floating point number.
//! Printing is canonical: no fractional digits, the largest suffix that loses nothing.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Nano units in one.
const NANO: i128 = 1_000_000_000;
/// The largest amount in binary notation: 2^63 - 1 units.
const MAX_BINARY: i128 = (i64::MAX as i128) * NANO;
const BINARY_SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
/// By power of a thousand, from nano.
const DECIMAL_SUFFIXES: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];

/// The family of suffixes a quantity is printed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `m`, none, `k`, `M`, …
    #[default]
    DecimalSi,
    /// `Ki`, `Mi`, `Gi`, …
    BinarySi,
    /// `e3`, `e6`, …
    DecimalExponent,
}

/// Why a text is no quantity, in upstream's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// An amount: exact to nano units, at most about 1.7e29 units in magnitude. Two quantities are equal
/// when their amounts are, whatever their format.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

impl Quantity {
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    /// A whole number of units.
    pub const fn from_units(units: i64, format: Format) -> Self {
        Self { nanos: units as i128 * NANO, format }
    }

    /// Thousandths of a unit, e.g. millicores.
    pub const fn from_millis(millis: i64) -> Self {
        Self { nanos: millis as i128 * (NANO / 1000), format: Format::DecimalSi }
    }

    pub const fn format(&self) -> Format {
        self.format
    }

    pub const fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// -1, 0 or 1.
    pub const fn signum(&self) -> i32 {
        self.nanos.signum() as i32
    }

    /// Whole units, rounded away from zero; capped to what an `i64` holds.
    pub fn value(&self) -> i64 {
        capped(round_up(self.nanos, NANO))
    }

    /// Thousandths, rounded away from zero; capped to what an `i64` holds.
    pub fn milli_value(&self) -> i64 {
        capped(round_up(self.nanos, NANO / 1000))
    }

    /// The amount as a floating point number, for ratios and display only.
    #[expect(clippy::cast_precision_loss, reason = "the caller asks for an approximation")]
    pub fn approximate(&self) -> f64 {
        self.nanos as f64 / NANO as f64
    }

    /// The sum, in the format of `self` unless that is zero; capped to the largest amount.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: self.nanos.saturating_add(other.nanos), format }
    }

    /// The difference, in the format of `self` unless that is zero; capped to the largest amount.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: self.nanos.saturating_sub(other.nanos), format }
    }

    /// Rounded away from zero to thousandths (how resources of pods are defaulted).
    #[must_use]
    pub fn rounded_to_millis(&self) -> Self {
        let millis = round_up(self.nanos, NANO / 1000);
        Self { nanos: millis.saturating_mul(NANO / 1000), ..*self }
    }
}

fn round_up(nanos: i128, unit: i128) -> i128 {
    nanos / unit + if nanos % unit == 0 { 0 } else { nanos.signum() }
}

fn capped(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

/// The power of the base a suffix stands for.
#[derive(Debug, Clone, Copy)]
enum Scale {
    Two(u32),
    Ten(i32),
}

fn suffix_scale(suffix: &str) -> Option<(Scale, Format)> {
    let binary = BINARY_SUFFIXES.iter().zip(0u32..).skip(1).find(|(s, _)| **s == suffix);
    if let Some((_, power)) = binary {
        return Some((Scale::Two(power * 10), Format::BinarySi));
    }
    if let Some((_, power)) = DECIMAL_SUFFIXES.iter().zip(-3i32..).find(|(s, _)| **s == suffix) {
        return Some((Scale::Ten(power * 3), Format::DecimalSi));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    Some((Scale::Ten(exponent.parse().ok()?), Format::DecimalExponent))
}

impl FromStr for Quantity {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let number_end = unsigned.bytes().position(|b| !b.is_ascii_digit() && b != b'.');
        let (number, suffix) = unsigned.split_at(number_end.unwrap_or(unsigned.len()));
        let letters_end = suffix.bytes().position(|b| !b"eEinumkKMGTP".contains(&b)).unwrap_or(suffix.len());
        let tail = &suffix[letters_end..];
        let digits = tail.strip_prefix(['+', '-']).unwrap_or(tail);
        if number.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ParseError::Format);
        }
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return Err(ParseError::Numeric);
        }
        let (scale, format) = suffix_scale(suffix).ok_or(ParseError::Suffix)?;
        let nanos = scaled(whole, fraction, scale)?;
        let nanos = if format == Format::BinarySi { nanos.min(MAX_BINARY) } else { nanos };
        let format =
            if format == Format::BinarySi && 0 < nanos && nanos < NANO { Format::DecimalSi } else { format };
        Ok(Self { nanos: if text.starts_with('-') { -nanos } else { nanos }, format })
    }
}

/// `whole.fraction` times the scale, in nano units, rounded up.
fn scaled(whole: &str, fraction: &str, scale: Scale) -> Result<i128, ParseError> {
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    if whole.is_empty() && fraction.is_empty() {
        return Ok(0);
    }
    let (exponent, factor) = match scale {
        Scale::Ten(exponent) => (exponent, 1),
        Scale::Two(power) => (0, 1i128 << power),
    };
    // The digits shifted so that the point stands after the nano units.
    let point = i64::try_from(whole.len()).map_err(|_| ParseError::Numeric)? + i64::from(exponent) + 9;
    let mut nanos = 0i128;
    let (mut position, mut dropped) = (0i64, false);
    for digit in whole.bytes().chain(fraction.bytes()).map(|b| i128::from(b - b'0')) {
        if position < point {
            nanos = nanos.checked_mul(10).and_then(|n| n.checked_add(digit)).ok_or(ParseError::Numeric)?;
        } else if factor == 1 {
            dropped |= digit != 0;
        } else {
            return scaled_binary_fraction(whole, fraction, factor);
        }
        position += 1;
    }
    while nanos != 0 && position < point {
        nanos = nanos.checked_mul(10).ok_or(ParseError::Numeric)?;
        position += 1;
    }
    nanos = nanos.checked_add(i128::from(dropped)).ok_or(ParseError::Numeric)?;
    match nanos.checked_mul(factor) {
        Some(nanos) => Ok(nanos),
        // Binary amounts are capped by the caller, far below what does not fit.
        None => Ok(i128::MAX),
    }
}

/// As [`scaled`], for binary suffixes after more than nine digits of fraction: multiplies first.
fn scaled_binary_fraction(whole: &str, fraction: &str, factor: i128) -> Result<i128, ParseError> {
    // Nineteen digits of a fraction tell apart what any suffix can make a nano unit of; what follows only rounds up.
    let (fraction, dropped) = fraction.split_at(fraction.len().min(19));
    let dropped = dropped.bytes().any(|digit| digit != b'0');
    let mut rest: i128 = fraction.parse().map_err(|_| ParseError::Numeric)?;
    let unit = 10i128.pow(u32::try_from(fraction.len()).map_err(|_| ParseError::Numeric)?);
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| ParseError::Numeric)? };
    rest = rest.saturating_mul(factor);
    let units = rest / unit;
    let nanos = (rest % unit).saturating_mul(NANO);
    let nanos = if nanos % unit == 0 { nanos / unit + i128::from(dropped) } else { round_up(nanos, unit) };
    let total = whole.saturating_mul(factor).saturating_add(units).saturating_mul(NANO);
    Ok(total.saturating_add(nanos))
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let small = self.nanos.unsigned_abs() < 1024 * NANO.unsigned_abs();
        if self.format == Format::BinarySi && !small && self.nanos % NANO == 0 {
            let (mut value, mut power) = (self.nanos / NANO, 0);
            while value % 1024 == 0 && power + 1 < BINARY_SUFFIXES.len() {
                value /= 1024;
                power += 1;
            }
            return write!(f, "{value}{}", BINARY_SUFFIXES[power]);
        }
        let (mut value, mut power) = (self.nanos, 0usize);
        let exponential = self.format == Format::DecimalExponent;
        while value % 1000 == 0 && (exponential || power + 1 < DECIMAL_SUFFIXES.len()) {
            value /= 1000;
            power += 1;
        }
        match (exponential, power) {
            (true, 3) => write!(f, "{value}"),
            (true, power) => write!(f, "{value}e{}", i64::try_from(power * 3).unwrap_or(0) - 9),
            (false, power) => write!(f, "{value}{}", DECIMAL_SUFFIXES[power]),
        }
    }
}

impl serde::Serialize for Quantity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> String {
        text.parse::<Quantity>().map_or_else(|e| e.to_string(), |q| q.to_string())
    }

    #[test]
    fn prints_canonically() {
        for (text, expect) in [
            ("0", "0"),
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1000m", "1"),
            ("1000", "1k"),
            ("100Mi", "100Mi"),
            ("1e3", "1e3"),
            ("12e6", "12e6"),
            ("10e4", "100e3"),
            ("1e0", "1"),
            ("0.1m", "100u"),
            ("0.1n", "1n"),
            ("1.1Ki", "1126400m"),
            ("512", "512"),
            ("0.5Ki", "512"),
            ("-2Gi", "-2Gi"),
            ("+1.", "1"),
            (".5", "500m"),
            ("1E", "1E"),
            ("1Ei", "1Ei"),
            ("100Ei", "9223372036854775807"),
            ("2000u", "2m"),
        ] {
            assert_eq!(canonical(text), expect, "{text}");
        }
    }

    #[test]
    fn what_is_less_than_the_smallest_unit_rounds_up_in_every_notation() {
        let suffixes = [
            "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3", "E-2",
        ];
        for suffix in suffixes {
            for zeros in [30, 36, 60] {
                let tiny = format!("0.{}1{suffix}", "0".repeat(zeros));
                let (up, down): (Quantity, Quantity) =
                    (tiny.parse().expect("well formed"), format!("-{tiny}").parse().expect("well formed"));
                assert_eq!((up.nanos, down.nanos), (1, -1), "{tiny}");
            }
        }
        for (text, expect) in
            [("1e-10", "1e-9"), ("1e-30", "1e-9"), ("1.0000000000000000000000001Ki", "1024000000001n")]
        {
            assert_eq!(canonical(text), expect, "{text}");
        }
    }

    #[test]
    fn refuses_as_upstream() {
        for bad in ["", "a", "1 ", "1.5.Gi ", "-", "1Gi1Gi", "é"] {
            assert_eq!(bad.parse::<Quantity>(), Err(ParseError::Format), "{bad}");
        }
        for bad in ["1K", "1mm", "1e", "1Kim"] {
            assert_eq!(bad.parse::<Quantity>(), Err(ParseError::Suffix), "{bad}");
        }
        assert_eq!("1.2.3".parse::<Quantity>(), Err(ParseError::Numeric));
        assert_eq!("1e99".parse::<Quantity>(), Err(ParseError::Numeric));
    }

    #[test]
    fn counts_and_compares() {
        let q = |s: &str| s.parse::<Quantity>().expect(s);
        assert_eq!((q("100m").value(), q("100m").milli_value()), (1, 100));
        assert_eq!(q("1Gi").value(), 1 << 30);
        assert_eq!(q("-1500m").value(), -2);
        assert!(q("1000m") == q("1") && q("1Gi") > q("1G"));
        assert_eq!(q("1Gi").plus(&q("1G")).to_string(), "2073741824");
        assert_eq!(q("1Gi").minus(&q("512Mi")).to_string(), "512Mi");
        assert_eq!(q("0").plus(&q("1Ki")).to_string(), "1Ki");
        assert_eq!(q("1500u").rounded_to_millis().to_string(), "2m");
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "[-+]?[0-9.]{0,40}[eEinumkKMGTPé]{0,3}[-+]?[0-9]{0,12}") {
            let _ = text.parse::<Quantity>();
        }

        #[test]
        fn printing_keeps_the_amount(number in -1_000_000_000_000i64..1_000_000_000_000, fraction in 0u32..1000,
                                     suffix in prop::sample::select(vec!["", "n", "u", "m", "k", "M", "G", "Ki", "Mi", "e3", "E-2"])) {
            let q: Quantity = format!("{number}.{fraction:03}{suffix}").parse().expect("well formed");
            let again: Quantity = q.to_string().parse().expect("printed");
            prop_assert_eq!(q, again);
            prop_assert_eq!(q.to_string(), again.to_string());
        }

        #[test]
        fn sums_undo_differences(a in any::<i64>(), b in any::<i64>()) {
            let (a, b) = (Quantity::from_millis(a), Quantity::from_millis(b));
            prop_assert_eq!(a.plus(&b).minus(&b), a);
            prop_assert_eq!(a < b, a.minus(&b).signum() < 0);
        }
    }
}
