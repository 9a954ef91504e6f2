//! A reader that accepts exactly what the formats' specifications allow: what tests hold an exposition against.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Format;

/// Families with their types, by name.
pub type Families = BTreeMap<String, String>;

#[derive(Default)]
struct Reader {
    families: Families,
    helped: BTreeSet<String>,
    /// The family whose lines are being read; once another has begun it must not come again.
    current: Option<String>,
    ended: BTreeSet<String>,
    series: BTreeSet<String>,
    /// Of each histogram's series: the last bucket's bound and count, and what `_count` says.
    buckets: HashMap<String, (f64, f64)>,
    counts: HashMap<String, f64>,
}

/// Reads a whole exposition.
///
/// # Errors
/// The first thing that is wrong with it, with the line.
pub fn read(text: &str, format: Format) -> Result<Families, String> {
    let mut lines: Vec<&str> = text.split('\n').collect();
    if lines.pop() != Some("") {
        return Err("the last line does not end".into());
    }
    if format == Format::OpenMetrics && lines.pop() != Some("# EOF") {
        return Err("no end is marked".into());
    }
    let mut reader = Reader::default();
    for line in lines {
        reader.line(line, format).map_err(|why| format!("{why}: {line}"))?;
    }
    for (series, (bound, count)) in &reader.buckets {
        if *bound != f64::INFINITY {
            return Err(format!("no bucket without a bound: {series}"));
        }
        if reader.counts.get(series) != Some(count) {
            return Err(format!("the last bucket is not the count: {series}"));
        }
    }
    Ok(reader.families)
}

impl Reader {
    fn line(&mut self, line: &str, format: Format) -> Result<(), &'static str> {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, _) = rest.split_once(' ').ok_or("no help")?;
            self.enter(name)?;
            return if self.helped.insert(name.to_owned()) { Ok(()) } else { Err("helped twice") };
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or("no type")?;
            self.enter(name)?;
            let known = match format {
                Format::Prometheus => ["counter", "gauge", "histogram", "summary", "untyped"].as_slice(),
                Format::OpenMetrics => {
                    ["counter", "gauge", "histogram", "summary", "unknown", "info", "stateset"].as_slice()
                }
            };
            if !known.contains(&kind) {
                return Err("no such type");
            }
            if kind == "counter" && name.ends_with("_total") != (format == Format::Prometheus) {
                return Err("a counter's family is misnamed");
            }
            let before = self.families.insert(name.to_owned(), kind.to_owned());
            return if before.is_none() { Ok(()) } else { Err("typed twice") };
        }
        if line.starts_with('#') || line.is_empty() {
            return Err("not a line of the format");
        }
        self.sample(line, format)
    }

    /// All lines of a family stand together.
    fn enter(&mut self, name: &str) -> Result<(), &'static str> {
        if !is_name(name, true) {
            return Err("not a name");
        }
        if self.current.as_deref() != Some(name) {
            let before = self.current.replace(name.to_owned());
            self.ended.extend(before);
        }
        if self.ended.contains(name) { Err("the family was over") } else { Ok(()) }
    }

    fn sample(&mut self, line: &str, format: Format) -> Result<(), &'static str> {
        let (name, labels, value) = parts(line)?;
        let value = number(value)?;
        let family = self.current.clone().ok_or("of no family")?;
        let kind = self.families.get(&family).cloned().ok_or("of no type")?;
        let suffix = name.strip_prefix(family.as_str()).ok_or("of another family")?;
        let allowed = match (kind.as_str(), format) {
            ("counter", Format::OpenMetrics) => suffix == "_total",
            ("histogram", _) => matches!(suffix, "_bucket" | "_sum" | "_count"),
            ("summary", _) => matches!(suffix, "" | "_sum" | "_count"),
            ("info", _) => suffix == "_info",
            _ => suffix.is_empty(),
        };
        if !allowed {
            return Err("a suffix that the type has not");
        }
        let names: BTreeSet<&str> = labels.iter().map(|(name, _)| name.as_str()).collect();
        if names.len() != labels.len() {
            return Err("a label twice");
        }
        if !self.series.insert(format!("{name}{labels:?}")) {
            return Err("a series twice");
        }
        if kind == "counter" && (value.is_nan() || value < 0.0) {
            return Err("a counter below zero");
        }
        if kind == "histogram" {
            self.histogram(&family, suffix, labels, value)?;
        }
        Ok(())
    }

    fn histogram(
        &mut self,
        family: &str,
        suffix: &str,
        mut labels: Vec<(String, String)>,
        value: f64,
    ) -> Result<(), &'static str> {
        let bound = labels.iter().position(|(name, _)| name == "le").map(|at| labels.remove(at).1);
        let series = format!("{family}{labels:?}");
        match (suffix, bound) {
            ("_bucket", Some(bound)) => {
                let bound = number(&bound)?;
                let before = self.buckets.insert(series, (bound, value));
                if before.is_some_and(|(last, count)| last >= bound || count > value) {
                    return Err("buckets go down");
                }
            }
            ("_bucket", None) | (_, Some(_)) => return Err("a bucket has a bound, and nothing else has"),
            ("_count", None) => {
                self.counts.insert(series, value);
            }
            _ => {}
        }
        Ok(())
    }
}

