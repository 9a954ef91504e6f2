use proptest::prelude::*;
use serde_json::json;

use super::*;

fn matches(selector: &str, labels: &[(&'static str, &'static str)]) -> bool {
    let find = |key: &str| labels.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
    LabelSelector::parse(selector).expect(selector).matches(find)
}

#[test]
fn label_selectors_match_as_upstream() {
    let labels = [("a", "b"), ("c", "d"), ("n", "5")];
    for yes in ["", "a=b", "a==b,c in (d,e)", "!f", "g!=h", "x notin (y)", "a", "n>4", "n<6", " a = b , c "] {
        assert!(matches(yes, &labels), "{yes}");
    }
    for no in ["a=c", "a!=b", "!a", "x", "a notin (b)", "c in (e)", "n>5", "a>1", "a="] {
        assert!(!matches(no, &labels), "{no}");
    }
    assert!(matches("in in (in,notin)", &[("in", "notin")]));
    assert!(matches("x in ()", &[("x", "")]) && matches("x in (,a)", &[("x", "")]));
}

#[test]
fn label_selectors_print_sorted() {
    let parsed = LabelSelector::parse("x notin (b,a,b),c in (d),!f,g!=h,a==b,e").expect("valid");
    assert_eq!(parsed.to_string(), "a==b,c in (d),e,!f,g!=h,x notin (a,b)");
}

#[test]
fn label_selector_errors_read_as_upstream() {
    let message = |s: &str| LabelSelector::parse(s).expect_err(s).message;
    assert_eq!(message("a in"), "unable to parse requirement: found '' expected: '('");
    assert_eq!(message("a,"), "found '', expected: identifier after ','");
    assert_eq!(message("=a"), "found '=', expected: !, identifier, or 'end of string'");
    assert_eq!(
        message("a b"),
        "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"
    );
    assert_eq!(message("a=b c"), "found 'c', expected: ',' or 'end of string'");
    assert!(
        message("a=-")
            .starts_with("unable to parse requirement: values[0][a]: Invalid value: \"-\": a valid")
    );
    assert!(
        message("-a=b")
            .starts_with("unable to parse requirement: <nil>: Invalid value: \"-a\": name part must")
    );
}

#[test]
fn selector_objects() {
    let from = |v| LabelSelector::from_object(&v);
    assert_eq!(from(json!(null)), Ok(LabelSelector::nothing()));
    assert_eq!(from(json!({})), Ok(LabelSelector::everything()));
    let full = json!({"matchLabels": {"a": "b"}, "matchExpressions": [
        {"key": "c", "operator": "In", "values": ["d", "e"]}, {"key": "f", "operator": "DoesNotExist"}]});
    assert_eq!(from(full).expect("valid").to_string(), "a=b,c in (d,e),!f");
    let bad = json!({"matchExpressions": [{"key": "a", "operator": "Is"}]});
    assert_eq!(from(bad).expect_err("bad").message, "\"Is\" is not a valid label selector operator");
}

#[test]
fn field_selectors() {
    let parsed = FieldSelector::parse("spec.nodeName==n1,metadata.name!=x,,a=").expect("valid");
    assert_eq!(parsed.to_string(), "a=,metadata.name!=x,spec.nodeName=n1");
    assert_eq!(parsed.exact("spec.nodeName"), Some("n1"));
    assert!(parsed.matches(|f| (f == "spec.nodeName").then_some("n1")));
    assert!(!parsed.matches(|f| (f == "metadata.name").then_some("x")));
    assert_eq!(FieldSelector::parse(r"a=b\,c\=d").expect("valid").exact("a"), Some("b,c=d"));
    assert_eq!(
        FieldSelector::parse("a").expect_err("no operator").message,
        "invalid selector: 'a'; can't understand 'a'"
    );
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "[a-z=!,()<> éin\\\\./-]{0,40}") {
        let _ = LabelSelector::parse(&text);
        let _ = FieldSelector::parse(&text);
    }

    #[test]
    fn what_is_printed_parses_to_the_same(
        parts in prop::collection::vec(("[a-z]{1,3}(/[a-z]{1,2})?", 0usize..6, prop::collection::vec("[a-z0-9]{0,3}", 1..4)), 0..5)
    ) {
        let operators = [Operator::In, Operator::NotIn, Operator::Equals, Operator::NotEquals, Operator::Exists, Operator::DoesNotExist];
        let requirements = parts.into_iter().map(|(key, op, mut values)| {
            match op { 0 | 1 => {}, 2 | 3 => values.truncate(1), _ => values.clear() }
            Requirement::new(&key, operators[op], values).expect("valid by construction")
        });
        let selector = LabelSelector::of(requirements.collect());
        prop_assert_eq!(LabelSelector::parse(&selector.to_string()).expect("printed"), selector);
    }

    #[test]
    fn field_selectors_print_back(field in "[a-z.]{1,5}", value in ".{0,8}", negated: bool) {
        let selector = FieldSelector::of(vec![FieldRequirement { field, value, negated }]);
        prop_assert_eq!(FieldSelector::parse(&selector.to_string()).expect("printed"), selector);
    }
}
