//! Flags as the stock kubectl's parser reads them: long and short forms, bundles, flags whose value may be left out, and
//! its words for what is wrong.
//!
//! A table of flags is a text: `SHORT? NAME TYPE[=DEFAULT][?VALUE-WHEN-LEFT-OUT]`, separated by commas.

use std::collections::HashMap;

use crate::failure::quoted;

/// What values a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Text,
    /// May be given several times, and several values at once with commas between them.
    List,
    /// May be given several times.
    Array,
    Int,
    Duration,
}

#[derive(Debug, Clone, Copy)]
pub struct Flag {
    pub name: &'static str,
    pub short: Option<char>,
    pub kind: Kind,
    pub default: &'static str,
    left_out: Option<&'static str>,
}

impl Flag {
    fn read(text: &'static str) -> Option<Self> {
        let mut words = text.split_whitespace().peekable();
        let short = words.next_if(|word| word.len() == 1).and_then(|word| word.chars().next());
        let name = words.next()?;
        let (rest, left_out) = match words.next().unwrap_or("text").split_once('?') {
            Some((rest, value)) => (rest, Some(value)),
            None => (text.split_whitespace().next_back().filter(|w| *w != name).unwrap_or("text"), None),
        };
        let (kind, default) = rest.split_once('=').unwrap_or((rest, ""));
        let kind = match kind {
            "bool" => Kind::Bool,
            "list" => Kind::List,
            "array" => Kind::Array,
            "int" => Kind::Int,
            "duration" => Kind::Duration,
            _ => Kind::Text,
        };
        let left_out = left_out.or((kind == Kind::Bool).then_some("true"));
        Some(Self { name, short, kind, default, left_out })
    }

    /// How messages name it.
    fn shown(&self) -> String {
        match self.short {
            Some(short) => format!("-{short}, --{}", self.name),
            None => format!("--{}", self.name),
        }
    }

    fn check(&self, value: &str) -> Result<(), String> {
        let wrong =
            |how: String| format!("invalid argument {} for \"{}\" flag: {how}", quoted(value), self.shown());
        match self.kind {
            Kind::Bool if truth(value).is_none() => {
                Err(wrong(format!("strconv.ParseBool: parsing {}: invalid syntax", quoted(value))))
            }
            Kind::Int if value.parse::<i64>().is_err() => {
                Err(wrong(format!("strconv.ParseInt: parsing {}: invalid syntax", quoted(value))))
            }
            Kind::Duration if duration_ns(value).is_none() => Err(wrong(wrong_duration(value))),
            _ => Ok(()),
        }
    }
}

fn wrong_duration(value: &str) -> String {
    let number = value.strip_prefix(['-', '+']).unwrap_or(value);
    if !number.is_empty() && number.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return format!("time: missing unit in duration {}", quoted(value));
    }
    format!("time: invalid duration {}", quoted(value))
}

fn truth(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A duration as Go reads it (`1m30s`), in nanoseconds.
pub fn duration_ns(text: &str) -> Option<i128> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: f64 = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        rest = &rest[end..];
        total += number * unit;
    }
    (total < i64::MAX as f64).then_some(if negative { -(total as i128) } else { total as i128 })
}

/// The flags that a command takes.
#[derive(Debug, Default)]
pub struct FlagSet(Vec<Flag>);

impl FlagSet {
    pub fn of(tables: &[&'static str]) -> Self {
        Self(
            tables
                .iter()
                .flat_map(|table| table.split(','))
                .filter_map(|text| Flag::read(text.trim()))
                .collect(),
        )
    }

    pub fn named(&self, name: &str) -> Option<&Flag> {
        self.0.iter().find(|flag| flag.name == name)
    }

    pub fn short(&self, short: char) -> Option<&Flag> {
        self.0.iter().find(|flag| flag.short == Some(short))
    }

    pub fn sorted(&self) -> Vec<Flag> {
        let mut all = self.0.clone();
        all.sort_by_key(|flag| flag.name);
        all
    }

    /// Whether `argument`, a flag, takes the argument after it as its value.
    pub fn wants_next(&self, argument: &str) -> bool {
        if let Some(name) = argument.strip_prefix("--") {
            return !name.contains('=') && self.named(name).is_none_or(|flag| flag.left_out.is_none());
        }
        let mut letters = argument.chars().skip(1);
        match (letters.next(), letters.next()) {
            (Some(letter), None) => self.short(letter).is_none_or(|flag| flag.left_out.is_none()),
            _ => false,
        }
    }

    /// Reads `arguments`.
    ///
    /// # Errors
    /// What is wrong with them; [`HELP`] where help is asked for.
    pub fn parse(&self, arguments: &[String]) -> Result<Parsed, String> {
        let mut parsed = Parsed::default();
        // Of flags of one name, the command's own comes first and counts.
        for flag in self.0.iter().rev() {
            parsed.defaults.insert(flag.name, flag.default);
        }
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "--" {
                parsed.dash = Some(parsed.arguments.len());
                parsed.arguments.extend(rest.by_ref().cloned());
            } else if let Some(long) = argument.strip_prefix("--") {
                self.long(argument, long, &mut rest, &mut parsed)?;
            } else if argument.len() > 1 && argument.starts_with('-') {
                self.bundle(argument, &mut rest, &mut parsed)?;
            } else {
                parsed.arguments.push(argument.clone());
            }
        }
        Ok(parsed)
    }

