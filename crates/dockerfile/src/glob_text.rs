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

fn pick(ends: &[usize], longest: bool) -> Option<usize> {
    if longest { ends.last().copied() } else { ends.first().copied() }
}

/// Nothing where the pattern is malformed.
pub fn without_start(text: &str, pattern: &str, longest: bool) -> Option<String> {
    let tokens = tokens(pattern)?;
    let characters: Vec<char> = text.chars().collect();
    let cut = pick(&ends(&characters, &tokens), longest).unwrap_or(0);
    Some(characters[cut..].iter().collect())
}

/// Nothing where the pattern is malformed.
pub fn without_end(text: &str, pattern: &str, longest: bool) -> Option<String> {
    let mut tokens = tokens(pattern)?;
    tokens.reverse();
    let mut characters: Vec<char> = text.chars().rev().collect();
    let cut = pick(&ends(&characters, &tokens), longest).unwrap_or(0);
    characters.drain(..cut);
    Some(characters.iter().rev().collect())
}

/// Replaces the first match or all; nothing where the pattern is malformed or the result longer than `limit_bytes`.
pub fn replaced(text: &str, pattern: &str, with: &str, all: bool, limit_bytes: usize) -> Option<String> {
    // Each place of the text is tried with the whole rest.
    const TEXT_LIMIT: usize = 4096;
    let tokens = tokens(pattern)?;
    let with = with.replace("\\/", "/").replace("\\}", "}");
    let characters: Vec<char> = text.chars().collect();
    if characters.len() > TEXT_LIMIT {
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
