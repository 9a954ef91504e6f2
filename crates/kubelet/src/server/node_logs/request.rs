//! What a query for logs asks for (KEP-2258), and whether it may. Pure but for a look whether a file is there.

use std::path::Path;

use jiff::Timestamp;

const MAX_TAIL_LINES: i64 = 100_000;
const MAX_SERVICE_BYTES: usize = 256;
const MAX_SERVICES: usize = 4;
const MAX_PATTERN_BYTES: usize = 4096;

/// A query: services, or one file, and what of services' logs is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    pub services: Vec<String>,
    pub files: Vec<String>,
    pub options: Options,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub tail_lines: Option<i64>,
    pub boot: Option<i64>,
    pub pattern: String,
}

impl Query {
    /// `None` where nothing is queried.
    ///
    /// # Errors
    /// What cannot be read, in upstream's words.
    pub fn parse(pairs: &[(String, String)]) -> Result<Option<Self>, String> {
        let (mut query, mut wrong) = (Self::default(), Vec::new());
        let asked: Vec<&String> = pairs.iter().filter(|(name, _)| name == "query").map(|(_, v)| v).collect();
        for text in &asked {
            if text.contains(['/', '\\']) {
                query.files.push(text.replace('\\', "/"));
            } else if !text.trim().is_empty() {
                query.services.push((*text).clone());
            }
        }
        if !asked.is_empty() && query.files.is_empty() && query.services.is_empty() {
            wrong.push(format!("query: Invalid value: {asked:?}: query cannot be empty"));
        }
        let first = |key: &str| {
            let found = pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
            found.filter(|value| !value.is_empty())
        };
        let mut time = |key: &str| {
            let text = first(key)?;
            let parsed = text.parse::<Timestamp>().ok();
            if parsed.is_none() {
                wrong.push(format!("{key}: Invalid value: {text:?}: invalid time format"));
            }
            parsed
        };
        (query.options.since, query.options.until) = (time("sinceTime"), time("untilTime"));
        let mut number = |key: &str| {
            let text = first(key)?;
            let parsed = text.parse::<i64>().ok();
            if parsed.is_none() {
                let why = format!("strconv.Atoi: parsing {text:?}: invalid syntax");
                wrong.push(format!("{key}: Invalid value: {text:?}: {why}"));
            }
            parsed
        };
        (query.options.boot, query.options.tail_lines) = (number("boot"), number("tailLines"));
        query.options.pattern = first("pattern").unwrap_or_default().to_owned();
        all(wrong)?;
        Ok((query != Self::default()).then_some(query))
    }

    /// Whether the query makes sense and is harmless.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, folder: &Path) -> Result<(), String> {
        let mut wrong: Vec<String> = self.services.iter().filter_map(|name| unsafe_name(name)).collect();
        if self.services.len() > MAX_SERVICES {
            let count = self.services.len();
            wrong.push(format!("query: Too many: {count}: must have at most {MAX_SERVICES} items"));
        }
        let options = &self.options;
        match (self.files.as_slice(), self.services.as_slice()) {
            ([], []) => wrong.push("query: Required value: cannot be empty with options".to_owned()),
            ([], _) => {}
            (files, services) if !services.is_empty() => {
                let both = format!("{files:?}, {services:?}");
                wrong.push(format!("query: Invalid value: {both}: cannot specify a file and service"));
            }
            ([file], _) if *options == Options::default() => {
                if super::open(folder, Path::new(file.trim_start_matches('/'))).is_err() {
                    wrong.push(format!("query: Invalid value: {file:?}: no such file"));
                }
            }
            ([file], _) => {
                wrong.push(format!("query: Invalid value: {file:?}: cannot specify file with options"));
            }
            (files, _) => {
                wrong.push(format!("query: Invalid value: {files:?}: cannot specify more than one file"));
            }
        }
        if let (Some(since), Some(until)) = (options.since, options.until)
            && since > until
        {
            wrong.push(format!("untilTime: Invalid value: \"{until}\": must be after `sinceTime`"));
        }
        if let Some(boot) = options.boot.filter(|boot| *boot > 0) {
            wrong.push(format!("boot: Invalid value: {boot}: must be less than 1"));
        }
        if let Some(lines) = options.tail_lines.filter(|lines| !(0..=MAX_TAIL_LINES).contains(lines)) {
            let why = format!("must be between 0 and {MAX_TAIL_LINES}, inclusive");
            wrong.push(format!("tailLines: Invalid value: {lines}: {why}"));
        }
        if options.pattern.len() > MAX_PATTERN_BYTES || options.pattern.contains('\0') {
            wrong.push("pattern: Invalid value: it is too long, or no text".to_owned());
        }
        all(wrong)
    }
}

