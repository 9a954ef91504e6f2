//! `.dockerignore`: which files of a folder a build does not get.

use crate::glob::Glob;

/// The most patterns of one file.
const PATTERN_LIMIT: usize = 10_000;

/// The patterns of a file; the last one that matches a path or a folder above it decides.
#[derive(Debug, Clone, Default)]
pub struct Ignore {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone)]
struct Pattern {
    glob: Glob,
    /// `!`: what matches is kept after all.
    keeps: bool,
}

/// A pattern that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct IgnoreError {
    pub line: usize,
    pub column: usize,
    pub message: String,
}

impl Ignore {
    /// Reads the file's text.
    pub fn parse(text: &str) -> Result<Self, IgnoreError> {
        let mut patterns = Vec::new();
        for (index, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
            let column = line.len() - line.trim_start().len() + 1;
            let fail = |message: String| IgnoreError { line: index + 1, column, message };
            // As in Docker, a comment starts in the first column.
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            if patterns.len() == PATTERN_LIMIT {
                return Err(fail(format!("more than {PATTERN_LIMIT} patterns")));
            }
            if line.trim() == "!" {
                return Err(fail("illegal exclusion pattern: \"!\"".to_owned()));
            }
            let pattern =
                pattern(line.trim()).ok_or_else(|| fail(format!("syntax error in pattern {line:?}")))?;
            patterns.extend(pattern);
        }
        Ok(Self { patterns })
    }

    /// From patterns given one by one, as `COPY --exclude` has them.
    pub fn of(patterns: &[String]) -> Result<Self, IgnoreError> {
        Self::parse(&patterns.join("\n"))
    }

    /// Whether the file or folder at `path`, relative to the root and without `./`, is left out.
    pub fn ignores(&self, path: &str) -> bool {
        let mut ignored = false;
        for pattern in &self.patterns {
            // Only what would change the answer is looked at.
            if pattern.keeps == ignored && ends_of_names(path).any(|end| pattern.glob.matches(&path[..end])) {
                ignored = !pattern.keeps;
            }
        }
        ignored
    }

    /// Whether something below an ignored folder may be kept all the same.
    pub fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.keeps)
    }

    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }
}

/// Nothing within where the pattern means nothing (`/`), nothing where it is malformed.
fn pattern(text: &str) -> Option<Option<Pattern>> {
    let (text, keeps) = text.strip_prefix('!').map_or((text, false), |rest| (rest.trim(), true));
    let mut names: Vec<&str> = Vec::new();
    for name in text.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    if names.is_empty() {
        return Some(None);
    }
    Some(Some(Pattern { glob: Glob::new(&names.join("/"))?, keeps }))
}

/// Where each of a path's names ends: `a/b` → 1, 3.
fn ends_of_names(path: &str) -> impl Iterator<Item = usize> + '_ {
    path.match_indices('/').map(|(index, _)| index).chain([path.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pattern_that_matches_decides() {
        let ignore = Ignore::parse(
            "# comment\nnode_modules\n/build/\n*.log\n!keep.log\n**/*.tmp\n\n./x/../y\n  spaced  \ndocs\n!docs/*.md\n",
        )
        .expect("patterns");
        let check = |path: &str, want: bool| assert_eq!(ignore.ignores(path), want, "{path}");
        for path in [
            "node_modules",
            "node_modules/a/b.js",
            "build",
            "a.log",
            "a/b/c.tmp",
            "y",
            "spaced",
            "docs/a.txt",
        ] {
            check(path, true);
        }
        for path in ["keep.log", "a/b.log", "app.js", "a/node_modules", "docs/a.md", "x", "builds"] {
            check(path, false);
        }
        assert!(ignore.has_exceptions());
    }

    #[test]
    fn order_counts_and_mistakes_have_places() {
        let ignores = |text: &str, path: &str| Ignore::parse(text).expect("patterns").ignores(path);
        assert!(ignores("!a\na", "a") && !ignores("a\n!a", "a"));
        assert!(ignores("*\n!src", "other") && !ignores("*\n!src", "src/main.rs"));
        assert!(!ignores("/\n.", "a"), "the root itself cannot be left out");
        let refused = |text: &str| Ignore::parse(text).expect_err("refused").to_string();
        assert_eq!(refused("a\n [b"), "2:2: syntax error in pattern \" [b\"");
        assert_eq!(refused("!"), "1:1: illegal exclusion pattern: \"!\"");
    }
}
