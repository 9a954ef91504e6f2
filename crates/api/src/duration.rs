//! Durations as Go reads them (`time.ParseDuration`): `1h30m`, `1.5s`.

/// Units by their nanoseconds; of two that begin alike the longer first.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Nanoseconds.
///
/// # Errors
/// In Go's words.
pub fn parse(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let is_figure = |c: char| c.is_ascii_digit() || c == '.';
        let end = rest.find(|c| !is_figure(c)).unwrap_or(rest.len());
        let (figure, after) = rest.split_at(end);
        let (whole, fraction) = figure.split_once('.').unwrap_or((figure, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(invalid());
        }
        let unit_end = after.find(is_figure).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        let Some((_, nanos)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("time: unknown unit {unit:?} in duration {text:?}"));
        };
        let number: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        let part = fraction
            .bytes()
            .take(18)
            .fold((0i128, 1i128), |(sum, scale), digit| (sum * 10 + i128::from(digit - b'0'), scale * 10));
        let nanos = i128::from(*nanos);
        total = number
            .checked_mul(nanos)
            .and_then(|n| n.checked_add(part.0 * nanos / part.1))
            .and_then(|n| total.checked_add(n))
            .ok_or_else(invalid)?;
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn durations() {
        assert_eq!(parse("1h30m"), Ok(5_400_000_000_000));
        assert_eq!(parse("1.5s"), Ok(1_500_000_000));
        assert_eq!(parse("-2ms"), Ok(-2_000_000));
        assert_eq!(parse("0"), Ok(0));
        assert_eq!(parse("5"), Err("time: missing unit in duration \"5\"".into()));
        assert_eq!(parse("5x"), Err("time: unknown unit \"x\" in duration \"5x\"".into()));
        for bad in ["", "-", ".s", "1..2s", "s", "99999999999999999999h"] {
            assert!(parse(bad).is_err_and(|why| why.starts_with("time: invalid duration")), "{bad}");
        }
    }
}
