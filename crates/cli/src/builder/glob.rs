//! Patterns of paths (`*.yaml`), for shells that leave them as they are.

use std::path::{Path, PathBuf};

/// How many paths a pattern may mean.
const MOST: usize = 100_000;

/// The paths that a pattern means, in order.
pub fn paths(pattern: &str) -> Vec<String> {
    let (mut found, rest) = match pattern.strip_prefix('/') {
        Some(rest) => (vec![PathBuf::from("/")], rest),
        None => (vec![PathBuf::new()], pattern),
    };
    for part in rest.split('/').filter(|part| !part.is_empty()) {
        let mut next = Vec::new();
        for folder in found {
            if !part.contains(['*', '?', '[']) {
                let path = folder.join(part);
                if path.exists() {
                    next.push(path);
                }
                continue;
            }
            let here = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
            let entries = std::fs::read_dir(here).into_iter().flatten().flatten();
            let mut names: Vec<String> =
                entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
            names.sort();
            let fits =
                |name: &String| matches(&name.chars().collect::<Vec<_>>(), &part.chars().collect::<Vec<_>>());
            next.extend(names.into_iter().filter(fits).map(|name| folder.join(name)));
        }
        next.truncate(MOST);
        found = next;
    }
    found.into_iter().map(|path| path.display().to_string()).collect()
}

/// Whether a name is as a pattern says: `*` any text, `?` any character, `[a-z]` one of these, `[^a]` none.
fn matches(name: &[char], pattern: &[char]) -> bool {
    // Where the last star was, to begin again one character further.
    let (mut n, mut p, mut star) = (0, 0, None);
    loop {
        if pattern.get(p) == Some(&'*') {
            star = Some((n, p));
            p += 1;
            continue;
        }
        if n == name.len() && p == pattern.len() {
            return true;
        }
        match name.get(n).and_then(|c| one(*c, &pattern[p.min(pattern.len())..])) {
            Some(length) => (n, p) = (n + 1, p + length),
            None => match star {
                Some((from, at)) if from < name.len() => {
                    star = Some((from + 1, at));
                    (n, p) = (from + 1, at + 1);
                }
                _ => return false,
            },
        }
    }
}

/// How long the part of a pattern is that one character fits.
fn one(c: char, pattern: &[char]) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '\\' => (pattern.get(1) == Some(&c)).then_some(2),
        '[' => {
            let end = pattern.iter().skip(2).position(|c| *c == ']')? + 2;
            let mut inner = &pattern[1..end];
            let negated = inner.first() == Some(&'^');
            if negated {
                inner = &inner[1..];
            }
            let mut found = false;
            while let Some(low) = inner.first() {
                if let [_, '-', high, ..] = inner {
                    found |= (*low..=*high).contains(&c);
                    inner = &inner[3..];
                } else {
                    found |= *low == c;
                    inner = &inner[1..];
                }
            }
            (found != negated).then_some(end + 1)
        }
        plain => (*plain == c).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fits(name: &str, pattern: &str) -> bool {
        matches(&name.chars().collect::<Vec<_>>(), &pattern.chars().collect::<Vec<_>>())
    }

    #[test]
    fn patterns_mean_names() {
        for (name, pattern) in [
            ("a.yaml", "*.yaml"),
            ("ab", "a?"),
            ("b1", "[a-c][0-9]"),
            ("x", "[^a]"),
            ("aab", "*ab"),
            ("", "*"),
        ] {
            assert!(fits(name, pattern), "{name} {pattern}");
        }
        for (name, pattern) in
            [("a.yml", "*.yaml"), ("a", "a?"), ("d1", "[a-c]1"), ("a", "[^a]"), ("a", "[a"), ("ab", "a")]
        {
            assert!(!fits(name, pattern), "{name} {pattern}");
        }
    }

    #[test]
    fn files_are_found() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["b.yaml", "a.yaml", "c.txt"] {
            std::fs::write(folder.path().join(name), "").expect("written");
        }
        let at = folder.path().display();
        assert_eq!(paths(&format!("{at}/*.yaml")), [format!("{at}/a.yaml"), format!("{at}/b.yaml")]);
        assert!(paths(&format!("{at}/*.json")).is_empty());
    }

    proptest! {
        #[test]
        fn any_pattern_ends(name in "[ab]{0,8}", pattern in "[ab*?\\[\\]^-]{0,8}") {
            let _ = fits(&name, &pattern);
        }
    }
}
