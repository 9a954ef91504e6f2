//! Syntax of names: DNS labels and subdomains, qualified names (label keys), label values, and the
//! other small grammars validation needs, with upstream's messages
//! (`k8s.io/apimachinery/pkg/util/validation`, `pkg/api/validate/content`).
//!
//! Each function returns what is wrong with the value, in upstream's order; nothing when it is well
//! formed. Start with [`dns1123_subdomain`]. Nothing here knows which kind uses which grammar.

/// Longest DNS label, label value, or name part of a qualified name, in bytes.
pub const LABEL_MAX_BYTES: usize = 63;
/// Longest DNS subdomain, in bytes.
pub const SUBDOMAIN_MAX_BYTES: usize = 253;

const DNS1123_LABEL_FMT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const DNS1123_LABEL_MSG: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
const DNS1123_SUBDOMAIN_FMT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const DNS1123_SUBDOMAIN_MSG: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
const DNS1035_LABEL_FMT: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const DNS1035_LABEL_MSG: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character";
const WILDCARD_FMT: &str = "\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const WILDCARD_MSG: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
const QUALIFIED_FMT: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const QUALIFIED_MSG: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const LABEL_VALUE_FMT: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";
const LABEL_VALUE_MSG: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const ENV_VAR_FMT: &str = "[-._a-zA-Z][-._a-zA-Z0-9]*";
const ENV_VAR_MSG: &str = "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start with a digit";
const RELAXED_ENV_VAR_MSG: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";
const CONFIG_KEY_FMT: &str = "[-._a-zA-Z0-9]+";
const CONFIG_KEY_MSG: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
const HTTP_HEADER_FMT: &str = "[-A-Za-z0-9]+";
const HTTP_HEADER_MSG: &str = "a valid HTTP header must consist of alphanumeric characters or '-'";
const PERCENT_FMT: &str = "[0-9]+%";
const PERCENT_MSG: &str = "a valid percent string must be a numeric string followed by an ending '%'";

/// What is wrong with a value, in upstream's words; empty when nothing is.
pub type Faults = Vec<String>;

/// `must be no more than N characters`
pub fn max_length_message(max: usize) -> String {
    format!("must be no more than {max} characters")
}

/// `must be between LOW and HIGH, inclusive`
pub fn range_message(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

/// The message of a value that does not match a regular expression.
pub fn regex_message(message: &str, format: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{message} (regex used for validation is '{format}')");
    }
    let quoted: Vec<String> = examples.iter().map(|e| format!("'{e}', ")).collect();
    format!("{message} (e.g. {}regex used for validation is '{format}')", quoted.join(" or "))
}

