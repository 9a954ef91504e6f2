//! The grammar of schedules: five fields, or a word such as `@daily`.

/// Names of a field's values, counted from its lowest.
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// Lowest and highest value of minute, hour, day, month, day of the week, with the names.
const FIELDS: [(u32, u32, &[&str]); 5] =
    [(0, 59, &[]), (0, 23, &[]), (1, 31, &[]), (1, 12, &MONTHS), (0, 6, &DAYS)];

/// The schedule without a time zone in front (`TZ=UTC …`), which upstream's parser takes.
pub(super) fn without_zone(schedule: &str) -> &str {
    let zoned = ["TZ=", "CRON_TZ="].iter().any(|prefix| schedule.starts_with(prefix));
    match schedule.split_once(' ') {
        Some((_, rest)) if zoned => rest.trim(),
        _ => schedule,
    }
}

/// # Errors
/// What is wrong, in the words of upstream's parser.
pub(super) fn check(schedule: &str) -> Result<(), String> {
    if let Some(word) = schedule.strip_prefix('@') {
        return match word {
            "yearly" | "annually" | "monthly" | "weekly" | "daily" | "midnight" | "hourly" => Ok(()),
            _ if word.starts_with("every ") => Ok(()),
            _ => Err(format!("unrecognized descriptor: {schedule}")),
        };
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    fields
        .iter()
        .zip(FIELDS)
        .try_for_each(|(field, bounds)| field.split(',').try_for_each(|r| range(r, bounds)))
}

fn range(text: &str, (low, high, words): (u32, u32, &[&str])) -> Result<(), String> {
    let (span, step) = text.split_once('/').map_or((text, None), |(span, step)| (span, Some(step)));
    if step.is_some_and(|s| s.contains('/')) {
        return Err(format!("too many slashes: {text}"));
    }
    let number = |text: &str| -> Result<u32, String> {
        let named = words.iter().zip(low..).find(|(w, _)| w.eq_ignore_ascii_case(text)).map(|(_, n)| n);
        named.map_or_else(
            || {
                text.parse().map_err(|_| {
                    format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")
                })
            },
            Ok,
        )
    };
    let (start, end) = match span.split_once('-') {
        _ if span == "*" || span == "?" => (low, high),
        Some((_, end)) if end.contains('-') => return Err(format!("too many hyphens: {text}")),
        Some((start, end)) => (number(start)?, number(end)?),
        None => {
            let start = number(span)?;
            (start, if step.is_some() { high } else { start })
        }
    };
    if let Some(step) = step
        && number(step)? == 0
    {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    if start < low {
        return Err(format!("beginning of range ({start}) below minimum ({low}): {text}"));
    }
    if end > high {
        return Err(format!("end of range ({end}) above maximum ({high}): {text}"));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn schedules() {
        for ok in ["* * * * *", "*/5 0-6 1,15 jan-mar MON", "0 0 ? * 0", "@daily", "3/20 * * * *"] {
            assert_eq!(check(ok), Ok(()), "{ok}");
        }
        assert_eq!(check("* * * *"), Err("expected exactly 5 fields, found 4: [* * * *]".into()));
        assert_eq!(check("60 * * * *"), Err("end of range (60) above maximum (59): 60".into()));
        assert_eq!(check("* * 0 * *"), Err("beginning of range (0) below minimum (1): 0".into()));
        assert_eq!(check("*/0 * * * *"), Err("step of range should be a positive number: */0".into()));
        assert!(check("a * * * *").is_err() && check("@never").is_err());
    }
}
