//! Numbers as Go writes them in source text.

/// The length of the longest number at the start of `text`, which may be none.
pub fn scan(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = usize::from(bytes.first().is_some_and(|b| matches!(b, b'+' | b'-')));
    let mut digits: fn(&u8) -> bool = |b| b.is_ascii_digit() || *b == b'_';
    let mut decimal = true;
    if bytes.get(at) == Some(&b'0') {
        at += 1;
        match bytes.get(at) {
            Some(b'x' | b'X') => {
                at += 1;
                decimal = false;
                digits = |b| b.is_ascii_hexdigit() || *b == b'_';
            }
            Some(b'o' | b'O') => {
                at += 1;
                digits = |b| matches!(b, b'0'..=b'7' | b'_');
            }
            Some(b'b' | b'B') => {
                at += 1;
                digits = |b| matches!(b, b'0' | b'1' | b'_');
            }
            _ => {}
        }
    }
    at += bytes[at..].iter().take_while(|b| digits(b)).count();
    if bytes.get(at) == Some(&b'.') {
        at += 1;
        at += bytes[at..].iter().take_while(|b| digits(b)).count();
    }
    let exponent: &[u8] = if decimal { b"eE" } else { b"pP" };
    if bytes.get(at).is_some_and(|b| exponent.contains(b)) {
        at += 1;
        at += usize::from(bytes.get(at).is_some_and(|b| matches!(b, b'+' | b'-')));
        at += bytes[at..].iter().take_while(|b| b.is_ascii_digit() || **b == b'_').count();
    }
    at
}

/// A constant without a type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Constant {
    Int(i64),
    Float(f64),
    /// Whole, but more than an `int` holds.
    TooLarge,
}

/// # Errors
/// Go's words for a text that is no number.
pub fn parse(text: &str) -> Result<Constant, String> {
    if let Some(value) = integer(text) {
        return Ok(i64::try_from(value).map_or(Constant::TooLarge, Constant::Int));
    }
    let quoted = crate::printing::go_text::quote(text);
    match text.replace('_', "").parse::<f64>() {
        Ok(_) if !text.contains(['.', 'e', 'E', 'p', 'P']) => Err(format!("integer overflow: {quoted}")),
        Ok(value) if value.is_finite() => Ok(Constant::Float(value)),
        _ => Err(format!("illegal number syntax: {quoted}")),
    }
}

/// A whole number of up to 64 bits, with a sign or without.
fn integer(text: &str) -> Option<i128> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let lower = digits.to_ascii_lowercase().replace('_', "");
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = i128::from(u64::from_str_radix(digits, radix).ok()?) * sign;
    (value >= i128::from(i64::MIN)).then_some(value)
}
