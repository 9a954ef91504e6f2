//! Lines of a width.

/// Breaks lines at blanks so that they have `limit` characters at most, where words allow; lines that are there stay.
pub fn wrapped(text: &str, limit: usize) -> String {
    let mut out = String::new();
    let (mut word, mut space) = (String::new(), String::new());
    let mut width = 0;
    let count = |text: &String| text.chars().count();
    for c in text.chars() {
        if c == '\n' {
            if word.is_empty() {
                if width + count(&space) <= limit {
                    out.push_str(&space);
                }
            } else {
                out.push_str(&space);
                out.push_str(&word);
            }
            word.clear();
            space.clear();
            out.push('\n');
            width = 0;
        } else if c.is_whitespace() && c != '\u{a0}' {
            if space.is_empty() || !word.is_empty() {
                width += count(&space) + count(&word);
                out.push_str(&std::mem::take(&mut space));
                out.push_str(&std::mem::take(&mut word));
            }
            space.push(c);
        } else {
            word.push(c);
            if width + count(&space) + count(&word) > limit && count(&word) < limit {
                out.push('\n');
                width = 0;
                space.clear();
            }
        }
    }
    if !word.is_empty() {
        out.push_str(&space);
        out.push_str(&word);
    } else if width + count(&space) <= limit {
        out.push_str(&space);
    }
    out
}

/// Puts blanks before each line, empty ones too.
pub fn indented(text: &str, blanks: usize) -> String {
    let pad = " ".repeat(blanks);
    format!("{pad}{}", text.replace('\n', &format!("\n{pad}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_break_at_blanks() {
        assert_eq!(wrapped("one two three", 7), "one two\nthree");
        assert_eq!(wrapped("one\ntwo three", 20), "one\ntwo three");
        assert_eq!(wrapped("a verylongword b", 5), "a\nverylongword\nb");
        assert_eq!(indented("a\n\nb", 2), "  a\n  \n  b");
    }

    proptest! {
        #[test]
        fn no_word_is_lost(text in "[a-z \\n]{0,80}", limit in 1_usize..20) {
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            prop_assert_eq!(words(&wrapped(&text, limit)), words(&text));
        }
    }
}
