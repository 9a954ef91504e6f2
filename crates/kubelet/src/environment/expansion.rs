//! `$(VAR)` references in commands, arguments and values. Pure.
//!
//! As upstream's `third_party/forked/golang/expansion`: `$$` is a literal `$`, a reference to an
//! unknown variable and anything malformed stay as they are.

/// Replaces the references in `text` by what `look_up` knows.
pub fn expand<'a>(text: &str, look_up: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(reference) = rest.strip_prefix('(') {
            match reference.find(')') {
                Some(end) => {
                    let name = &reference[..end];
                    match look_up(name) {
                        Some(value) => out.push_str(value),
                        None => {
                            out.push_str("$(");
                            out.push_str(name);
                            out.push(')');
                        }
                    }
                    rest = &reference[end + 1..];
                }
                None => {
                    out.push_str("$(");
                    rest = reference;
                }
            }
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::expand;

    fn check(input: &str, expect: &str) {
        let look_up = |name: &str| match name {
            "A" => Some("1"),
            "B" => Some("$(A)"),
            "" => Some("empty"),
            _ => None,
        };
        assert_eq!(expand(input, look_up), expect, "{input}");
    }

    #[test]
    fn references_are_replaced_once_and_escapes_kept() {
        check("x $(A) y", "x 1 y");
        check("$(B)", "$(A)");
        check("$$(A)", "$(A)");
        check("$$$(A)", "$1");
        check("$(NOPE) $(A", "$(NOPE) $(A");
        check("$A $", "$A $");
        check("$()", "empty");
        check("ä$(A)ö$", "ä1ö$");
        check("$(A)$(A)", "11");
    }
}
