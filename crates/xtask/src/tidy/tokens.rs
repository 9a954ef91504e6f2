//! The words of Rust code that runs: identifiers and string literals, without comments, attributes and tests.

use std::iter::Peekable;
use std::str::FromStr;

use anyhow::{Result, anyhow};
use proc_macro2::token_stream::IntoIter;
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// An identifier, or a whole string literal without its quotes.
#[derive(Debug, PartialEq, Eq)]
pub struct Word {
    pub text: String,
    /// From 1.
    pub line: usize,
}

/// The words of a file, in order.
///
/// # Errors
/// When the text is no Rust.
pub fn words(text: &str) -> Result<Vec<Word>> {
    let stream = TokenStream::from_str(text).map_err(|error| anyhow!("{error}"))?;
    let mut words = Vec::new();
    collect(stream, &mut words);
    Ok(words)
}

fn collect(stream: TokenStream, words: &mut Vec<Word>) {
    let mut tokens = stream.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let line = token.span().start().line;
        match token {
            TokenTree::Punct(mark) if mark.as_char() == '#' => {
                if attribute(&mut tokens).is_some_and(|text| text == "cfg (test)") {
                    skip_item(&mut tokens);
                }
            }
            TokenTree::Group(group) => collect(group.stream(), words),
            TokenTree::Ident(name) => words.push(Word { text: name.to_string(), line }),
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                if let Some(text) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
                    words.push(Word { text: text.to_owned(), line });
                }
            }
            TokenTree::Punct(_) => {}
        }
    }
}

/// The tokens of a stream as they stand side by side, without attributes and without what is for tests. Groups are
/// left as they are.
pub fn without_tests(stream: TokenStream) -> Vec<TokenTree> {
    let mut tokens = stream.into_iter().peekable();
    let mut kept = Vec::new();
    while let Some(token) = tokens.next() {
        match &token {
            TokenTree::Punct(mark) if mark.as_char() == '#' => {
                if attribute(&mut tokens).is_some_and(|text| text == "cfg (test)") {
                    skip_item(&mut tokens);
                }
            }
            _ => kept.push(token),
        }
    }
    kept
}

/// Takes what follows a `#`: the attribute's text; `None` where it was none.
fn attribute(tokens: &mut Peekable<IntoIter>) -> Option<String> {
    tokens.next_if(|next| matches!(next, TokenTree::Punct(mark) if mark.as_char() == '!'));
    let is_attribute =
        |next: &TokenTree| matches!(next, TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket);
    match tokens.next_if(is_attribute)? {
        TokenTree::Group(group) => Some(group.stream().to_string()),
        _ => None,
    }
}

/// Takes the item that follows, up to its braces or its semicolon.
fn skip_item(tokens: &mut Peekable<IntoIter>) {
    let ends = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(mark) => mark.as_char() == ';',
        _ => false,
    };
    while tokens.next().is_some_and(|token| !ends(&token)) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_only_what_runs() {
        let text = "//! Pod\n#[doc = \"Pod\"]\nfn f() {\n  g(\"pods\", 1, 'p');\n}\n#[cfg(test)]\nmod tests;\n\
                    #[cfg(test)]\nmod more { fn pod() {} }\nuse h;";
        let found: Vec<_> = words(text).unwrap().into_iter().map(|word| (word.text, word.line)).collect();
        let expected = [("fn", 3), ("f", 3), ("g", 4), ("pods", 4), ("use", 10), ("h", 10)];
        assert_eq!(found, expected.map(|(text, line)| (text.to_owned(), line)));
    }
}
