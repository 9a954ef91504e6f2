//! Cutting an instruction's arguments into words. Quotes and escapes stay: they are read when variables are replaced.

/// A word and where it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word<'a> {
    pub offset: usize,
    pub text: &'a str,
}

/// The words of `text[from..]`; white space within quotes or after the escape character does not separate.
pub fn words(text: &str, from: usize, escape: char) -> Vec<Word<'_>> {
    let mut found = Vec::new();
    let mut start = None;
    let (mut quote, mut escaped) = (None, false);
    for (offset, character) in text.char_indices().filter(|(offset, _)| *offset >= from) {
        let outside = quote.is_none() && !escaped;
        if outside && character.is_whitespace() {
            found.extend(start.take().map(|start| Word { offset: start, text: &text[start..offset] }));
            continue;
        }
        start.get_or_insert(offset);
        if escaped {
            escaped = false;
            continue;
        }
        match (quote, character) {
            (open, c) if c == escape && open != Some('\'') => escaped = true,
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
    }
    found.extend(start.map(|start| Word { offset: start, text: &text[start..] }));
    found
}

/// The words of `text[from..]`, at white space alone.
pub fn plain_words(text: &str, from: usize) -> Vec<Word<'_>> {
    let rest = &text[from..];
    let offset = |word: &str| from + (word.as_ptr() as usize - rest.as_ptr() as usize);
    rest.split_whitespace().map(|word| Word { offset: offset(word), text: word }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_escapes_keep_words_together() {
        let split = |text| words(text, 0, '\\').into_iter().map(|word| word.text).collect::<Vec<_>>();
        assert_eq!(split(r#"a="b c" d=\ e 'f\' g"#), [r#"a="b c""#, r"d=\ e", r"'f\'", "g"]);
        assert_eq!(split("  "), Vec::<&str>::new());
        assert_eq!(words("xx yy", 2, '\\'), [Word { offset: 3, text: "yy" }]);
        assert_eq!(plain_words("RUN 'a b'", 4)[1], Word { offset: 7, text: "b'" });
    }
}
