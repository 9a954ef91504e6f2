//! The paths of a file that begin at its crate's root, of code that runs: without attributes and tests.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{Item, UseTree};

use super::tokens;

/// What a crate's root file declares.
pub struct Root {
    /// Top-level modules, those of tests apart.
    pub modules: BTreeSet<String>,
    /// Names that the root re-exports from its modules.
    exports: BTreeMap<String, String>,
}

impl Root {
    /// # Errors
    /// When the text is no Rust.
    pub fn parse(text: &str) -> Result<Self> {
        let (mut modules, mut exports) = (BTreeSet::new(), BTreeMap::new());
        for item in syn::parse_file(text)?.items {
            match item {
                Item::Mod(module) if !module.attrs.iter().any(is_cfg_test) => {
                    modules.insert(module.ident.to_string());
                }
                Item::Use(used) => exported(&used.tree, &mut Vec::new(), &mut exports),
                _ => {}
            }
        }
        Ok(Self { modules, exports })
    }

    /// The module that a name of the root belongs to; `None` for what the root itself defines.
    pub fn module_of<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        let module = self.exports.get(name).map_or(name, String::as_str);
        self.modules.contains(module).then_some(module)
    }
}

fn is_cfg_test(attribute: &syn::Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
}

/// Notes for each name that a `use` brings which module it comes from.
fn exported(tree: &UseTree, before: &mut Vec<String>, exports: &mut BTreeMap<String, String>) {
    let mut note = |name: String| {
        let module = before.iter().find(|part| !["crate", "self"].contains(&part.as_str()));
        if let Some(module) = module {
            exports.insert(name, module.clone());
        }
    };
    match tree {
        UseTree::Name(name) => note(name.ident.to_string()),
        UseTree::Rename(rename) => note(rename.rename.to_string()),
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            exported(&path.tree, before, exports);
            before.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|item| exported(item, before, exports)),
        UseTree::Glob(_) => {}
    }
}

/// Where a file stands in its crate: `a/b.rs` and `a/b/mod.rs` are `["a", "b"]`.
pub fn module_of(path: &str) -> Vec<&str> {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    path.strip_suffix("/mod").unwrap_or(path).split('/').collect()
}

/// Whether a file is only there for tests, by the house's names.
pub fn is_test(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("/tests/")
}

/// The first names of all paths that begin at the crate's root, in a file that stands `depth` modules below it.
///
/// # Errors
/// When the text is no Rust.
pub fn of_root(text: &str, depth: usize) -> Result<BTreeSet<String>> {
    let stream = TokenStream::from_str(text).map_err(|error| anyhow!("{error}"))?;
    let mut names = BTreeSet::new();
    collect(stream, depth, &mut names);
    Ok(names)
}

fn collect(stream: TokenStream, depth: usize, names: &mut BTreeSet<String>) {
    let tokens = tokens::without_tests(stream);
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at..] {
            // A module inside the file: one `super` more leads to the root.
            [TokenTree::Ident(word), TokenTree::Ident(_), TokenTree::Group(body), ..] if word == "mod" => {
                collect(body.stream(), depth + 1, names);
                at += 2;
            }
            [TokenTree::Ident(word), rest @ ..] if word == "crate" => follow(rest, 0, names),
            [TokenTree::Ident(word), rest @ ..] if word == "super" && !is_continued(&tokens[..at]) => {
                follow(rest, depth.saturating_sub(1), names);
            }
            [TokenTree::Group(group), ..] => collect(group.stream(), depth, names),
            _ => {}
        }
        at += 1;
    }
}

/// Whether `::` stands before: the word goes on with a path.
fn is_continued(before: &[TokenTree]) -> bool {
    matches!(before.last(), Some(TokenTree::Punct(mark)) if mark.as_char() == ':')
}

/// Goes on with a path that has reached the module `depth` below the root.
fn follow(rest: &[TokenTree], depth: usize, names: &mut BTreeSet<String>) {
    let [TokenTree::Punct(first), TokenTree::Punct(second), next, rest @ ..] = rest else { return };
    if first.as_char() == ':' && second.as_char() == ':' {
        step(next, rest, depth, names);
    }
}

/// Takes a path's next part: a name, or a group of a `use`.
fn step(next: &TokenTree, rest: &[TokenTree], depth: usize, names: &mut BTreeSet<String>) {
    match next {
        TokenTree::Ident(word) if word == "super" => follow(rest, depth.saturating_sub(1), names),
        TokenTree::Ident(word) if depth == 0 => _ = names.insert(word.to_string()),
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
            let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
            let ends = |token: &TokenTree| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ',');
            for part in tokens.split(ends) {
                if let [next, rest @ ..] = part {
                    step(next, rest, depth, names);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, depth: usize) -> Vec<String> {
        of_root(text, depth).expect("Rust").into_iter().collect()
    }

    #[test]
    fn follows_paths_to_the_root() {
        let text = "//! crate::doc\nuse crate::{a::X, b, c::{self, Y}};\nuse super::d::Z;\n\
                    pub(crate) fn f() { log!(\"{}\", crate::e::f(super::g)); }\n\
                    mod inner { use super::no; use super::super::h; }\n\
                    #[cfg(test)]\nmod tests { use crate::no; }";
        assert_eq!(found(text, 1), ["a", "b", "c", "d", "e", "g", "h"]);
        assert_eq!(
            found("use super::{no, super::{a, b::C}}; fn f(x: super::no::T) { super::super::c() }", 2),
            ["a", "b", "c"]
        );
        assert!(found("use a::crate_b; use std::fs; fn f() { self::x(); }", 1).is_empty());
    }

    #[test]
    fn knows_what_the_root_re_exports() {
        let root = "mod a;\npub mod b;\n#[cfg(test)]\nmod fakes;\npub use a::{X, deep::Y as Z};\npub use kube;\nfn main() {}";
        let root = Root::parse(root).expect("Rust");
        let of = |name| root.module_of(name);
        assert_eq!([of("X"), of("Z"), of("b")], [Some("a"), Some("a"), Some("b")]);
        assert_eq!([of("Y"), of("fakes"), of("kube"), of("main")], [None; 4]);
    }

    #[test]
    fn knows_where_a_file_stands() {
        assert_eq!(module_of("a/b.rs"), ["a", "b"]);
        assert_eq!(module_of("a/mod.rs"), ["a"]);
        assert!(
            is_test("a/tests.rs") && is_test("a/b_tests.rs") && is_test("a/tests/b.rs") && !is_test("a.rs")
        );
    }
}
