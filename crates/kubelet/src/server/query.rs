//! Paths and queries of requests. Pure.

use percent_encoding::percent_decode_str;

/// The path's segments, decoded; `None` when one is not UTF-8 or tries to leave its place.
pub fn segments(path: &str) -> Option<Vec<String>> {
    let decode = |part: &str| percent_decode_str(part).decode_utf8().ok().map(|t| t.into_owned());
    let parts: Option<Vec<String>> = path.trim_matches('/').split('/').map(decode).collect();
    parts.filter(|p| p.iter().all(|s| !s.contains(['/', '\0']) && s != ".."))
}

/// The query's pairs in order, decoded; what is not UTF-8 is replaced.
pub fn pairs(query: Option<&str>) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let one = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    };
    query.unwrap_or_default().split('&').filter(|p| !p.is_empty()).map(one).collect()
}

/// Whether one of the parameters `names` is set to true.
pub fn flag(pairs: &[(String, String)], names: &[&str]) -> bool {
    pairs
        .iter()
        .any(|(n, v)| names.contains(&n.as_str()) && matches!(v.as_str(), "1" | "true" | "True" | "t"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_are_decoded() {
        assert_eq!(
            segments("/exec/ns/p%2Dx/c"),
            Some(vec!["exec".into(), "ns".into(), "p-x".into(), "c".into()])
        );
        for bad in ["/a/%2e%2e/b", "/a/%ff", "/a/b%2fc"] {
            assert_eq!(segments(bad), None, "{bad}");
        }
        let got = pairs(Some("command=sh&command=-c&command=echo+a%26b&tty=1&x"));
        assert_eq!(got[2], ("command".into(), "echo a&b".into()));
        assert!(flag(&got, &["tty"]) && !flag(&got, &["x"]));
    }
}