    fn long(
        &self,
        argument: &str,
        long: &str,
        rest: &mut std::slice::Iter<'_, String>,
        parsed: &mut Parsed,
    ) -> Result<(), String> {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (long, None),
        };
        if name.is_empty() || name.starts_with('-') {
            return Err(format!("bad flag syntax: {argument}"));
        }
        let Some(flag) = self.named(name) else {
            return Err(if name == "help" { HELP.to_owned() } else { format!("unknown flag: --{name}") });
        };
        let value = match (value, flag.left_out) {
            (Some(value), _) => value,
            (None, Some(value)) => value,
            (None, None) => rest.next().ok_or_else(|| format!("flag needs an argument: --{name}"))?,
        };
        parsed.set(flag, value)
    }

    fn bundle(
        &self,
        argument: &str,
        rest: &mut std::slice::Iter<'_, String>,
        parsed: &mut Parsed,
    ) -> Result<(), String> {
        let mut letters = &argument[1..];
        while let Some(letter) = letters.chars().next() {
            let behind = &letters[letter.len_utf8()..];
            let Some(flag) = self.short(letter) else {
                let unknown = format!("unknown shorthand flag: {:?} in -{letters}", letter);
                return Err(if letter == 'h' { HELP.to_owned() } else { unknown });
            };
            if let Some(value) = behind.strip_prefix('=').filter(|_| letters.len() > 2) {
                return parsed.set(flag, value);
            }
            if let Some(value) = flag.left_out {
                parsed.set(flag, value)?;
                letters = behind;
                continue;
            }
            if !behind.is_empty() {
                return parsed.set(flag, behind);
            }
            let needs = || format!("flag needs an argument: {letter:?} in -{letters}");
            return parsed.set(flag, rest.next().ok_or_else(needs)?);
        }
        Ok(())
    }
}

/// Told by [`FlagSet::parse`] where the arguments ask for help.
pub const HELP: &str = "help requested";

/// The flags and arguments of one call.
#[derive(Debug, Default)]
pub struct Parsed {
    pub arguments: Vec<String>,
    /// How many arguments stand before `--`, where there is one.
    pub dash: Option<usize>,
    given: HashMap<&'static str, Vec<String>>,
    defaults: HashMap<&'static str, &'static str>,
}

impl Parsed {
    fn set(&mut self, flag: &Flag, value: &str) -> Result<(), String> {
        flag.check(value)?;
        let values = self.given.entry(flag.name).or_default();
        match flag.kind {
            Kind::List => values.extend(comma_separated(value)),
            Kind::Array => values.push(value.to_owned()),
            _ => *values = vec![value.to_owned()],
        }
        Ok(())
    }

    /// Whether the flag was given at all.
    pub fn changed(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    pub fn text(&self, name: &str) -> &str {
        let given = self.given.get(name).and_then(|values| values.last()).map(String::as_str);
        given.or_else(|| self.defaults.get(name).copied()).unwrap_or_default()
    }

    pub fn bool(&self, name: &str) -> bool {
        truth(self.text(name)).unwrap_or(false)
    }

    pub fn int(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or(0)
    }

    pub fn list(&self, name: &str) -> &[String] {
        self.given.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Nanoseconds; negative ones too.
    pub fn duration_ns(&self, name: &str) -> i128 {
        duration_ns(self.text(name)).unwrap_or(0)
    }
}

/// One line of comma-separated values, in which values may be quoted.
fn comma_separated(text: &str) -> Vec<String> {
    let mut values = Vec::new();
    let mut value = String::new();
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                value.push('"');
            }
            '"' if quoted || value.is_empty() => quoted = !quoted,
            ',' if !quoted => values.push(std::mem::take(&mut value)),
            c => value.push(c),
        }
    }
    if !(values.is_empty() && value.is_empty()) {
        values.push(value);
    }
    values
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set() -> FlagSet {
        FlagSet::of(&[
            "o output, w watch bool, A all-namespaces bool",
            "L label-columns list, chunk-size int=500",
        ])
    }

    fn parse(line: &str) -> Result<Parsed, String> {
        set().parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn every_form_of_a_flag_is_read() {
        for line in ["-o=wide", "-owide", "-o wide", "--output=wide", "--output wide", "-wAo wide"] {
            assert_eq!(parse(line).expect(line).text("output"), "wide", "{line}");
        }
        let parsed = parse("pods -La,b -L c --watch=false x -- -o y").expect("read");
        assert_eq!(parsed.list("label-columns"), ["a", "b", "c"]);
        assert!(!parsed.bool("watch") && parsed.changed("watch"));
        assert_eq!((parsed.arguments.join(" "), parsed.dash), ("pods x -o y".to_owned(), Some(2)));
        assert_eq!(parsed.int("chunk-size"), 500);
    }

    #[test]
    fn what_is_wrong_is_said_in_the_stock_words() {
        let said = |line: &str| parse(line).expect_err(line);
        assert_eq!(said("--foo"), "unknown flag: --foo");
        assert_eq!(said("-wx"), "unknown shorthand flag: 'x' in -x");
        assert_eq!(said("-o"), "flag needs an argument: 'o' in -o");
        assert_eq!(said("--output"), "flag needs an argument: --output");
        let parsing = "flag: strconv.ParseBool: parsing \"x\": invalid syntax";
        assert_eq!(said("-w=x"), format!("invalid argument \"x\" for \"-w, --watch\" {parsing}"));
    }

    #[test]
    fn durations_are_gos() {
        assert_eq!(duration_ns("1m30.5s"), Some(90_500_000_000));
        assert_eq!(duration_ns("-1h"), Some(-3_600_000_000_000));
        assert_eq!(duration_ns("5"), None);
        assert_eq!(duration_ns(""), None);
    }

    proptest! {
        #[test]
        fn any_arguments_are_read_or_refused(arguments in proptest::collection::vec("[-=a-zA-Z\"é,]{0,6}", 0..6)) {
            let _ = set().parse(&arguments);
        }
    }
}