const fn is_lower_alnum(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn matches_dns1123_label(value: &str) -> bool {
    let b = value.as_bytes();
    let ends = |i: usize| b.get(i).copied().is_some_and(is_lower_alnum);
    !b.is_empty() && ends(0) && ends(b.len() - 1) && b.iter().all(|&c| c == b'-' || is_lower_alnum(c))
}

fn matches_dns1123_subdomain(value: &str) -> bool {
    value.split('.').all(matches_dns1123_label)
}

/// The characters of the name part of a label key, or of a label value that is not empty.
fn matches_qualified(value: &str) -> bool {
    let b = value.as_bytes();
    let ends = |i: usize| b.get(i).is_some_and(u8::is_ascii_alphanumeric);
    !b.is_empty()
        && ends(0)
        && ends(b.len() - 1)
        && b.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
}

/// A DNS label (RFC 1123): names of namespaces, containers, ports.
pub fn dns1123_label(value: &str) -> Faults {
    let mut faults = Faults::new();
    if value.len() > LABEL_MAX_BYTES {
        faults.push(max_length_message(LABEL_MAX_BYTES));
    }
    if !matches_dns1123_label(value) {
        faults.push(if matches_dns1123_subdomain(value) {
            "must not contain dots".to_owned()
        } else {
            regex_message(DNS1123_LABEL_MSG, DNS1123_LABEL_FMT, &["my-name", "123-abc"])
        });
    }
    faults
}

/// A DNS subdomain (RFC 1123): names of most objects.
pub fn dns1123_subdomain(value: &str) -> Faults {
    let mut faults = Faults::new();
    if value.len() > SUBDOMAIN_MAX_BYTES {
        faults.push(max_length_message(SUBDOMAIN_MAX_BYTES));
    }
    if !matches_dns1123_subdomain(value) {
        faults.push(regex_message(DNS1123_SUBDOMAIN_MSG, DNS1123_SUBDOMAIN_FMT, &["example.com"]));
    }
    faults
}

/// A DNS label (RFC 1035): starts with a letter. Names of services.
pub fn dns1035_label(value: &str) -> Faults {
    let mut faults = Faults::new();
    if value.len() > LABEL_MAX_BYTES {
        faults.push(max_length_message(LABEL_MAX_BYTES));
    }
    if !(matches_dns1123_label(value) && value.starts_with(|c: char| c.is_ascii_lowercase())) {
        faults.push(regex_message(DNS1035_LABEL_MSG, DNS1035_LABEL_FMT, &["my-name", "abc-123"]));
    }
    faults
}

/// A DNS subdomain whose first label is `*`.
pub fn wildcard_dns1123_subdomain(value: &str) -> Faults {
    let mut faults = Faults::new();
    if value.len() > SUBDOMAIN_MAX_BYTES {
        faults.push(max_length_message(SUBDOMAIN_MAX_BYTES));
    }
    if !value.strip_prefix("*.").is_some_and(matches_dns1123_subdomain) {
        faults.push(regex_message(WILDCARD_MSG, WILDCARD_FMT, &["*.example.com"]));
    }
    faults
}

/// A qualified name: an optional DNS subdomain and `/`, then a name. Label and annotation keys,
/// resource names.
pub fn qualified_name(value: &str) -> Faults {
    let mut faults = Faults::new();
    let mut parts = value.split('/');
    let name = match (parts.next(), parts.next(), parts.next()) {
        (Some(name), None, _) => name,
        (Some(prefix), Some(name), None) => {
            if prefix.is_empty() {
                faults.push("prefix part must be non-empty".to_owned());
            } else {
                faults.extend(dns1123_subdomain(prefix).into_iter().map(|m| format!("prefix part {m}")));
            }
            name
        }
        _ => {
            return vec![format!(
                "a valid label key {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                regex_message(QUALIFIED_MSG, QUALIFIED_FMT, &["MyName", "my.name", "123-abc"])
            )];
        }
    };
    if name.is_empty() {
        faults.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_MAX_BYTES {
        faults.push(format!("name part {}", max_length_message(LABEL_MAX_BYTES)));
    }
    if !matches_qualified(name) {
        let message = regex_message(QUALIFIED_MSG, QUALIFIED_FMT, &["MyName", "my.name", "123-abc"]);
        faults.push(format!("name part {message}"));
    }
    faults
}

/// The value of a label.
pub fn label_value(value: &str) -> Faults {
    let mut faults = Faults::new();
    if value.len() > LABEL_MAX_BYTES {
        faults.push(max_length_message(LABEL_MAX_BYTES));
    }
    if !value.is_empty() && !matches_qualified(value) {
        faults.push(regex_message(LABEL_VALUE_MSG, LABEL_VALUE_FMT, &["MyValue", "my_value", "12345"]));
    }
    faults
}

/// The key of a config map or secret.
pub fn config_key(value: &str) -> Faults {
    let mut faults = Faults::new();
    if value.len() > SUBDOMAIN_MAX_BYTES {
        faults.push(max_length_message(SUBDOMAIN_MAX_BYTES));
    }
    let well_formed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if value.is_empty() || !value.bytes().all(well_formed) {
        faults.push(regex_message(CONFIG_KEY_MSG, CONFIG_KEY_FMT, &["key.name", "KEY_NAME", "key-name"]));
    }
    faults.extend(parent_directory(value));
    faults
}

/// The name of an environment variable, by the strict rule.
pub fn env_var_name(value: &str) -> Faults {
    let mut faults = Faults::new();
    let well_formed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let starts_well = value.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    if !starts_well || !value.bytes().all(well_formed) {
        let examples = ["my.env-name", "MY_ENV.NAME", "MyEnvName1"];
        faults.push(regex_message(ENV_VAR_MSG, ENV_VAR_FMT, &examples));
    }
    faults.extend(parent_directory(value));
    faults
}

/// The name of an environment variable, by the rule in force since v1.34: printable ASCII but `=`.
pub fn relaxed_env_var_name(value: &str) -> Faults {
    let mut faults = Faults::new();
    if value.is_empty() {
        faults.push("environment variable name must be non-empty".to_owned());
    }
    if !value.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=') {
        faults.push(RELAXED_ENV_VAR_MSG.to_owned());
    }
    faults
}

/// The name of a port: at most 15 of `a-z0-9-`, with a letter.
pub fn port_name(value: &str) -> Faults {
    let mut faults = Faults::new();
    if value.len() > 15 {
        faults.push(max_length_message(15));
    }
    if value.is_empty() || !value.bytes().all(|b| b == b'-' || is_lower_alnum(b)) {
        faults.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !value.bytes().any(|b| b.is_ascii_lowercase()) {
        faults.push("must contain at least one letter (a-z)".to_owned());
    }
    if value.contains("--") {
        faults.push("must not contain consecutive hyphens".to_owned());
    }
    if value.starts_with('-') || value.ends_with('-') {
        faults.push("must not begin or end with a hyphen".to_owned());
    }
    faults
}

/// The number of a port, 1 to 65535.
pub fn port_number(value: i64) -> Faults {
    if (1..=65535).contains(&value) { Faults::new() } else { vec![range_message(1, 65535)] }
}

/// A percentage, e.g. `25%`.
pub fn percent(value: &str) -> Faults {
    let digits = value.strip_suffix('%').unwrap_or("");
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        Faults::new()
    } else {
        vec![regex_message(PERCENT_MSG, PERCENT_FMT, &["1%", "93%"])]
    }
}

/// The name of an HTTP header.
pub fn http_header_name(value: &str) -> Faults {
    if !value.is_empty() && value.bytes().all(|b| b == b'-' || b.is_ascii_alphanumeric()) {
        Faults::new()
    } else {
        vec![regex_message(HTTP_HEADER_MSG, HTTP_HEADER_FMT, &["X-Header-Name"])]
    }
}

/// Whether the value is a DNS label (RFC 1123) of allowed length.
pub fn is_dns1123_label(value: &str) -> bool {
    value.len() <= LABEL_MAX_BYTES && matches_dns1123_label(value)
}

/// Whether the value is a DNS subdomain (RFC 1123) of allowed length.
pub fn is_dns1123_subdomain(value: &str) -> bool {
    value.len() <= SUBDOMAIN_MAX_BYTES && matches_dns1123_subdomain(value)
}

/// Checks of an object's name by one of the grammars above. A `prefix` (generateName) may end in a
/// dash, as something follows it (upstream: `maskTrailingDash`).
pub fn object_name(grammar: fn(&str) -> Faults, name: &str, prefix: bool) -> Faults {
    match name.strip_suffix('-') {
        Some(head) if prefix && !head.is_empty() => grammar(&format!("{head}a")),
        _ => grammar(name),
    }
}

/// A name that is safe as one segment of a URL path: for kinds with free names (RBAC).
pub fn path_segment_name(name: &str, prefix: bool) -> Faults {
    if !prefix && (name == "." || name == "..") {
        return vec![format!("may not be '{name}'")];
    }
    ["/", "%"].iter().filter(|c| name.contains(**c)).map(|c| format!("may not contain '{c}'")).collect()
}

fn parent_directory(value: &str) -> Option<String> {
    match value {
        "." => Some("must not be '.'".to_owned()),
        ".." => Some("must not be '..'".to_owned()),
        _ if value.starts_with("..") => Some("must not start with '..'".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_subdomains() {
        for ok in ["a", "a-b", "1", "a1-2b"] {
            assert_eq!(dns1123_label(ok), Faults::new(), "{ok}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "é"] {
            assert_eq!(dns1123_label(bad).len(), 1, "{bad}");
        }
        assert_eq!(dns1123_label("a.b"), ["must not contain dots"]);
        assert_eq!(
            dns1123_subdomain("Bad"),
            [
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ]
        );
        assert!(is_dns1123_subdomain("a.b-c.d") && !is_dns1123_subdomain("a..b"));
        assert_eq!(dns1123_label(&"a".repeat(64)), ["must be no more than 63 characters"]);
        assert!(!dns1035_label("1a").is_empty() && dns1035_label("a1").is_empty());
    }

    #[test]
    fn qualified_names() {
        for ok in ["a", "app.kubernetes.io/name", "A_b.c-1", "x/Y"] {
            assert_eq!(qualified_name(ok), Faults::new(), "{ok}");
        }
        assert_eq!(qualified_name("/a"), ["prefix part must be non-empty"]);
        assert!(qualified_name("a/b/c")[0].starts_with("a valid label key must consist of"));
        assert_eq!(qualified_name("").len(), 2);
        assert_eq!(
            qualified_name("a b"),
            [
                "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
            ]
        );
    }

    #[test]
    fn generated_names_may_end_in_a_dash() {
        assert_eq!(object_name(dns1123_subdomain, "web-", true), Faults::new());
        assert_eq!(object_name(dns1123_subdomain, "web-", false).len(), 1);
        assert_eq!(path_segment_name("system:a", false), Faults::new());
        assert_eq!(path_segment_name("a/b", false), ["may not contain '/'"]);
    }

    #[test]
    fn small_grammars() {
        assert_eq!(config_key(".."), ["must not be '..'"]);
        assert!(config_key("a.b_c-D").is_empty() && !config_key("a/b").is_empty());
        assert!(port_name("http").is_empty() && port_name("80").len() == 1);
        assert!(percent("25%").is_empty() && !percent("%").is_empty());
        assert!(relaxed_env_var_name("A B").is_empty() && !relaxed_env_var_name("A=B").is_empty());
        assert!(label_value("").is_empty() && !label_value("-").is_empty());
    }
}
