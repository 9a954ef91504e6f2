//! Whether a plain scalar is read as a string, or as something else: a number, a time, a truth value.

/// What YAML 1.1 reads as truth values, null, infinity and no number.
const WORDS: [&str; 39] = [
    "", "~", "null", "Null", "NULL", "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON",
    "n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF", ".nan", ".NaN", ".NAN",
    ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF",
];

/// Whether `text` without quotes is a string to go-yaml, and to readers that know numbers of base 60.
pub fn is_string(text: &str) -> bool {
    !WORDS.contains(&text) && !is_number_or_time(text) && !is_base_60(text)
}

fn is_number_or_time(text: &str) -> bool {
    match text.as_bytes().first() {
        Some(b'.') => is_yaml_float(text),
        Some(b'+' | b'-' | b'0'..=b'9') => {
            let plain = text.replace('_', "");
            is_timestamp(text) || is_go_integer(&plain) || is_yaml_float(&plain) || is_binary(&plain)
        }
        _ => false,
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, and within what a `float64` holds.
fn is_yaml_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(w, f)| (w, Some(f)));
    let mantissa_fits = match fraction {
        Some(fraction) if whole.is_empty() => are_digits(fraction),
        Some(fraction) => are_digits(whole) && (fraction.is_empty() || are_digits(fraction)),
        None => are_digits(whole),
    };
    let exponent_fits = exponent.is_none_or(|e| are_digits(e.strip_prefix(['+', '-']).unwrap_or(e)));
    mantissa_fits && exponent_fits && unsigned.parse::<f64>().is_ok_and(f64::is_finite)
}

fn are_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// `strconv.ParseInt` and `ParseUint` of base 0: the base by prefix, up to 64 bits.
fn is_go_integer(text: &str) -> bool {
    let (negative, signed, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, true, &text[1..]),
        Some(b'+') => (false, true, &text[1..]),
        _ => (false, false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    is_integer(digits, base, negative, signed)
}

fn is_binary(text: &str) -> bool {
    if let Some(digits) = text.strip_prefix("-0b") {
        return is_integer(digits, 2, true, true);
    }
    text.strip_prefix("0b").is_some_and(|digits| is_integer(digits, 2, false, false))
}

fn is_integer(digits: &str, base: u32, negative: bool, signed: bool) -> bool {
    if digits.starts_with(['+', '-']) {
        return false;
    }
    u64::from_str_radix(digits, base).is_ok_and(|value| {
        let most = i64::MAX as u64;
        if negative { value <= most + 1 } else { !signed || value <= most }
    })
}

/// The formats of times of YAML 1.1 as go-yaml reads them.
fn is_timestamp(text: &str) -> bool {
    read_timestamp(text).is_some()
}

fn read_timestamp(text: &str) -> Option<()> {
    let (year, rest) = text.split_at_checked(4).filter(|(year, _)| are_digits(year))?;
    let (month, rest) = one_or_two(rest.strip_prefix('-')?)?;
    let (day, rest) = one_or_two(rest.strip_prefix('-')?)?;
    let year: i16 = year.parse().ok()?;
    jiff::civil::Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
    if rest.is_empty() {
        return Some(());
    }
    let zoned = rest.starts_with(['T', 't']);
    let (hour, rest) = one_or_two(rest.strip_prefix(['T', 't', ' '])?)?;
    let (minute, rest) = one_or_two(rest.strip_prefix(':')?)?;
    let (second, rest) = one_or_two(rest.strip_prefix(':')?)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let rest = match rest.strip_prefix(['.', ',']) {
        Some(fraction) => {
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 {
                return None;
            }
            &fraction[digits..]
        }
        None => rest,
    };
    if zoned { read_zone(rest) } else { rest.is_empty().then_some(()) }
}

fn read_zone(text: &str) -> Option<()> {
    if text == "Z" {
        return Some(());
    }
    let (hours, minutes) = text.strip_prefix(['+', '-'])?.split_once(':')?;
    let fits = hours.len() == 2 && minutes.len() == 2 && are_digits(hours) && are_digits(minutes);
    (fits && hours <= "24" && minutes <= "60").then_some(())
}

fn one_or_two(text: &str) -> Option<(u8, &str)> {
    let digits = text.bytes().take(2).take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    number.parse().ok().map(|number| (number, rest))
}

/// `[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?`
fn is_base_60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (groups, fraction) = unsigned.split_once('.').map_or((unsigned, ""), |(g, f)| (g, f));
    let is_digit = |b: u8| b.is_ascii_digit() || b == b'_';
    if !fraction.bytes().all(is_digit) {
        return false;
    }
    let mut groups = groups.split(':');
    let first = groups.next().unwrap_or_default();
    let mut seen = 0;
    let rest_fits = groups.all(|group| {
        seen += 1;
        match group.as_bytes() {
            [d] => d.is_ascii_digit(),
            [b'0'..=b'5', d] => d.is_ascii_digit(),
            _ => false,
        }
    });
    first.starts_with(|c: char| c.is_ascii_digit()) && first.bytes().all(is_digit) && rest_fits && seen > 0
}
