//! Go's `fmt`: `Sprint`, `Sprintln` and `Sprintf` with verbs, flags, widths and what is said of wrong ones.

use serde_json::Value;

use super::value::Val;
use crate::printing::go_text::{self, Numeric};

/// Widths and precisions beyond this are refused, as Go does.
const MAX_NUMBER: usize = 1_000_000;
const NIL: &str = "<nil>";

/// Spaces between operands where neither is a string.
pub fn sprint(values: &[Val<'_>]) -> String {
    let mut out = String::new();
    let mut after_string = false;
    for (index, value) in values.iter().enumerate() {
        let is_string = value.string().is_some();
        if index > 0 && !is_string && !after_string {
            out.push(' ');
        }
        out.push_str(&value.plain(NIL));
        after_string = is_string;
    }
    out
}

pub fn sprintln(values: &[Val<'_>]) -> String {
    let shown: Vec<String> = values.iter().map(|value| value.plain(NIL)).collect();
    shown.join(" ") + "\n"
}

#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

struct Formatter<'f, 'v> {
    rest: std::iter::Peekable<std::str::Chars<'f>>,
    values: &'v [Val<'v>],
    next: usize,
    reordered: bool,
    good_index: bool,
    out: String,
}

pub fn sprintf(format: &str, values: &[Val<'_>]) -> String {
    let mut formatter = Formatter {
        rest: format.chars().peekable(),
        values,
        next: 0,
        reordered: false,
        good_index: true,
        out: String::new(),
    };
    while let Some(c) = formatter.rest.next() {
        if c == '%' { formatter.verb() } else { formatter.out.push(c) }
    }
    formatter.extra();
    formatter.out
}

impl Formatter<'_, '_> {
    fn verb(&mut self) {
        let mut flags = Flags::default();
        while let Some(c) = self.rest.peek() {
            match c {
                '-' => (flags.minus, flags.zero) = (true, false),
                '+' => flags.plus = true,
                '#' => flags.sharp = true,
                ' ' => flags.space = true,
                '0' => flags.zero = !flags.minus,
                _ => break,
            }
            self.rest.next();
        }
        self.good_index = true;
        self.index();
        flags.width = self.number("WIDTH", Some(&mut flags.minus));
        if flags.minus {
            flags.zero = false;
        }
        if self.rest.peek() == Some(&'.') {
            self.rest.next();
            self.index();
            flags.precision = Some(self.number("PREC", None).unwrap_or(0));
        }
        self.index();
        let Some(verb) = self.rest.next() else {
            self.out.push_str("%!(NOVERB)");
            return;
        };
        if verb == '%' {
            self.out.push('%');
        } else if !self.good_index {
            self.out.push_str(&format!("%!{verb}(BADINDEX)"));
        } else if let Some(value) = self.values.get(self.next) {
            self.next += 1;
            print(&mut self.out, value, verb, flags);
        } else {
            self.out.push_str(&format!("%!{verb}(MISSING)"));
        }
    }

    /// `[n]`: the operand that is taken next.
    fn index(&mut self) {
        if self.rest.peek() != Some(&'[') {
            return;
        }
        self.reordered = true;
        self.rest.next();
        let mut digits = String::new();
        let mut closed = false;
        for c in self.rest.by_ref() {
            if c == ']' {
                closed = true;
                break;
            }
            digits.push(c);
        }
        match digits.parse::<usize>() {
            Ok(number) if closed && (1..=self.values.len()).contains(&number) => self.next = number - 1,
            _ => self.good_index = false,
        }
    }

    fn number(&mut self, what: &str, minus: Option<&mut bool>) -> Option<usize> {
        if self.rest.peek() == Some(&'*') {
            self.rest.next();
            let given = self.values.get(self.next).and_then(Val::integer);
            self.next += 1;
            let size =
                given.and_then(|n| usize::try_from(n.unsigned_abs()).ok()).filter(|n| *n <= MAX_NUMBER);
            match (given, size, minus) {
                (Some(number), Some(size), Some(minus)) => {
                    *minus |= number < 0;
                    return Some(size);
                }
                (Some(0..), Some(size), None) => return Some(size),
                (Some(_), Some(_), None) => {}
                _ => self.out.push_str(&format!("%!(BAD{what})")),
            }
            return None;
        }
        let mut number = None;
        while let Some(digit) = self.rest.peek().and_then(|c| c.to_digit(10)) {
            self.rest.next();
            number = Some(number.unwrap_or(0usize).saturating_mul(10).saturating_add(digit as usize));
        }
        number.filter(|number| *number <= MAX_NUMBER)
    }

    fn extra(&mut self) {
        if self.reordered || self.next >= self.values.len() {
            return;
        }
        let shown: Vec<String> = self.values[self.next..]
            .iter()
            .map(|value| {
                if value.is_nil() {
                    NIL.to_owned()
                } else {
                    format!("{}={}", value.type_name(), value.plain(NIL))
                }
            })
            .collect();
        self.out.push_str(&format!("%!(EXTRA {})", shown.join(", ")));
    }
}

fn print(out: &mut String, value: &Val<'_>, verb: char, flags: Flags) {
    match value {
        _ if verb == 'T' => pad(out, value.type_name(), flags),
        Val::Int(number) => integer(out, *number, verb, flags, "int"),
        Val::Byte(number) => integer(out, i64::from(*number), verb, flags, "uint8"),
        Val::Nothing => nil(out, verb, flags),
        Val::Boxed(json) | Val::Data(json) => match json.as_ref() {
            Value::Null => nil(out, verb, flags),
            json => print_json(out, json, verb, flags),
        },
    }
}

fn nil(out: &mut String, verb: char, flags: Flags) {
    if verb == 'v' { pad(out, NIL, flags) } else { out.push_str(&format!("%!{verb}({NIL})")) }
}

fn bad(out: &mut String, verb: char, type_name: &str, shown: &str) {
    out.push_str(&format!("%!{verb}({type_name}={shown})"));
}

fn print_json(out: &mut String, value: &Value, verb: char, flags: Flags) {
    match value {
        Value::Null => out.push_str(if flags.sharp && verb == 'v' { "interface {}(nil)" } else { NIL }),
        Value::Bool(value) if matches!(verb, 't' | 'v') => {
            pad(out, if *value { "true" } else { "false" }, flags)
        }
        Value::Bool(value) => bad(out, verb, "bool", if *value { "true" } else { "false" }),
        Value::Number(number) => match Numeric::of(number) {
            Numeric::Int(value) => integer(out, value, verb, flags, "int64"),
            Numeric::Float(value) => float(out, value, verb, flags),
        },
        Value::String(text) => string(out, text, verb, flags),
        Value::Array(_) | Value::Object(_) if verb == 'p' => {
            bad(out, verb, go_text::type_name(value), &go_text::plain(value));
        }
        Value::Array(items) => {
            let syntax = flags.sharp && verb == 'v';
            out.push_str(if syntax { "[]interface {}{" } else { "[" });
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(if syntax { ", " } else { " " });
                }
                print_json(out, item, verb, flags);
            }
            out.push(if syntax { '}' } else { ']' });
        }
        Value::Object(fields) => {
            let syntax = flags.sharp && verb == 'v';
            out.push_str(if syntax { "map[string]interface {}{" } else { "map[" });
            for (index, (key, item)) in fields.iter().enumerate() {
                if index > 0 {
                    out.push_str(if syntax { ", " } else { " " });
                }
                string(out, key, verb, flags);
                out.push(':');
                print_json(out, item, verb, flags);
            }
            out.push(if syntax { '}' } else { ']' });
        }
    }
}

