//! Quoted strings with Go's escapes, in either kind of quotes.

/// The text between the quotes, with its escapes replaced; nothing where it is no quoted string.
pub fn unquote(text: &str) -> Option<String> {
    let mut chars = text.chars();
    let quote = chars.next().filter(|c| matches!(c, '"' | '\''))?;
    let inside = chars.as_str().strip_suffix(quote)?;
    let mut bytes = Vec::with_capacity(inside.len());
    let mut rest = inside.chars();
    while let Some(c) = rest.next() {
        if c == quote {
            return None;
        }
        if c == '\\' {
            escape(&mut rest, quote, &mut bytes)?;
        } else {
            push(&mut bytes, c);
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn push(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn escape(rest: &mut std::str::Chars<'_>, quote: char, bytes: &mut Vec<u8>) -> Option<()> {
    let simple = match rest.next()? {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' => b'\\',
        c if c == quote => u8::try_from(c).ok()?,
        'x' => u8::try_from(digits(rest, 2, 16)?).ok()?,
        wide @ ('u' | 'U') => {
            let count = if wide == 'u' { 4 } else { 8 };
            push(bytes, char::from_u32(digits(rest, count, 16)?)?);
            return Some(());
        }
        c @ '0'..='7' => {
            let first = c.to_digit(8)?;
            u8::try_from(first * 64 + digits(rest, 2, 8)?).ok()?
        }
        _ => return None,
    };
    bytes.push(simple);
    Some(())
}

fn digits(rest: &mut std::str::Chars<'_>, count: usize, radix: u32) -> Option<u32> {
    (0..count).try_fold(0u32, |value, _| value.checked_mul(radix)?.checked_add(rest.next()?.to_digit(radix)?))
}