fn is_name(name: &str, colons: bool) -> bool {
    let first =
        name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || colons && b == b':');
    first && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || colons && b == b':')
}

fn number(text: &str) -> Result<f64, &'static str> {
    match text {
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        "NaN" => Ok(f64::NAN),
        text if text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b)) => {
            text.parse().map_err(|_| "not a number")
        }
        _ => Err("not a number"),
    }
}

type Labels = Vec<(String, String)>;

/// Name, labels and value of a sample without a timestamp.
fn parts(line: &str) -> Result<(&str, Labels, &str), &'static str> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    if !is_name(name, true) {
        return Err("not a name");
    }
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").ok_or("a label without a value")?;
            if !is_name(label, false) {
                return Err("not a label's name");
            }
            let (value, after) = quoted(after)?;
            labels.push((label.to_owned(), value));
            rest = match after.strip_prefix(',') {
                Some(more) => more,
                None if after.starts_with('}') => after,
                None => return Err("labels without a comma between them"),
            };
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').ok_or("no value")?;
    Ok((name, labels, value))
}

/// What stands before the closing quote, and what follows it.
fn quoted(text: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('\\' | '"'))) => value.push(escaped),
                _ => return Err("an escape that is none"),
            },
            c => value.push(c),
        }
    }
    Err("a value that does not end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_found() {
        let good = "# TYPE a_total counter\na_total{x=\"1\"} 1\na_total{x=\"2\"} 2\n";
        assert!(read(good, Format::Prometheus).is_ok());
        let histogram =
            "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n";
        assert!(read(histogram, Format::Prometheus).is_ok());
        for bad in [
            "a 1\n",
            "# TYPE a counter\na 1\n",
            "# TYPE a gauge\na 1",
            "# TYPE a gauge\na 1\na 1\n",
            "# TYPE a gauge\na{x=\"1} 1\n",
            "# TYPE a gauge\na{x=\"\\z\"} 1\n",
            "# TYPE a gauge\na{x=\"1\"y=\"2\"} 1\n",
            "# TYPE a gauge\na{1x=\"1\"} 1\n",
            "# TYPE a gauge\na one\n",
            "# TYPE a gauge\nb 1\n",
            "# TYPE a gauge\n# TYPE b gauge\nb 1\na 1\n",
            "# TYPE a gauge\na 1\n# EOF\n",
            "# TYPE a_total counter\na_total -1\n",
            "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 3\nh_count 2\n",
            "# TYPE h histogram\nh_bucket{le=\"1\"} 3\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n",
            "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 3\n",
        ] {
            assert!(read(bad, Format::Prometheus).is_err(), "{bad}");
        }
    }
}
