//! libyaml's analysis of a scalar: in which styles it may be written, and which style is taken.

use std::fmt::Write as _;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    Literal,
}

/// What a scalar's text allows (outside of flow collections, which are not written but for empty ones).
#[derive(Debug, Clone, Copy)]
pub struct Analysis {
    pub multiline: bool,
    plain: bool,
    single_quoted: bool,
    block: bool,
}

/// What the analysis goes by.
#[derive(Debug, Default)]
struct Findings {
    indicators: bool,
    special: bool,
    line_breaks: bool,
    /// White space or a line break at either end.
    edges: bool,
    trailing_space: bool,
    break_space: bool,
    space_break: bool,
}

impl Analysis {
    pub fn of(text: &str) -> Self {
        if text.is_empty() {
            return Self { multiline: false, plain: true, single_quoted: true, block: false };
        }
        let found = Findings::of(text);
        let unfit = found.space_break || found.special;
        Self {
            multiline: found.line_breaks,
            plain: !(found.edges || found.break_space || unfit || found.line_breaks || found.indicators),
            single_quoted: !(found.break_space || unfit),
            block: !(found.trailing_space || unfit),
        }
    }
}

impl Findings {
    fn of(text: &str) -> Self {
        let mut found =
            Self { indicators: text.starts_with("---") || text.starts_with("..."), ..Self::default() };
        let mut chars = text.chars().peekable();
        let (mut first, mut after_blank, mut after_space, mut after_break) = (true, true, false, false);
        while let Some(c) = chars.next() {
            let last = chars.peek().is_none();
            let before_blank = chars.peek().is_none_or(|next| matches!(next, ' ' | '\t'));
            found.indicators |= is_indicator(c, first, after_blank, before_blank);
            found.special |= !is_printable(c);
            let (space, line_break) = (c == ' ', is_break(c));
            found.edges |= (space || line_break) && (first || last);
            found.trailing_space |= space && last;
            found.break_space |= space && after_break;
            found.space_break |= line_break && after_space;
            found.line_breaks |= line_break;
            (after_space, after_break) = (space, line_break);
            after_blank = matches!(c, ' ' | '\t') || line_break || c == '\0';
            first = false;
        }
        found
    }
}

fn is_indicator(c: char, first: bool, after_blank: bool, before_blank: bool) -> bool {
    match c {
        '#' => first || after_blank,
        ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => first,
        '?' | '-' => first && before_blank,
        ':' => before_blank,
        _ => false,
    }
}

/// The style that is taken where `wanted` is asked for.
pub fn select(analysis: &Analysis, wanted: Style, text: &str, simple_key: bool) -> Style {
    let mut style = wanted;
    if simple_key && analysis.multiline {
        style = Style::DoubleQuoted;
    }
    if style == Style::Plain && (!analysis.plain || (text.is_empty() && simple_key)) {
        style = Style::SingleQuoted;
    }
    if style == Style::SingleQuoted && !analysis.single_quoted {
        style = Style::DoubleQuoted;
    }
    if style == Style::Literal && (!analysis.block || simple_key) {
        style = Style::DoubleQuoted;
    }
    style
}

pub fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// libyaml's printable characters, which end with the basic plane.
fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}') && c != '\u{feff}'
}

/// Whether a character is escaped within double quotes.
pub fn is_escaped(c: char) -> bool {
    !is_printable(c) || is_break(c) || matches!(c, '"' | '\\')
}

pub fn escape(c: char) -> String {
    let short = match c {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' => '"',
        '\\' => '\\',
        '\u{85}' => 'N',
        '\u{a0}' => '_',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        _ => {
            let code = c as u32;
            let mut out = String::new();
            let _ = match code {
                0..=0xff => write!(out, "\\x{code:02X}"),
                0x100..=0xffff => write!(out, "\\u{code:04X}"),
                _ => write!(out, "\\U{code:08X}"),
            };
            return out;
        }
    };
    format!("\\{short}")
}

/// What stands behind `|`: the indentation where the text starts with white space, and what becomes of the breaks at
/// its end.
pub fn block_hints(text: &str) -> String {
    let mut hints = String::new();
    if text.starts_with(|c| c == ' ' || is_break(c)) {
        hints.push('2');
    }
    let mut from_end = text.chars().rev();
    match (from_end.next().is_some_and(is_break), from_end.next()) {
        (false, _) => hints.push('-'),
        (true, None) => hints.push('+'),
        (true, Some(c)) if is_break(c) => hints.push('+'),
        (true, Some(_)) => {}
    }
    hints
}
