//! Text into tokens.

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    Int(i64),
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
    Name(String),
    /// An operator or a bracket.
    Sign(&'static str),
    End,
}

const SIGNS: [&str; 28] = [
    "&&", "||", "==", "!=", "<=", ">=", "[?", ".?", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", "(",
    ")", "[", "]", "{", "}", ",", ".", "=", "&",
];

/// What cannot be read, and where.
pub(crate) type Unread = (usize, String);

/// The tokens of a text, each with the byte it begins at.
pub(crate) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Unread> {
    let mut out = Vec::new();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let Some(first) = rest.chars().next() else {
            out.push((at, Token::End));
            return Ok(out);
        };
        if first.is_whitespace() {
            at += first.len_utf8();
        } else if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if let Some((token, length)) = quoted(rest).map_err(|what| (at, what))? {
            out.push((at, token));
            at += length;
        } else if first.is_ascii_digit()
            || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit()))
        {
            let (token, length) = number(rest).map_err(|what| (at, what))?;
            out.push((at, token));
            at += length;
        } else if first.is_ascii_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
            out.push((at, Token::Name(rest[..end].to_owned())));
            at += end;
        } else if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            // `a[?b` is an optional index, but `a ? [?` cannot be told from it, and need not be.
            out.push((at, Token::Sign(sign)));
            at += sign.len();
        } else {
            return Err((at, format!("Syntax error: token recognition error at: '{first}'")));
        }
    }
}

fn number(text: &str) -> Result<(Token, usize), String> {
    let unread = |text: &str| format!("Syntax error: invalid number '{text}'");
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let end = hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
        if hex[end..].starts_with(['u', 'U']) {
            let value = u64::from_str_radix(&hex[..end], 16).map_err(|_| unread(text))?;
            return Ok((Token::Uint(value), end + 3));
        }
        let value = i64::from_str_radix(&hex[..end], 16).map_err(|_| unread(text))?;
        return Ok((Token::Int(value), end + 2));
    }
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let mut end = digits(text);
    let mut whole = true;
    if text[end..].starts_with('.') && text[end + 1..].starts_with(|c: char| c.is_ascii_digit()) {
        whole = false;
        end += 1 + digits(&text[end + 1..]);
    }
    if text[end..].starts_with(['e', 'E']) {
        let signed = end + 1 + usize::from(text[end + 1..].starts_with(['+', '-']));
        let more = digits(&text[signed..]);
        if more > 0 {
            whole = false;
            end = signed + more;
        }
    }
    let said = &text[..end];
    if !whole {
        return said.parse().map(|value| (Token::Double(value), end)).map_err(|_| unread(said));
    }
    if text[end..].starts_with(['u', 'U']) {
        return said.parse().map(|value| (Token::Uint(value), end + 1)).map_err(|_| unread(said));
    }
    // The smallest number has no positive counterpart: its sign is read as a part of it by the parser.
    match said.parse::<u64>() {
        Ok(value) if value == i64::MAX as u64 + 1 => Ok((Token::Int(i64::MIN), end)),
        Ok(value) => i64::try_from(value).map(|value| (Token::Int(value), end)).map_err(|_| unread(said)),
        Err(_) => Err(unread(said)),
    }
}

/// A string or bytes with its length; `None` for anything else.
fn quoted(text: &str) -> Result<Option<(Token, usize)>, String> {
    // At most two letters stand before the quote.
    let prefix = text.bytes().take(3).position(|byte| matches!(byte, b'"' | b'\'')).unwrap_or(0);
    let flags = text[..prefix].to_ascii_lowercase();
    if !matches!(flags.as_str(), "" | "r" | "b" | "rb" | "br") || !text[prefix..].starts_with(['"', '\'']) {
        return Ok(None);
    }
    let (raw, bytes) = (flags.contains('r'), flags.contains('b'));
    let body = &text[prefix..];
    let triple = body.starts_with("\"\"\"") || body.starts_with("'''");
    let quote = &body[..if triple { 3 } else { 1 }];
    let mut out = Vec::new();
    let mut rest = &body[quote.len()..];
    loop {
        if let Some(after) = rest.strip_prefix(quote) {
            let length = text.len() - after.len();
            let token = if bytes {
                Token::Bytes(out)
            } else {
                Token::String(
                    String::from_utf8(out).map_err(|_| "Syntax error: a string is no UTF-8".to_owned())?,
                )
            };
            return Ok(Some((token, length)));
        }
        let Some(c) = rest.chars().next() else { return Err("Syntax error: unterminated string".to_owned()) };
        if c == '\n' && !triple {
            return Err("Syntax error: unterminated string".to_owned());
        }
        rest = &rest[c.len_utf8()..];
        if c == '\\' && !raw {
            rest = escape(rest, bytes, &mut out)?;
        } else {
            out.extend(c.encode_utf8(&mut [0; 4]).bytes());
        }
    }
}

/// Reads what follows a backslash.
fn escape<'t>(rest: &'t str, bytes: bool, out: &mut Vec<u8>) -> Result<&'t str, String> {
    let wrong = || "Syntax error: unable to unescape string".to_owned();
    let c = rest.chars().next().ok_or_else(wrong)?;
    let after = &rest[c.len_utf8()..];
    let simple = match c {
        'a' => Some(7),
        'b' => Some(8),
        'f' => Some(12),
        'n' => Some(b'\n'),
        'r' => Some(b'\r'),
        't' => Some(b'\t'),
        'v' => Some(11),
        '\\' | '\'' | '"' | '`' | '?' => Some(c as u8),
        _ => None,
    };
    if let Some(byte) = simple {
        out.push(byte);
        return Ok(after);
    }
    let (digits, radix, after) = match c {
        'x' | 'X' => (2, 16, after),
        'u' => (4, 16, after),
        'U' => (8, 16, after),
        '0'..='3' => (3, 8, rest),
        _ => return Err(wrong()),
    };
    let code =
        after.get(..digits).and_then(|digits| u32::from_str_radix(digits, radix).ok()).ok_or_else(wrong)?;
    if bytes && (radix == 8 || digits == 2) {
        out.push(u8::try_from(code).map_err(|_| wrong())?);
    } else {
        out.extend(char::from_u32(code).ok_or_else(wrong)?.encode_utf8(&mut [0; 4]).bytes());
    }
    Ok(&after[digits..])
}
