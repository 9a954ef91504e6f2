//! Patterns of paths: `*`, `?`, `[a-z]`, `\x` within a name and `**` over any number of names.
//!
//! Matching takes time proportional to pattern times path, whatever the pattern.

/// A pattern, ready to match.
#[derive(Debug, Clone)]
pub struct Glob {
    tokens: Vec<Token>,
}

#[derive(Debug, Clone)]
enum Token {
    Literal(char),
    /// `?`
    One,
    /// `*`
    Name,
    /// `**`
    Any,
    /// `**/`, which stands for nothing, too: what follows in the list is `Within`.
    Folders,
    /// Any text that ends in `/`.
    Within,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Glob {
    /// Nothing where the pattern is malformed.
    pub fn new(pattern: &str) -> Option<Self> {
        let mut tokens = Vec::new();
        let mut characters = pattern.chars().peekable();
        while let Some(character) = characters.next() {
            let token = match character {
                '\\' => Token::Literal(characters.next()?),
                '?' => Token::One,
                '*' if characters.next_if_eq(&'*').is_some() => {
                    while characters.next_if_eq(&'*').is_some() {}
                    match characters.next_if_eq(&'/') {
                        Some(_) => Token::Folders,
                        None => Token::Any,
                    }
                }
                '*' => Token::Name,
                '[' => class(&mut characters)?,
                other => Token::Literal(other),
            };
            let folders = matches!(token, Token::Folders);
            tokens.push(token);
            if folders {
                tokens.push(Token::Within);
            }
        }
        Some(Self { tokens })
    }

    /// Whether the pattern is more than a plain path.
    pub fn is_wild(&self) -> bool {
        self.tokens.iter().any(|token| !matches!(token, Token::Literal(_)))
    }

    pub fn matches(&self, path: &str) -> bool {
        // states[n]: the first n tokens match what was read so far.
        let mut states = vec![false; self.tokens.len() + 1];
        states[0] = true;
        self.skip_empty(&mut states);
        for character in path.chars() {
            let mut next = vec![false; states.len()];
            for (index, token) in self.tokens.iter().enumerate().filter(|(index, _)| states[*index]) {
                match token {
                    Token::Literal(literal) => next[index + 1] |= *literal == character,
                    Token::One => next[index + 1] |= character != '/',
                    Token::Class { negated, ranges } => {
                        let within = ranges.iter().any(|(low, high)| (*low..=*high).contains(&character));
                        next[index + 1] |= character != '/' && within != *negated;
                    }
                    Token::Name => next[index] |= character != '/',
                    Token::Any => next[index] = true,
                    Token::Folders => {}
                    Token::Within => {
                        next[index] = true;
                        next[index + 1] |= character == '/';
                    }
                }
            }
            self.skip_empty(&mut next);
            states = next;
        }
        states[self.tokens.len()]
    }

    /// `*`, `**` and `**/` match nothing, too.
    fn skip_empty(&self, states: &mut [bool]) {
        for (index, token) in self.tokens.iter().enumerate() {
            match token {
                Token::Name | Token::Any if states[index] => states[index + 1] = true,
                Token::Folders if states[index] => {
                    states[index + 1] = true;
                    states[index + 2] = true;
                }
                _ => {}
            }
        }
    }
}

fn class(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Token> {
    let negated = characters.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let low = match characters.next()? {
            ']' if !ranges.is_empty() => return Some(Token::Class { negated, ranges }),
            ']' | '-' => return None,
            '\\' => characters.next()?,
            other => other,
        };
        let high = match characters.next_if_eq(&'-') {
            None => low,
            Some(_) => match characters.next()? {
                '\\' => characters.next()?,
                ']' => return None,
                other => other,
            },
        };
        ranges.push((low, high));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_folders_match() {
        let check = |pattern: &str, yes: &[&str], no: &[&str]| {
            let glob = Glob::new(pattern).expect("a pattern");
            yes.iter().for_each(|path| assert!(glob.matches(path), "{pattern} {path}"));
            no.iter().for_each(|path| assert!(!glob.matches(path), "{pattern} {path}"));
        };
        check("*.go", &["a.go", ".go"], &["a/b.go", "a.g"]);
        check("**/*.go", &["a.go", "a/b.go", "a/b/c.go"], &["a.gox", "ago"]);
        check("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["ab", "a/xb", "b"]);
        check("a/**", &["a/b", "a/b/c"], &["a", "b/a"]);
        check("**", &["", "a", "a/b"], &[]);
        check("?[a-c]\\*", &["xa*", "yc*"], &["xd*", "xab", "/a*"]);
        check("[^a]b", &["bb"], &["ab", "/b"]);
        check("a**b", &["ab", "a/x/b"], &["a"]);
        for bad in ["[", "[]", "[a", "[a-]", "\\", "[-a]"] {
            assert!(Glob::new(bad).is_none(), "{bad}");
        }
        assert!(!Glob::new("a\\*b").expect("a pattern").is_wild() && Glob::new("a?").expect("one").is_wild());
    }

    #[test]
    fn a_hostile_pattern_takes_no_longer() {
        let glob = Glob::new(&"*a".repeat(500)).expect("a pattern");
        assert!(!glob.matches(&"a".repeat(499)));
    }

    proptest! {
        #[test]
        fn nothing_panics_and_a_path_matches_itself(pattern in "\\PC{0,20}", path in "[a-z/.]{0,20}") {
            let _ = Glob::new(&pattern).map(|glob| glob.matches(&path));
            prop_assert!(Glob::new(&path).is_some_and(|glob| glob.matches(&path)));
        }
    }
}
