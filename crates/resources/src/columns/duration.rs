//! Durations as kubectl shows them (upstream: `k8s.io/apimachinery/pkg/util/duration`).

use jiff::SignedDuration;

/// Two units at most, falling in precision as it grows: `5s`, `3m49s`, `5h3m`, `2d4h`, `13d`, `2y10d`.
/// Up to two seconds in the future counts as `0s`, more as `<invalid>`.
pub fn human(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    if seconds < -1 {
        return "<invalid>".into();
    }
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let days = hours / 24;
    let pair = |major: i64, unit: char, minor: i64, minor_unit: char| match minor {
        0 => format!("{major}{unit}"),
        _ => format!("{major}{unit}{minor}{minor_unit}"),
    };
    match () {
        () if seconds < 0 => "0s".into(),
        () if seconds < 60 * 2 => format!("{seconds}s"),
        () if minutes < 10 => pair(minutes, 'm', seconds % 60, 's'),
        () if minutes < 60 * 3 => format!("{minutes}m"),
        () if hours < 8 => pair(hours, 'h', minutes % 60, 'm'),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => pair(days, 'd', hours % 24, 'h'),
        () if days < 365 * 2 => format!("{days}d"),
        () if days < 365 * 8 => pair(days / 365, 'y', days % 365, 'd'),
        () => format!("{}y", days / 365),
    }
}

/// One unit: `5s`, `3m`, `5h`, `2d`, `1y`; future times as [`human`] shows them.
pub fn short(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        i64::MIN..-1 => "<invalid>".into(),
        -1 => "0s".into(),
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        86_400..31_536_000 => format!("{}d", seconds / 86_400),
        31_536_000.. => format!("{}y", seconds / 31_536_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn human_durations_lose_precision_as_they_grow() {
        const HOUR: i64 = 3600;
        const DAY: i64 = 24 * HOUR;
        for (seconds, expected) in [
            (-10, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (229, "3m49s"),
            (600, "10m"),
            (179 * 60 + 5, "179m"),
            (3 * HOUR, "3h"),
            (5 * HOUR + 180, "5h3m"),
            (8 * HOUR + 60, "8h"),
            (47 * HOUR, "47h"),
            (2 * DAY, "2d"),
            (2 * DAY + 4 * HOUR, "2d4h"),
            (8 * DAY + HOUR, "8d"),
            (729 * DAY, "729d"),
            (740 * DAY, "2y10d"),
            (8 * 365 * DAY + DAY, "8y"),
        ] {
            assert_eq!(human(SignedDuration::from_secs(seconds)), expected, "{seconds}");
        }
    }

    #[test]
    fn short_durations_have_one_unit() {
        for (seconds, expected) in
            [(-2, "<invalid>"), (59, "59s"), (229, "3m"), (90_000, "1d"), (31_536_000, "1y")]
        {
            assert_eq!(short(SignedDuration::from_secs(seconds)), expected);
        }
    }
}
