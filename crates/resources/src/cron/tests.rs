use super::*;

fn check(text: &str) -> Result<(), String> {
    Schedule::parse(text).map(drop)
}

#[test]
fn schedules() {
    for ok in [
        "* * * * *",
        "*/5 0-6 1,15 jan-mar MON",
        "0 0 ? * 0",
        "@daily",
        "3/20 * * * *",
        "1,,2 * * * *",
        "@every 90s",
    ] {
        assert_eq!(check(ok), Ok(()), "{ok}");
    }
    for (bad, why) in [
        ("", "empty spec string"),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("5-3 * * * *", "beginning of range (5) beyond end of range (3): 5-3"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("a * * * *", "failed to parse int from a: strconv.Atoi: parsing \"a\": invalid syntax"),
        ("@never", "unrecognized descriptor: @never"),
        ("@every 5", "failed to parse duration @every 5: time: missing unit in duration \"5\""),
        ("TZ=Nowhere/Land * * * * *", "provided bad location Nowhere/Land: unknown time zone Nowhere/Land"),
    ] {
        assert_eq!(check(bad), Err(why.to_owned()), "{bad}");
    }
}

/// The times after one, in a zone, until `count` are found.
fn times(schedule: &str, after: &str, zone: &str, count: usize) -> Vec<String> {
    let schedule = Schedule::parse(schedule).expect("a schedule");
    let zone = super::zone(zone).expect("a zone");
    let mut at: Timestamp = after.parse().expect("a time");
    let mut found = Vec::new();
    while found.len() < count {
        let Some(next) = schedule.next(at, &zone) else { break };
        at = next;
        found.push(at.to_zoned(zone.clone()).strftime("%m-%d %H:%M:%S").to_string());
    }
    found
}

#[test]
fn times_follow_the_fields() {
    let start = "2026-03-10T12:34:56.789Z";
    assert_eq!(times("*/20 * * * *", start, "", 2), ["03-10 12:40:00", "03-10 13:00:00"]);
    assert_eq!(times("0,15,30,45 * * * *", "2026-03-10T12:45:00Z", "", 1), ["03-10 13:00:00"]);
    assert_eq!(
        times("30 6-16/4 * * 1-5", "2026-03-13T15:00:00Z", "", 2),
        ["03-16 06:30:00", "03-16 10:30:00"]
    );
    assert_eq!(times("0 0 29 2 *", start, "", 1), ["02-29 00:00:00"]);
    assert_eq!(times("59 23 31 2 *", start, "", 1), Vec::<String>::new(), "there is no such day");
    assert_eq!(times("@every 90s", start, "", 2), ["03-10 12:36:26", "03-10 12:37:56"]);
    assert_eq!(times("@weekly", start, "", 1), ["03-15 00:00:00"]);
}

#[test]
fn two_fields_of_days_widen_one_another_unless_one_is_open() {
    let start = "2026-03-10T00:00:00Z";
    // 2026-03-13 is a Friday.
    assert_eq!(times("0 0 15 * 5", start, "", 2), ["03-13 00:00:00", "03-15 00:00:00"]);
    assert_eq!(times("0 0 15 * *", start, "", 1), ["03-15 00:00:00"]);
    assert_eq!(times("0 0 */2 * 5", start, "", 2), ["03-11 00:00:00", "03-13 00:00:00"]);
}

#[test]
fn clocks_are_set_forward_and_back() {
    // New York: 02:00 becomes 03:00 on 2026-03-08, and on 2026-11-01 01:00 to 02:00 comes twice.
    let ny = "America/New_York";
    assert_eq!(times("30 2 * * *", "2026-03-07T12:00:00Z", ny, 2), ["03-09 02:30:00", "03-10 02:30:00"]);
    assert_eq!(
        times("30 1 * * *", "2026-10-31T12:00:00Z", ny, 3),
        ["11-01 01:30:00", "11-01 01:30:00", "11-02 01:30:00"]
    );
    assert_eq!(times("0 * * * *", "2026-03-08T06:30:00Z", ny, 2), ["03-08 03:00:00", "03-08 04:00:00"]);
    assert_eq!(times("TZ=Asia/Tokyo 0 9 * * *", "2026-03-10T01:00:00Z", "", 1), ["03-11 00:00:00"]);
}