/// Pads with spaces to the width.
fn pad(out: &mut String, text: &str, flags: Flags) {
    let missing = flags.width.unwrap_or(0).saturating_sub(text.chars().count());
    if !flags.minus {
        out.extend(std::iter::repeat_n(if flags.zero { '0' } else { ' ' }, missing));
    }
    out.push_str(text);
    if flags.minus {
        out.extend(std::iter::repeat_n(' ', missing));
    }
}

fn string(out: &mut String, text: &str, verb: char, flags: Flags) {
    let cut: String = match flags.precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text.to_owned(),
    };
    match verb {
        'v' if flags.sharp => pad(out, &go_text::quote(&cut), flags),
        'v' | 's' => pad(out, &cut, flags),
        'q' if flags.sharp
            && !cut.contains('`')
            && cut.chars().all(|c| c == '\t' || go_text::is_printable(c)) =>
        {
            pad(out, &format!("`{cut}`"), flags);
        }
        'q' => {
            let mut quoted = String::from("\"");
            cut.chars().for_each(|c| go_text::push_quoted(&mut quoted, c, '"', flags.plus));
            quoted.push('"');
            pad(out, &quoted, flags);
        }
        'x' | 'X' => {
            let bytes = &text.as_bytes()[..flags.precision.unwrap_or(text.len()).min(text.len())];
            let prefix = match (flags.sharp, verb) {
                (false, _) => "",
                (true, 'x') => "0x",
                (true, _) => "0X",
            };
            let hex = |b: &u8| if verb == 'x' { format!("{b:02x}") } else { format!("{b:02X}") };
            let parts: Vec<String> = bytes.iter().map(hex).collect();
            let shown = if flags.space {
                parts.iter().map(|part| format!("{prefix}{part}")).collect::<Vec<_>>().join(" ")
            } else if parts.is_empty() {
                String::new()
            } else {
                format!("{prefix}{}", parts.concat())
            };
            pad(out, &shown, flags);
        }
        _ => bad(out, verb, "string", text),
    }
}

