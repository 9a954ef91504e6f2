//! The options of a request for a log.

use jiff::{SignedDuration, Timestamp};

/// Which of the container's streams are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Streams {
    #[default]
    All,
    Stdout,
    Stderr,
}

/// The query of `/containerLogs`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    pub follow: bool,
    pub previous: bool,
    pub timestamps: bool,
    /// Lines counted from the end.
    pub tail_lines: Option<u64>,
    pub limit_bytes: Option<u64>,
    pub since: Option<Timestamp>,
    pub streams: Streams,
}

impl LogOptions {
    /// Reads the parameters of a query.
    ///
    /// # Errors
    /// The text of a 422 answer, in upstream's words where it has them.
    pub fn parse<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
        now: Timestamp,
    ) -> Result<Self, String> {
        let mut out = Self::default();
        let mut since_seconds = None;
        for (name, value) in pairs {
            match name {
                "follow" => out.follow = flag(value),
                "previous" => out.previous = flag(value),
                "timestamps" => out.timestamps = flag(value),
                "tailLines" => out.tail_lines = Some(number(name, value, 0)?),
                "limitBytes" => out.limit_bytes = Some(number(name, value, 1)?),
                "sinceSeconds" => since_seconds = Some(number(name, value, 1)?),
                "sinceTime" => {
                    let time = value.parse().map_err(|_| format!("sinceTime: Invalid value: \"{value}\""))?;
                    out.since = Some(time);
                }
                "stream" => {
                    out.streams = match value {
                        "" | "All" => Streams::All,
                        "Stdout" => Streams::Stdout,
                        "Stderr" => Streams::Stderr,
                        other => return Err(format!("stream: Unsupported value: \"{other}\"")),
                    };
                }
                _ => {}
            }
        }
        if let Some(seconds) = since_seconds {
            if out.since.is_some() {
                return Err("at most one of `sinceTime` or `sinceSeconds` may be specified".to_owned());
            }
            let back = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            out.since = Some(now.checked_sub(back).unwrap_or(Timestamp::MIN));
        }
        if out.streams != Streams::All && out.tail_lines.is_some() {
            return Err("`tailLines` and specific `stream` are mutually exclusive for now".to_owned());
        }
        Ok(out)
    }
}

fn flag(value: &str) -> bool {
    matches!(value, "" | "1" | "t" | "T" | "true" | "TRUE" | "True")
}

fn number(name: &str, value: &str, least: u64) -> Result<u64, String> {
    let parsed: Option<u64> = value.parse().ok();
    parsed.filter(|n| *n >= least).ok_or_else(|| {
        format!("{name}: Invalid value: \"{value}\": must be greater than or equal to {least}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_checked() {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(100);
        let parse = |pairs: &[(&'static str, &'static str)]| LogOptions::parse(pairs.iter().copied(), now);
        let got = parse(&[("follow", "true"), ("tailLines", "5"), ("sinceSeconds", "40")]).expect("fine");
        assert!(got.follow && !got.previous);
        assert_eq!(got.tail_lines, Some(5));
        assert_eq!(got.since, Some(Timestamp::UNIX_EPOCH + SignedDuration::from_secs(60)));
        for bad in [("tailLines", "-1"), ("limitBytes", "0"), ("sinceTime", "yesterday"), ("stream", "x")] {
            assert!(parse(&[bad]).is_err(), "{bad:?}");
        }
        assert!(parse(&[("sinceSeconds", "99999999999999999")]).is_ok());
    }
}
