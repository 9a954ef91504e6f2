//! Sets of completion indexes as text: `1,3-5,7`.

/// How many indexes a text names.
///
/// # Errors
/// In upstream's words, for what is no ascending list of indexes below `completions`.
pub(super) fn count(text: &str, completions: i64) -> Result<i64, String> {
    let mut last: Option<i64> = None;
    let mut total = 0;
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (first, end) = interval(part, completions)?;
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(disorder(last, first));
        }
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}

/// The first index that both texts name. What cannot be read is left out.
pub(super) fn overlap(one: &str, other: &str, completions: i64) -> Option<i64> {
    let read = |text: &str| -> Vec<(i64, i64)> {
        text.split(',').filter_map(|part| interval(part, completions).ok()).collect()
    };
    let (one, other) = (read(one), read(other));
    let common = one.iter().flat_map(|(first, last)| {
        other
            .iter()
            .filter(move |(start, end)| first <= end && start <= last)
            .map(|(start, _)| *first.max(start))
    });
    common.min()
}

fn interval(part: &str, completions: i64) -> Result<(i64, i64), String> {
    let index = |text: &str| -> Result<i64, String> {
        let index: i64 =
            text.parse().map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
        if index >= completions { Err(format!("too large index: {text:?}")) } else { Ok(index) }
    };
    let Some((first, last)) = part.split_once('-') else {
        let only = index(part)?;
        return Ok((only, only));
    };
    if last.contains('-') {
        return Err(format!(
            "the fragment {part:?} violates the requirement that an index interval can have at most two parts separated by '-'"
        ));
    }
    let (first, last) = (index(first)?, index(last)?);
    if first >= last { Err(disorder(first, last)) } else { Ok((first, last)) }
}

fn disorder(previous: i64, current: i64) -> String {
    format!("non-increasing order, previous: {previous}, current: {current}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_ascending_indexes() {
        assert_eq!(count("", 3), Ok(0));
        assert_eq!(count("0,2-4,7", 8), Ok(5));
        for (text, why) in [
            ("8", "too large index: \"8\""),
            ("x", "cannot convert string to integer for index: \"x\""),
            ("3,2", "non-increasing order, previous: 3, current: 2"),
            ("3-3", "non-increasing order, previous: 3, current: 3"),
            (
                "1-2-3",
                "the fragment \"1-2-3\" violates the requirement that an index interval can have at most two parts separated by '-'",
            ),
        ] {
            assert_eq!(count(text, 8), Err(why.to_owned()));
        }
        assert_eq!((overlap("0-2,5", "1,5", 8), overlap("0-2", "3,x", 8)), (Some(1), None));
    }
}
