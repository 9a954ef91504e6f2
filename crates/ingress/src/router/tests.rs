//! The tables of upstream's documentation, precedence, and a plain model beside the tree.

use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

fn asked<'r>(host: &'r str, path: &'r str, headers: &'r HeaderMap) -> Asked<'r> {
    Asked { host, path, method: &Method::GET, headers, roll: 0 }
}

fn exact(path: &str) -> PathMatch {
    PathMatch::Exact(path.into())
}

fn prefix(path: &str) -> PathMatch {
    PathMatch::Prefix(path.into())
}

fn rule(path: PathMatch, to: &'static str) -> Rule<&'static str> {
    Rule { path, conditions: Conditions::default(), to: Split::whole(to) }
}

fn site(rules: impl IntoIterator<Item = (PathMatch, &'static str)>) -> Site<&'static str> {
    let mut site = Site::default();
    for (path, to) in rules {
        site.add(rule(path, to));
    }
    site
}

fn router<const N: usize>(hosts: [(&str, Vec<(PathMatch, &'static str)>); N]) -> Router<&'static str> {
    let router = Router::default();
    for (host, rules) in hosts {
        router.replace(&Pattern::parse(host), Some(site(rules)));
    }
    router
}

fn goes(router: &Router<&'static str>, host: &str, path: &str) -> Option<&'static str> {
    router.find(&asked(host, path, &HeaderMap::new()))
}

/// <https://kubernetes.io/docs/concepts/services-networking/ingress/#examples>
#[test]
fn paths_match_as_upstreams_table_of_examples_says() {
    let table: [(&[PathMatch], &str, Option<usize>); 25] = [
        (&[prefix("/")], "/any/path", Some(0)),
        (&[exact("/foo")], "/foo", Some(0)),
        (&[exact("/foo")], "/bar", None),
        (&[exact("/foo")], "/foo/", None),
        (&[exact("/foo/")], "/foo", None),
        (&[prefix("/foo")], "/foo", Some(0)),
        (&[prefix("/foo")], "/foo/", Some(0)),
        (&[prefix("/foo/")], "/foo", Some(0)),
        (&[prefix("/foo/")], "/foo/", Some(0)),
        (&[prefix("/aaa/bb")], "/aaa/bbb", None),
        (&[prefix("/aaa/bbb")], "/aaa/bbb", Some(0)),
        (&[prefix("/aaa/bbb/")], "/aaa/bbb", Some(0)),
        (&[prefix("/aaa/bbb")], "/aaa/bbb/", Some(0)),
        (&[prefix("/aaa/bbb")], "/aaa/bbb/ccc", Some(0)),
        (&[prefix("/aaa/bbb")], "/aaa/bbbxyz", None),
        (&[prefix("/"), prefix("/aaa")], "/aaa/ccc", Some(1)),
        (&[prefix("/"), prefix("/aaa"), prefix("/aaa/bbb")], "/aaa/bbb", Some(2)),
        (&[prefix("/"), prefix("/aaa"), prefix("/aaa/bbb")], "/ccc", Some(0)),
        (&[prefix("/aaa")], "/ccc", None),
        (&[prefix("/foo"), exact("/foo")], "/foo", Some(1)),
        // Not of the table.
        (&[prefix("/foo"), exact("/foo")], "/foo/", Some(0)),
        (&[prefix("")], "/any", Some(0)),
        (&[prefix("/foo")], "/Foo", None),
        (&[prefix("/foo")], "/foo//bar", Some(0)),
        (&[prefix("/foo")], "*", None),
    ];
    const NAMES: [&str; 3] = ["0", "1", "2"];
    for (rules, path, wanted) in table {
        let rules = rules.iter().cloned().zip(NAMES);
        let router = router([("", rules.clone().collect())]);
        assert_eq!(goes(&router, "a", path), wanted.map(|i| NAMES[i]), "{rules:?} {path}");
    }
}

/// <https://kubernetes.io/docs/concepts/services-networking/ingress/#hostname-wildcards>
#[test]
fn a_wildcard_is_one_label() {
    let router = router([("*.foo.com", vec![(prefix("/"), "wild")])]);
    assert_eq!(goes(&router, "bar.foo.com", "/"), Some("wild"));
    for other in ["baz.bar.foo.com", "foo.com", ".foo.com", "barfoo.com", "foo.com.evil", ""] {
        assert_eq!(goes(&router, other, "/"), None, "{other}");
    }
}

#[test]
fn the_more_exact_host_and_path_win_and_what_the_host_lacks_is_taken_by_the_next() {
    let router = router([
        ("a.foo.com", vec![(prefix("/x"), "host")]),
        ("*.foo.com", vec![(prefix("/x"), "wild"), (exact("/x/y"), "wild exact"), (prefix("/w"), "wild w")]),
        ("", vec![(prefix("/"), "any"), (prefix("/x/y/z"), "any long")]),
    ]);
    assert_eq!(
        goes(&router, "a.foo.com", "/x/y/z"),
        Some("host"),
        "the host counts before the path's length"
    );
    assert_eq!(goes(&router, "a.foo.com", "/x/y"), Some("host"));
    assert_eq!(goes(&router, "b.foo.com", "/x/y"), Some("wild exact"));
    assert_eq!(goes(&router, "a.foo.com", "/w"), Some("wild w"));
    assert_eq!(goes(&router, "a.foo.com", "/q"), Some("any"));
    assert_eq!(goes(&router, "else", "/x/y/z"), Some("any long"));
}

#[test]
fn defaults_come_after_all_rules() {
    let router = router([("", vec![(prefix("/any"), "any")])]);
    let mut host = site([(prefix("/x"), "x")]);
    host.add_default(Split::whole("host default"));
    host.add_default(Split::whole("later default"));
    router.replace(&Pattern::parse("a"), Some(host));
    assert_eq!(goes(&router, "a", "/any"), Some("any"));
    assert_eq!(goes(&router, "a", "/q"), Some("host default"));
    assert_eq!(goes(&router, "b", "/q"), None);
    router.replace_default(Some(Split::whole("default")));
    assert_eq!(goes(&router, "b", "/q"), Some("default"));
    router.replace(&Pattern::parse("a"), None);
    assert_eq!(goes(&router, "a", "/x"), Some("default"));
}

#[test]
fn of_two_rules_for_one_path_the_first_stays() {
    let mut site = Site::default();
    assert!(site.add(rule(prefix("/a/"), "first")));
    assert!(!site.add(rule(prefix("/a"), "second")));
    assert!(site.add(rule(exact("/a"), "exact")));
    assert!(!site.add(rule(exact("/a"), "again")));
}

#[test]
fn methods_and_headers_narrow_a_rule_and_the_next_prefix_takes_what_is_left() {
    let mut site = site([(prefix("/"), "root"), (prefix("/a"), "plain")]);
    let header = (HeaderName::from_static("x-canary"), HeaderValue::from_static("yes"));
    let mut add = |path, method: Option<Method>, headers: Vec<_>, to| {
        site.add(Rule { path, conditions: Conditions { method, headers }, to: Split::whole(to) })
    };
    assert!(add(prefix("/a"), None, vec![header.clone()], "header"));
    assert!(add(prefix("/a"), Some(Method::POST), Vec::new(), "post"));
    assert!(add(prefix("/b"), Some(Method::POST), Vec::new(), "post b"));
    let router = Router::default();
    router.replace(&Pattern::Any, Some(site));
    let find = |method: &Method, path: &str, headers: &HeaderMap| {
        router.find(&Asked { host: "h", path, method, headers, roll: 0 })
    };
    let (none, canary) = (HeaderMap::new(), HeaderMap::from_iter([header]));
    assert_eq!(find(&Method::GET, "/a", &none), Some("plain"));
    assert_eq!(find(&Method::GET, "/a", &canary), Some("header"));
    assert_eq!(find(&Method::POST, "/a", &canary), Some("post"));
    assert_eq!(find(&Method::GET, "/b", &none), Some("root"));
    assert_eq!(find(&Method::POST, "/b/c", &none), Some("post b"));
}

#[test]
fn weights_divide_what_comes() {
    let split = Split::weighted([(1, "a"), (0, "none"), (3, "b")]);
    let picked: Vec<_> = (0..8).filter_map(|roll| split.pick(roll).copied()).collect();
    assert_eq!(picked, ["a", "b", "b", "b", "a", "b", "b", "b"]);
    assert_eq!(Split::weighted([(0, "a")]).pick(7), None);
}

#[test]
fn hosts_are_read_without_port_case_and_dot() {
    let read = |text: &str| host_of(&text.parse::<Authority>().expect("an authority"));
    assert_eq!(read("A.Example:8080"), "a.example");
    assert_eq!(read("a.example."), "a.example");
    assert_eq!(read("user@a.example"), "a.example");
    assert_eq!(read("[::1]:80"), "[::1]");
    assert_eq!(Pattern::parse("*.A.example."), Pattern::Wildcard("a.example".into()));
    assert_eq!(Pattern::parse(""), Pattern::Any);
}

#[test]
fn a_path_of_a_hundred_thousand_elements_is_taken_and_dropped() {
    let deep = "/a".repeat(100_000);
    let router = Router::default();
    router.replace(&Pattern::Any, Some(site([(prefix(&deep), "deep"), (prefix("/a/a"), "two")])));
    assert_eq!(goes(&router, "h", &deep), Some("deep"));
    assert_eq!(goes(&router, "h", &deep[..deep.len() - 2]), Some("two"));
}

/// What the documentation says, word for word, over a list.
fn model(rules: &[(PathMatch, &'static str)], path: &str) -> Option<&'static str> {
    let parts = |path: &str| path.split('/').skip(1).map(str::to_owned).collect::<Vec<_>>();
    let first_exact =
        rules.iter().find(|(rule, _)| matches!(rule, PathMatch::Exact(exact) if **exact == *path));
    if let Some((_, to)) = first_exact {
        return Some(to);
    }
    let prefixes = rules.iter().filter_map(|(rule, to)| match rule {
        PathMatch::Prefix(prefix) => Some((parts(prefix.trim_end_matches('/')), to)),
        PathMatch::Exact(_) => None,
    });
    let mut taken: Vec<_> = prefixes.filter(|(prefix, _)| parts(path).starts_with(prefix)).collect();
    // The sort keeps the order of equals, so that the first of the longest is the first that was written.
    taken.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
    taken.first().map(|(_, to)| **to)
}

proptest! {
    #[test]
    fn the_tree_finds_what_the_list_finds(
        rules in proptest::collection::vec(("(/[ab]{0,2}){1,4}", any::<bool>()), 0..12),
        path in "(/[ab]{0,2}){1,5}",
    ) {
        const NAMES: [&str; 12] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"];
        let rules: Vec<_> = rules
            .iter()
            .map(|(path, is_exact)| if *is_exact { exact(path) } else { prefix(path) })
            .zip(NAMES)
            .collect();
        let wanted = model(&rules, &path);
        prop_assert_eq!(goes(&router([("", rules)]), "h", &path), wanted);
    }

    #[test]
    fn any_host_and_path_are_taken(host in ".{0,40}", path in ".{0,60}") {
        let router = router([("*.b", vec![(prefix("/a"), "wild")]), ("", vec![(prefix("/"), "any")])]);
        prop_assert!(goes(&router, &host, &path).is_some());
    }
}
