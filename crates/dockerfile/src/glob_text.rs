//! The patterns of `${x#…}`, `${x%…}` and `${x/…}`: `*` and `?` over any characters.

enum Token {
    Literal(char),
    One,
    Any,
}

fn tokens(pattern: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        tokens.push(match character {
            '*' => Token::Any,
            '?' => Token::One,
            '\\' => match characters.next()? {
                escaped @ ('*' | '?' | '\\' | '}' | '/') => Token::Literal(escaped),
                _ => return None,
            },
            other => Token::Literal(other),
        });
    }
    Some(tokens)
}

/// The numbers of characters of `text` that the pattern can match from the start, ascending.
fn ends(text: &[char], tokens: &[Token]) -> Vec<usize> {
    let mut states = vec![false; tokens.len() + 1];
    states[0] = true;
    let mut found = Vec::new();
    for read in 0..=text.len() {
        for (index, token) in tokens.iter().enumerate() {
            if matches!(token, Token::Any) && states[index] {
                states[index + 1] = true;
            }
        }
        if states[tokens.len()] {
            found.push(read);
        }
        let Some(character) = text.get(read) else { break };
        let mut next = vec![false; states.len()];
        for (index, token) in tokens.iter().enumerate().filter(|(index, _)| states[*index]) {
            match token {
                Token::Literal(literal) => next[index + 1] |= literal == character,
                Token::One => next[index + 1] = true,
                Token::Any => next[index] = true,
            }
        }
        states = next;
    }
    found
}

/// Text times pattern that is tried, summed over all places where a match may begin: part of a second.
const WORK_LIMIT: usize = 1 << 27;

/// Whether matching `pattern` at `places` places of `text` stays within bounds.
fn is_bounded(text: &[char], tokens: &[Token], places: usize) -> bool {
    let work = text.len().saturating_add(1).saturating_mul(tokens.len().saturating_add(1));
    work.saturating_mul(places) <= WORK_LIMIT
}

fn pick(ends: &[usize], longest: bool) -> Option<usize> {
    if longest { ends.last().copied() } else { ends.first().copied() }
}

/// Nothing where the pattern is malformed or, with the text, too long.
pub fn without_start(text: &str, pattern: &str, longest: bool) -> Option<String> {
    let tokens = tokens(pattern)?;
    let characters: Vec<char> = text.chars().collect();
    if !is_bounded(&characters, &tokens, 1) {
        return None;
    }
    let cut = pick(&ends(&characters, &tokens), longest).unwrap_or(0);
    Some(characters[cut..].iter().collect())
}

/// Nothing where the pattern is malformed or, with the text, too long.
pub fn without_end(text: &str, pattern: &str, longest: bool) -> Option<String> {
    let mut tokens = tokens(pattern)?;
    tokens.reverse();
    let mut characters: Vec<char> = text.chars().rev().collect();
    if !is_bounded(&characters, &tokens, 1) {
        return None;
    }
    let cut = pick(&ends(&characters, &tokens), longest).unwrap_or(0);
    characters.drain(..cut);
    Some(characters.iter().rev().collect())
}

/// Replaces the first match or all; nothing where the pattern is malformed or the result longer than `limit_bytes`.
pub fn replaced(text: &str, pattern: &str, with: &str, all: bool, limit_bytes: usize) -> Option<String> {
    let tokens = tokens(pattern)?;
    let with = with.replace("\\/", "/").replace("\\}", "}");
    let characters: Vec<char> = text.chars().collect();
    // Each place of the text is tried with the whole rest.
    if !is_bounded(&characters, &tokens, characters.len()) {
        return None;
    }
    let (mut out, mut at, mut done) = (String::new(), 0, false);
    while at < characters.len() {
        let matched = if done { None } else { pick(&ends(&characters[at..], &tokens), true) };
        match matched.filter(|length| *length > 0) {
            Some(length) => {
                out.push_str(&with);
                at += length;
                done = !all;
            }
            None => {
                out.push(characters[at]);
                at += 1;
            }
        }
        if out.len() > limit_bytes {
            return None;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_with_long_patterns_are_refused() {
        let (text, pattern) = ("a".repeat(20_000), "*b".repeat(10_000));
        assert_eq!(without_start(&text, &pattern, true), None);
        assert_eq!(without_end(&text, &pattern, true), None);
        assert_eq!(replaced(&text, "b", "", true, usize::MAX), None);
        assert_eq!(replaced(&"a".repeat(4096), &"?".repeat(100), "", true, usize::MAX), None);
        assert_eq!(without_end(&text, "*b", true), Some(text.clone()));
        assert_eq!(replaced(&"ab".repeat(2048), "a*", "x", true, usize::MAX), Some("x".to_owned()));
    }
}
