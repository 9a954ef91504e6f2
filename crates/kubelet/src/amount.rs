//! Quantities as whole numbers.

use std::str::FromStr;

/// A resource quantity, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantity(i128);

impl Quantity {
    /// Rounded up to whole units; saturating.
    pub fn value(&self) -> i64 {
        let up = self.0.div_euclid(1000) + i128::from(self.0.rem_euclid(1000) > 0);
        i64::try_from(up).unwrap_or(i64::MAX)
    }

    /// In thousandths; saturating.
    pub fn milli_value(&self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
}

impl FromStr for Quantity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let end =
            text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '+' | '-')).unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let number: f64 = number.parse().map_err(|_| ())?;
        let factor = match suffix {
            "n" => 1e-9,
            "u" => 1e-6,
            "m" => 1e-3,
            "" => 1.0,
            "k" => 1e3,
            "M" => 1e6,
            "G" => 1e9,
            "T" => 1e12,
            "P" => 1e15,
            "E" => 1e18,
            "Ki" => 1024.0,
            "Mi" => 1_048_576.0,
            "Gi" => 1_073_741_824.0,
            "Ti" => 1_099_511_627_776.0,
            "Pi" => 1_125_899_906_842_624.0,
            "Ei" => 1_152_921_504_606_846_976.0,
            _ => return Err(()),
        };
        Ok(Self((number * factor * 1000.0).ceil() as i128))
    }
}