/// Why a service's name cannot be given to a command.
fn unsafe_name(name: &str) -> Option<String> {
    let why = if name.len() > MAX_SERVICE_BYTES {
        "length must be less than 100"
    } else if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '@')) {
        "input contains unsupported characters"
    } else {
        return None;
    };
    Some(format!("query: Invalid value: {name:?}: {why}"))
}

/// Several errors as one text, as upstream joins them.
fn all(wrong: Vec<String>) -> Result<(), String> {
    match wrong.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => Err(format!("[{}]", many.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::query;

    fn parsed(text: &str) -> Result<Option<Query>, String> {
        Query::parse(&query::pairs(Some(text)))
    }

    #[test]
    fn queries_are_read_as_upstream() {
        assert_eq!(parsed("timeout=3"), Ok(None));
        let query =
            parsed("query=kubelet&query=sshd&tailLines=7&boot=-1&pattern=a+b&sinceTime=2026-01-01T00:00:00Z");
        let query = query.expect("sound").expect("a query");
        assert_eq!(
            (query.services.len(), query.options.tail_lines, query.options.boot),
            (2, Some(7), Some(-1))
        );
        assert_eq!((query.options.pattern.as_str(), query.options.since.is_some()), ("a b", true));
        assert_eq!(parsed("query=/a.log").expect("sound").expect("a query").files, ["/a.log"]);
        assert_eq!(
            parsed("query=+").expect_err("empty"),
            "query: Invalid value: [\" \"]: query cannot be empty"
        );
        assert_eq!(
            parsed("query=a&tailLines=x&sinceTime=now").expect_err("no number"),
            "[sinceTime: Invalid value: \"now\": invalid time format, tailLines: Invalid value: \"x\": \
             strconv.Atoi: parsing \"x\": invalid syntax]"
        );
    }

    #[test]
    fn what_makes_no_sense_or_harms_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("a.log"), "x").expect("written");
        let check = |text: &str| parsed(text).expect("sound").expect("a query").check(dir.path());
        assert_eq!(check("query=kubelet&tailLines=5"), Ok(()));
        assert_eq!(check("query=/a.log"), Ok(()));
        for (text, why) in [
            ("query=%2E%2E/b", "no such file"),
            ("query=/a.log&tailLines=5", "cannot specify file with options"),
            ("query=/a.log&query=/b", "cannot specify more than one file"),
            ("query=/a.log&query=b", "cannot specify a file and service"),
            ("tailLines=5", "cannot be empty with options"),
            ("query=a;b", "unsupported characters"),
            ("query=--file", ""),
            ("query=a&boot=1", "must be less than 1"),
            ("query=a&tailLines=100001", "must be between 0 and 100000, inclusive"),
            ("query=a&query=b&query=c&query=d&query=e", "must have at most 4 items"),
            (
                "query=a&sinceTime=2026-01-02T00:00:00Z&untilTime=2026-01-01T00:00:00Z",
                "must be after `sinceTime`",
            ),
        ] {
            let checked = check(text);
            // A name that looks like a flag is given as `--unit=NAME`, where it is none.
            assert_eq!(checked.is_ok(), why.is_empty(), "{text}");
            assert!(checked.err().unwrap_or_default().contains(why), "{text}");
        }
    }
}
