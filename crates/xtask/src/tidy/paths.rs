//! The paths of a file that begin at its crate's root, of code that runs: without attributes and tests.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{Item, UseTree};

use super::tokens;

/// What a module's file declares.
#[derive(Default)]
pub struct Module {
    /// Its child modules, those of tests apart.
    children: BTreeSet<String>,
    /// Where the names that it imports or re-exports come from: paths from the crate's root.
    imports: BTreeMap<String, Vec<String>>,
}

impl Module {
    /// The module whose file has this text and is at `place`, the path of modules from the crate's root.
    ///
    /// # Errors
    /// When the text is no Rust.
    pub fn parse(text: &str, place: &[String]) -> Result<Self> {
        let mut module = Self::default();
        for item in syn::parse_file(text)?.items {
            match item {
                Item::Mod(child) if !child.attrs.iter().any(is_cfg_test) => {
                    module.children.insert(child.ident.to_string());
                }
                Item::Use(used) => imported(&used.tree, &mut Vec::new(), &mut module.imports),
                _ => {}
            }
        }
        let children = &module.children;
        module.imports = std::mem::take(&mut module.imports)
            .into_iter()
            .filter_map(|(name, path)| Some((name, from_root(path, place, children)?)))
            .collect();
        Ok(module)
    }
}

/// The path of an import, from the crate's root; `None` for what comes from another crate.
fn from_root(path: Vec<String>, place: &[String], children: &BTreeSet<String>) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([place, rest].concat()),
        "super" => {
            let ups = path.iter().take_while(|part| *part == "super").count();
            let above = place.get(..place.len().checked_sub(ups)?)?;
            Some([above, &path[ups..]].concat())
        }
        name => children.contains(name).then(|| [place, &path].concat()),
    }
}

/// The modules of one crate, by their path from its root.
#[derive(Default)]
pub struct Modules(BTreeMap<Vec<String>, Module>);

impl Modules {
    pub fn insert(&mut self, place: Vec<String>, module: Module) {
        self.0.insert(place, module);
    }

    /// The paths of all modules that files or other modules declare.
    pub fn places(&self) -> impl Iterator<Item = Vec<String>> {
        let of = |(place, module): (&Vec<String>, &Module)| -> Vec<Vec<String>> {
            module.children.iter().map(|child| [place, std::slice::from_ref(child)].concat()).collect()
        };
        self.0.iter().flat_map(of)
    }

    /// The module in which the path's last name is defined, imports followed.
    pub fn home(&self, path: &[String]) -> Vec<String> {
        let (mut path, mut depth) = (path.to_vec(), 0);
        // An import may name another import; one that names itself ends here.
        let mut hops = 0;
        while let (Some(module), Some(name)) = (self.0.get(&path[..depth]), path.get(depth)) {
            if module.children.contains(name) {
                depth += 1;
            } else if let Some(import) = module.imports.get(name).filter(|_| hops < 16) {
                path = [import, &path[depth + 1..]].concat();
                (depth, hops) = (0, hops + 1);
            } else {
                break;
            }
        }
        path.truncate(depth);
        path
    }
}

fn is_cfg_test(attribute: &syn::Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
}

/// Notes for each name that a `use` brings the path it comes from.
fn imported(tree: &UseTree, before: &mut Vec<String>, imports: &mut BTreeMap<String, Vec<String>>) {
    let mut note = |name: String, last: String| {
        // `use a::{self}` brings `a`.
        let path = if last == "self" { before.clone() } else { [before.as_slice(), &[last]].concat() };
        let name = if name == "self" { before.last().cloned().unwrap_or(name) } else { name };
        imports.insert(name, path);
    };
    match tree {
        UseTree::Name(name) => note(name.ident.to_string(), name.ident.to_string()),
        UseTree::Rename(rename) => note(rename.rename.to_string(), rename.ident.to_string()),
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            imported(&path.tree, before, imports);
            before.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|item| imported(item, before, imports)),
        UseTree::Glob(_) => {}
    }
}

/// The module of a file of a crate: `a/b.rs` and `a/b/mod.rs` are `["a", "b"]`, `lib.rs` and `main.rs` the root.
pub fn module_of(path: &str) -> Vec<String> {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let path = path.strip_suffix("/mod").unwrap_or(path);
    match path {
        "lib" | "main" => Vec::new(),
        _ => path.split('/').map(str::to_owned).collect(),
    }
}

/// Whether a file is only there for tests, by the house's names.
pub fn is_test(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("/tests/")
}

/// All paths of a file that begin with `crate` or `super`, as paths from the crate's root. `place` is the file's module.
///
/// # Errors
/// When the text is no Rust.
pub fn of_crate(text: &str, place: &[String]) -> Result<BTreeSet<Vec<String>>> {
    let stream = TokenStream::from_str(text).map_err(|error| anyhow!("{error}"))?;
    let mut paths = BTreeSet::new();
    collect(stream, place, &mut paths);
    Ok(paths)
}