fn integer(out: &mut String, value: i64, verb: char, flags: Flags, type_name: &str) {
    let size = value.unsigned_abs();
    let (digits, prefix) = match verb {
        'v' | 'd' => (size.to_string(), ""),
        'b' => (format!("{size:b}"), if flags.sharp { "0b" } else { "" }),
        'o' => (format!("{size:o}"), if flags.sharp { "0" } else { "" }),
        'O' => (format!("{size:o}"), "0o"),
        'x' => (format!("{size:x}"), if flags.sharp { "0x" } else { "" }),
        'X' => (format!("{size:X}"), if flags.sharp { "0X" } else { "" }),
        'c' => return pad(out, &character(value).to_string(), flags),
        'q' => {
            let mut quoted = String::from("'");
            go_text::push_quoted(&mut quoted, character(value), '\'', flags.plus);
            quoted.push('\'');
            return pad(out, &quoted, flags);
        }
        'U' => {
            let c = character(value);
            let name =
                if flags.sharp && go_text::is_printable(c) { format!(" '{c}'") } else { String::new() };
            return pad(out, &format!("U+{value:04X}{name}"), Flags { zero: false, ..flags });
        }
        _ => return bad(out, verb, type_name, &value.to_string()),
    };
    let sign = sign(value < 0, flags);
    let wanted = match (flags.precision, flags.width) {
        (Some(0), _) if value == 0 => return pad(out, "", Flags { zero: false, ..flags }),
        (Some(precision), _) => precision,
        (None, Some(width)) if flags.zero => width.saturating_sub(sign.len()),
        _ => 0,
    };
    let zeros = "0".repeat(wanted.saturating_sub(digits.len()));
    pad(out, &format!("{sign}{prefix}{zeros}{digits}"), Flags { zero: false, ..flags });
}

fn sign(negative: bool, flags: Flags) -> &'static str {
    if negative {
        "-"
    } else if flags.plus {
        "+"
    } else if flags.space {
        " "
    } else {
        ""
    }
}

fn character(value: i64) -> char {
    u32::try_from(value).ok().and_then(char::from_u32).unwrap_or('\u{fffd}')
}

fn float(out: &mut String, value: f64, verb: char, flags: Flags) {
    let size = value.abs();
    let digits = match (verb, flags.precision) {
        ('v' | 'g' | 'G', None) => go_text::float_g(size),
        ('v' | 'g' | 'G', Some(precision)) => general(size, precision.max(1)),
        ('f' | 'F', precision) => format!("{size:.*}", precision.unwrap_or(6)),
        ('e' | 'E', precision) => exponential(size, precision.unwrap_or(6)),
        _ => return bad(out, verb, "float64", &go_text::float_g(value)),
    };
    let digits = if verb.is_ascii_uppercase() { digits.to_uppercase() } else { digits };
    let sign = sign(value.is_sign_negative(), flags);
    if flags.zero {
        let width = flags.width.unwrap_or(0).saturating_sub(sign.len());
        out.push_str(&format!("{sign}{digits:0>width$}"));
    } else {
        pad(out, &format!("{sign}{digits}"), flags);
    }
}

fn exponential(value: f64, precision: usize) -> String {
    let text = format!("{value:.precision$e}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

/// `%g` with a precision: significant digits, without zeros at the end.
fn general(value: f64, precision: usize) -> String {
    let text = exponential(value, precision - 1);
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    let limit = i32::try_from(precision).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= limit {
        let (_, shown) = text.split_once('e').unwrap_or_default();
        return format!("{}e{shown}", trimmed(mantissa));
    }
    let decimals = usize::try_from(limit - 1 - exponent).unwrap_or(0);
    trimmed(&format!("{value:.decimals$}"))
}
