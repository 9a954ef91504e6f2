use super::*;

#[test]
fn the_last_of_two_values_stands_and_is_reported() {
    let decoded = decode_json(br#"{"a":{"b":[{"c":1,"c":2}]},"a":3}"#, &Limits::default()).expect("valid");
    assert_eq!(decoded.duplicates, ["a.b[0].c", "a"]);
    assert_eq!(decoded.object.0["a"], 3);
}