fn collect(stream: TokenStream, place: &[String], paths: &mut BTreeSet<Vec<String>>) {
    let tokens = tokens::without_tests(stream);
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at..] {
            // A module inside the file: one `super` more leads to the root.
            [TokenTree::Ident(word), TokenTree::Ident(name), TokenTree::Group(body), ..] if word == "mod" => {
                collect(body.stream(), &[place, &[name.to_string()]].concat(), paths);
                at += 2;
            }
            [TokenTree::Ident(word), rest @ ..] if word == "crate" => follow(rest, &[], paths),
            [TokenTree::Ident(word), rest @ ..] if word == "super" && !is_continued(&tokens[..at]) => {
                follow(rest, above(place), paths);
            }
            // The group of a `use` belongs to the path before it.
            [TokenTree::Group(group), ..] if !is_continued(&tokens[..at]) => {
                collect(group.stream(), place, paths);
            }
            _ => {}
        }
        at += 1;
    }
}

fn above(place: &[String]) -> &[String] {
    &place[..place.len().saturating_sub(1)]
}

/// Whether `::` stands before: the word goes on with a path.
fn is_continued(before: &[TokenTree]) -> bool {
    // One colon alone is that of a type: `x: super::T`.
    let colon = |token: &TokenTree| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ':');
    matches!(before, [.., first, second] if colon(first) && colon(second))
}

/// Goes on with a path that has come as far as `path`, and notes it where it ends.
fn follow(rest: &[TokenTree], path: &[String], paths: &mut BTreeSet<Vec<String>>) {
    match rest {
        [TokenTree::Punct(first), TokenTree::Punct(second), next, rest @ ..]
            if first.as_char() == ':' && second.as_char() == ':' =>
        {
            step(next, rest, path, paths);
        }
        _ => _ = paths.insert(path.to_vec()),
    }
}

/// Takes a path's next part: a name, or a group of a `use`.
fn step(next: &TokenTree, rest: &[TokenTree], path: &[String], paths: &mut BTreeSet<Vec<String>>) {
    match next {
        TokenTree::Ident(word) if word == "super" => follow(rest, above(path), paths),
        TokenTree::Ident(word) if word == "self" => _ = paths.insert(path.to_vec()),
        TokenTree::Ident(word) => follow(rest, &[path, &[word.to_string()]].concat(), paths),
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
            let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
            let ends = |token: &TokenTree| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ',');
            for part in tokens.split(ends) {
                if let [next, rest @ ..] = part {
                    step(next, rest, path, paths);
                }
            }
        }
        // A glob, or a type's parameters (`path::<T>`): the path so far is what is used.
        _ => _ = paths.insert(path.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str) -> Vec<String> {
        path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    fn found(text: &str, at: &str) -> Vec<String> {
        of_crate(text, &place(at)).expect("Rust").iter().map(|path| path.join("::")).collect()
    }

    #[test]
    fn follows_paths_to_the_root() {
        let text = "//! crate::doc\nuse crate::{a::X, b, c::{self, Y}};\nuse super::d::Z;\n\
                    pub(crate) fn f() { log!(\"{}\", crate::e::f(super::g)); }\n\
                    mod inner { use super::own; use super::super::h; }\n\
                    #[cfg(test)]\nmod tests { use crate::no; }";
        // The bare `crate` of `pub(crate)` is the root itself.
        assert_eq!(
            found(text, "here"),
            ["", "a::X", "b", "c", "c::Y", "d::Z", "e::f", "g", "h", "here::own"]
        );
        let text = "use super::{x, super::{a, b::C}}; fn f(x: super::x::T) { super::super::c() }";
        assert_eq!(found(text, "over::here"), ["a", "b::C", "c", "over::x", "over::x::T"]);
        assert_eq!(found("use super::glob::*;", "here"), ["glob"]);
        assert!(found("use a::crate_b; use std::fs; fn f() { self::x(); }", "here").is_empty());
    }

    fn modules(files: &[(&str, &str)]) -> Modules {
        let mut modules = Modules::default();
        for (at, text) in files {
            modules.insert(place(at), Module::parse(text, &place(at)).expect("Rust"));
        }
        modules
    }

    #[test]
    fn finds_where_a_name_is_defined() {
        let modules = modules(&[
            (
                "",
                "mod a;\npub mod b;\n#[cfg(test)]\nmod fakes;\npub use a::{X, deep::Y as Z};\npub use kube;\nfn main() {}",
            ),
            ("a", "pub mod deep;\nmod leaf;\npub use leaf::{self as renamed, X};\nuse super::b;"),
            ("b", "pub use crate::a::X as FromA;\nuse super::b::Loop as Loop;"),
        ]);
        let home = |path| modules.home(&place(path)).join("::");
        assert_eq!([home("X"), home("a::X"), home("b::FromA")], ["a::leaf", "a::leaf", "a::leaf"]);
        assert_eq!([home("Z"), home("b::own"), home("a::b::own")], ["a::deep", "b", "b"]);
        assert_eq!(home("a::renamed::T"), "a::leaf");
        assert_eq!([home("fakes::T"), home("kube::T"), home("main")], ["", "", ""]);
        assert_eq!(home("b::Loop"), "b");
        let places: Vec<String> = modules.places().map(|place| place.join("::")).collect();
        assert_eq!(places, ["a", "b", "a::deep", "a::leaf"]);
    }

    #[test]
    fn knows_the_module_of_a_file() {
        assert_eq!(module_of("a/b.rs"), ["a", "b"]);
        assert_eq!(module_of("a/mod.rs"), ["a"]);
        assert!(module_of("lib.rs").is_empty());
        assert!(
            is_test("a/tests.rs") && is_test("a/b_tests.rs") && is_test("a/tests/b.rs") && !is_test("a.rs")
        );
    }
}
