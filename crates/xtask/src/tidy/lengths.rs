//! How long files and functions may be. Long functions that are there already stand in the ratchet.

use anyhow::{Context, Result};
use syn::visit::{self, Visit};

use super::Finding;
use super::ratchet::Excess;
use super::tree::Tree;

/// A file's hard stop, in lines; half of it is what one aims at.
const FILE_LINES: usize = 800;
/// A function's, from its `fn` to its closing brace.
const FUNCTION_LINES: usize = 70;

/// Files beyond the hard stop.
pub fn files(tree: &Tree) -> Vec<Finding> {
    let long =
        tree.rust().map(|file| (file, file.text.lines().count())).filter(|(_, lines)| *lines > FILE_LINES);
    long.map(|(file, lines)| {
        Finding::new(&file.path, 0, format!("{lines} lines; a file has at most {FILE_LINES}"))
    })
    .collect()
}

/// Functions beyond their limit.
///
/// # Errors
/// When a file is no Rust.
pub fn functions(tree: &Tree) -> Result<Vec<Excess>> {
    let mut excess = Vec::new();
    for file in tree.rust() {
        for function in functions_of(&file.text).with_context(|| format!("parsing {}", file.path))? {
            if function.lines > FUNCTION_LINES {
                excess.push(Excess {
                    rule: "function",
                    name: format!("{}::{}", file.path, function.name),
                    amount: function.lines,
                    limit: FUNCTION_LINES,
                });
            }
        }
    }
    Ok(excess)
}

#[derive(Debug, PartialEq, Eq)]
struct Function {
    name: String,
    lines: usize,
}

fn functions_of(text: &str) -> Result<Vec<Function>> {
    let mut found = Functions(Vec::new());
    found.visit_file(&syn::parse_file(text)?);
    Ok(found.0)
}

struct Functions(Vec<Function>);

impl Functions {
    fn add(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let lines = body.brace_token.span.close().end().line - signature.fn_token.span.start().line + 1;
        self.0.push(Function { name: signature.ident.to_string(), lines });
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.add(&item.sig, body);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_functions_wherever_they_stand() {
        let text = "/// Docs do not count.\nfn one() {}\nmod m {\n  impl T {\n    async fn two(\n      a: u8,\n    ) {\n    }\n  }\n}\n\
                    trait U { fn none(); fn three() {\n} }\n";
        let named = |name: &str, lines| Function { name: name.into(), lines };
        assert_eq!(functions_of(text).unwrap(), [named("one", 1), named("two", 4), named("three", 2)]);
    }
}
