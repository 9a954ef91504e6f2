//! The grammar of a Corefile, the settings of CoreDNS: server blocks of directives, which may have blocks of their own.
//!
//! Pure; what the words mean is for [`super::rules`]. Source: CoreDNS' manual (corefile.5).

/// The largest text that is read, in bytes.
const LIMIT_BYTES: usize = 256 * 1024;

/// A word and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub text: String,
    pub line: usize,
}

/// A line of a block: its words, and the lines of the block that it opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    pub name: Word,
    pub arguments: Vec<Word>,
    pub block: Vec<Directive>,
}

/// A server block: the keys that stand before its brace, and its directives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub keys: Vec<Word>,
    pub directives: Vec<Directive>,
}

/// What is wrong with a Corefile, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Wrong {
    pub line: usize,
    pub what: String,
}

impl Wrong {
    pub fn at(word: &Word, what: impl Into<String>) -> Self {
        Self { line: word.line, what: what.into() }
    }
}

/// Reads a Corefile.
///
/// # Errors
/// Says what is wrong in which line.
pub fn parse(text: &str) -> Result<Vec<Server>, Wrong> {
    if text.len() > LIMIT_BYTES {
        return Err(Wrong { line: 1, what: format!("more than {LIMIT_BYTES} bytes") });
    }
    let words = words(text)?;
    let mut lines = words.chunk_by(|a, b| a.line == b.line).peekable();
    let mut servers = Vec::new();
    while let Some(line) = lines.next() {
        let mut keys = line.to_vec();
        // Keys may stand one a line, each but the last with a comma.
        while keys.last().is_some_and(|key| key.text.ends_with(','))
            && let Some(more) = lines.next()
        {
            keys.extend_from_slice(more);
        }
        let Some(brace) = keys.pop_if(|word| word.text == "{") else {
            return Err(Wrong::at(&line[0], "a server block has its brace { at the end of the line"));
        };
        for key in &mut keys {
            key.text.truncate(key.text.trim_end_matches(',').len());
        }
        keys.retain(|key| !key.text.is_empty());
        if keys.is_empty() {
            return Err(Wrong::at(&brace, "a server block has no zone"));
        }
        servers.push(Server { keys, directives: block(&mut lines, &brace, true)? });
    }
    Ok(servers)
}

/// The lines up to the brace that closes the block; `opens` says whether they may open blocks.
fn block<'a>(
    lines: &mut impl Iterator<Item = &'a [Word]>,
    brace: &Word,
    opens: bool,
) -> Result<Vec<Directive>, Wrong> {
    let mut directives = Vec::new();
    loop {
        let Some(line) = lines.next() else { return Err(Wrong::at(brace, "the block is not closed")) };
        let (name, rest) = (&line[0], &line[1..]);
        match (name.text.as_str(), rest) {
            ("}", []) => return Ok(directives),
            ("}" | "{", _) => return Err(Wrong::at(name, "a brace that does not fit")),
            _ => {}
        }
        let mut directive = Directive { name: name.clone(), arguments: rest.to_vec(), block: Vec::new() };
        if let Some(brace) = directive.arguments.pop_if(|word| word.text == "{") {
            if !opens {
                return Err(Wrong::at(&brace, "a block within a directive's block"));
            }
            directive.block = block(lines, &brace, false)?;
        }
        if let Some(odd) = directive.arguments.iter().find(|word| matches!(word.text.as_str(), "{" | "}")) {
            return Err(Wrong::at(odd, "a brace stands at the end of a line, or on a line of its own"));
        }
        directives.push(directive);
    }
}

/// The words: what blanks separate, or quotes hold together. A `#` begins a comment.
fn words(text: &str) -> Result<Vec<Word>, Wrong> {
    let mut words = Vec::new();
    for (line, content) in text.lines().enumerate() {
        let line = line + 1;
        let mut rest = content.trim_start();
        while !rest.is_empty() && !rest.starts_with('#') {
            let (word, after) = match rest.strip_prefix('"') {
                Some(quoted) => quoted
                    .split_once('"')
                    .ok_or_else(|| Wrong { line, what: "a quotation mark is not closed".to_owned() })?,
                None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
            };
            words.push(Word { text: word.to_owned(), line });
            rest = after.trim_start();
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The servers in one line each: `keys: directive(arguments)[block]`.
    fn shown(text: &str) -> Result<Vec<String>, String> {
        fn texts(words: &[Word]) -> String {
            words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
        }
        fn directive(one: &Directive) -> String {
            let block: Vec<String> = one.block.iter().map(directive).collect();
            format!("{}({})[{}]", one.name.text, texts(&one.arguments), block.join(","))
        }
        let server = |one: &Server| {
            let directives: Vec<String> = one.directives.iter().map(directive).collect();
            format!("{}: {}", texts(&one.keys), directives.join(" "))
        };
        parse(text).map(|all| all.iter().map(server).collect()).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn server_blocks_have_directives_with_blocks() {
        let text = "# the cluster\n.:53 {\n  errors # all\n  hosts {\n    192.0.2.1 a.example b.example\n    fallthrough\n  }\n\
                    forward . \"192.0.2.53\" {\n}\n}\nacme.local, other.local {\n}\none,\ntwo {\n cache 30\n}\n";
        let expected = [
            ".:53: errors()[] hosts()[192.0.2.1(a.example b.example)[],fallthrough()[]] forward(. 192.0.2.53)[]",
            "acme.local other.local: ",
            "one two: cache(30)[]",
        ];
        assert_eq!(shown(text), Ok(expected.map(str::to_owned).to_vec()));
        assert_eq!(shown(" \n#\n"), Ok(vec![]));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, said) in [
            (". {\n", "line 1: the block is not closed"),
            (".\n{\n}\n", "line 1: a server block has its brace { at the end of the line"),
            ("\n{\n}\n", "line 2: a server block has no zone"),
            (". {\n cache {\n  x {\n }\n}\n}\n", "line 3: a block within a directive's block"),
            (". {\n cache } 30\n}\n", "line 2: a brace stands at the end of a line, or on a line of its own"),
            (". {\n } x\n}\n", "line 2: a brace that does not fit"),
            (". {\n cache \"30\n}\n", "line 2: a quotation mark is not closed"),
            ("}\n", "line 1: a server block has its brace { at the end of the line"),
        ] {
            assert_eq!(shown(text), Err(said.to_owned()), "{text:?}");
        }
        assert!(parse(&"#".repeat(LIMIT_BYTES + 1)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[ \\n{}#,\".a-c0-9]{0,80}|\\PC{0,40}") {
            let _ = parse(&text);
        }
    }
}
