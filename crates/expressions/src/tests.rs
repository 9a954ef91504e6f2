mod libraries;
mod limits;

use serde_json::{Value as Json, json};

use crate::{Budget, Fault, Program, Type, Value};

fn run(text: &str, of: &Type, json: &Json) -> Result<String, String> {
    let program = Program::compile(text, &[("self", of)]).map_err(|rejected| rejected.to_string())?;
    let values = [Value::read(json, of)];
    match program.run(&values, &mut Budget::steps(1_000_000)) {
        Ok(value) => Ok(format!("{value:?}")),
        Err(Fault::Spent) => Err("spent".to_owned()),
        Err(Fault::Failed(what)) => Err(what),
    }
}

fn object() -> Json {
    json!({"name": "web", "n": 3, "d": 1.5, "none": null, "tags": ["b", "a"], "labels": {"app": "x", "a.b/c": "y"},
        "parts": [{"name": "a", "size": 1}, {"name": "b", "size": 2}]})
}

/// Expressions that hold.
#[test]
fn what_holds() {
    let object = object();
    for text in [
        "self.n == 3 && self.n < 4 && self.n + 1 == 4 && 7 / 2 == 3 && 7 % 2 == 1 && -self.n == -3",
        "self.d > 1 && self.d * 2.0 == 3.0 && self.n < 3.5",
        "has(self.n) && !has(self.missing)",
        "!has(self.missing) || self.missing > 1",
        "self.missing > 1 || true",
        "true || self.missing > 1",
        "self.none == null",
        "self.parts.all(p, p.size > 0) && self.parts.exists(p, p.name == 'b') && self.parts.exists_one(p, p.size == 2)",
        "self.parts.map(p, p.name) == ['a', 'b'] && self.parts.filter(p, p.size > 1).size() == 1",
        "self.parts.map(p, p.size > 1, p.name) == ['b']",
        "self.parts.all(i, p, p.size == i + 1)",
        "self.labels.all(k, k.size() > 0) && 'app' in self.labels && self.labels['a.b/c'] == 'y'",
        "self.labels.transformMap(k, v, v + '!')['app'] == 'x!'",
        "self.tags.sort() == ['a', 'b'] && !self.tags.isSorted() && self.tags.join('-') == 'b-a' && 'a' in self.tags",
        "[1, 2, 3].sum() == 6 && [1, 3, 2].max() == 3 && [1, 1].distinct() == [1] && [1, 2, 3].slice(0, 2) == [1, 2]",
        "'abc'.substring(1) == 'bc' && 'a,b'.split(',') == ['a', 'b'] && 'Ab'.lowerAscii() == 'ab' && ' a '.trim() == 'a'",
        "'abc'.replace('b', 'x') == 'axc' && 'abcb'.lastIndexOf('b') == 3 && 'abc'.charAt(1) == 'b'",
        "'a1b2'.findAll('[0-9]') == ['1', '2'] && 'abc'.matches('^[a-c]+$') && 'x1'.find('[0-9]') == '1'",
        "'%s has %d of %.2f'.format(['a', 2, 1.5]) == 'a has 2 of 1.50'",
        "'\\u00e9' == 'é' && r'\\d' == '\\\\d' && \"\"\"a'b\"\"\" == \"a'b\"",
        "self.?missing.orValue('d') == 'd' && self.?name.hasValue() && optional.of(1).optMap(x, x + 1).value() == 2",
        "cel.bind(x, self.n * 2, x + x == 12)",
        "quantity('1Gi').isGreaterThan(quantity('1000Mi')) && isQuantity('100m') && !isQuantity('x')",
        "ip('10.0.0.1').family() == 4 && cidr('10.0.0.0/8').containsIP('10.1.2.3') && !isIP('x')",
        "url('https://a.b:8080/c?d=1').getHostname() == 'a.b' && url('https://a.b:8080/c').getPort() == '8080'",
        "duration('1h') > duration('5m') && duration('90s').getMinutes() == 1",
        "timestamp('2026-01-02T03:04:05Z').getFullYear() == 2026 && timestamp('2026-01-02T00:00:00Z') + duration('24h') == timestamp('2026-01-03T00:00:00Z')",
        "int('3') + 1 == 4 && string(3) == '3' && double(1) == 1.0 && type(1) == int && bool('true')",
        "sets.contains([1, 2], [1]) && sets.equivalent([1, 2], [2, 1, 1]) && !sets.intersects([1], [2])",
        "(self.n > 2 ? 'big' : 'small') == 'big' && {'a': 1}.a == 1 && {'a': 1}['a'] == 1",
        "size('é') == 1 && b'abc'.size() == 3 && 2u + 3u == 5u && 0x10 == 16 && -9223372036854775808 < 0",
        "self.parts[1].name == 'b' // a comment",
    ] {
        assert_eq!(run(text, &Type::Dyn, &object), Ok("Bool(true)".to_owned()), "{text}");
    }
}

/// Expressions without a value.
#[test]
fn what_fails() {
    let object = object();
    for (text, what) in [
        ("self.missing", "no such key: missing"),
        ("self.tags[7] == 'a'", "index out of bounds: 7"),
        ("1 / 0 == 1", "division by zero"),
        ("9223372036854775807 + 1 > 0", "integer overflow"),
        ("int('x') == 1", "type conversion error from 'string' to 'int'"),
        ("self.name + self.n == 'a'", "no such overload"),
        ("'a'.matches(dyn('('))", "regex parse error:\n    (\n    ^\nerror: unclosed group"),
    ] {
        assert_eq!(run(text, &Type::Dyn, &object), Err(what.to_owned()), "{text}");
    }
}

/// Expressions that cannot be, and what upstream's compiler says of them.
#[test]
fn what_is_rejected() {
    for (text, what) in [
        (
            "nothing > 1",
            "ERROR: <input>:1:1: undeclared reference to 'nothing' (in container '')\n | nothing > 1\n | ^",
        ),
        (
            "1 +",
            "ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting an expression\n | 1 +\n | ...^",
        ),
        (
            "'a' > 1",
            "ERROR: <input>:1:5: found no matching overload for '_>_' applied to '(string, int)'\n | 'a' > 1\n | ....^",
        ),
        (
            "'a'.size(1)",
            "ERROR: <input>:1:9: found no matching overload for 'size' applied to 'string.(int)'\n | 'a'.size(1)\n | ........^",
        ),
        (
            "nope(1)",
            "ERROR: <input>:1:5: undeclared reference to 'nope' (in container '')\n | nope(1)\n | ....^",
        ),
        ("1 1", "ERROR: <input>:1:3: Syntax error: extraneous input '1' expecting <EOF>\n | 1 1\n | ..^"),
    ] {
        assert_eq!(run(text, &Type::Dyn, &Json::Null), Err(what.to_owned()), "{text}");
    }
    assert!(run(&format!("{}1{}", "(".repeat(5000), ")".repeat(5000)), &Type::Dyn, &Json::Null).is_err());
    assert!(run(&"!".repeat(50_000), &Type::Dyn, &Json::Null).is_err());
}

/// Any expression ends, whatever it is given.
#[test]
fn what_is_too_much_is_stopped() {
    let list: Vec<u32> = (0..300).collect();
    for text in [
        "self.all(a, self.all(b, self.all(c, a + b + c >= 0)))",
        "self.map(a, self.map(b, self)).size() > 0 && self.all(a, self.all(b, self == self))",
        "self.map(a, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa').map(s, self.map(t, s + s + s + s).join('').matches('(a*)*b')).size() > 0",
    ] {
        assert_eq!(run(text, &Type::Dyn, &json!(list)), Err("spent".to_owned()), "{text}");
    }
}

/// What a change makes, as JSON, and what its names are.
fn made(text: &str) -> Result<Json, String> {
    let object = object();
    let program =
        Program::compile_making(text, &[("self", &Type::Dyn)]).map_err(|rejected| rejected.to_string())?;
    let values = [Value::read(&object, &Type::Dyn)];
    let value = program.run(&values, &mut Budget::steps(1_000_000)).map_err(|fault| format!("{fault:?}"))?;
    if let Value::Made(made) = &value {
        made.check_type_names()?;
    }
    value.to_json(10_000, 20)
}

/// Objects that expressions make.
#[test]
fn what_is_made() {
    for (text, json) in [
        ("Object{}", json!({})),
        (
            "Object{spec: Object.spec{n: self.n + 1, d: 2.0, tags: self.tags, l: {'a': 'b'}}}",
            json!({"spec": {"n": 4, "d": 2, "tags": ["b", "a"], "l": {"a": "b"}}}),
        ),
        (
            "Object{c: [Object.c{name: 'x'}], at: timestamp('2026-01-02T00:00:00Z')}",
            json!({"c": [{"name": "x"}], "at": "2026-01-02T00:00:00Z"}),
        ),
        (
            "Object{?a: optional.none(), ?b: optional.of(1), c: [?optional.none(), 2], d: {?'e': self.?name}}",
            json!({"b": 1, "c": [2], "d": {"e": "web"}}),
        ),
        ("Object{?spec: optional.ofNonZeroValue(Object.spec{?n: Object{}.?n})}", json!({})),
        (
            "[JSONPatch{op: 'add', path: '/a/' + jsonpatch.escapeKey('k8s.io/x~y'), value: {}}]",
            json!([{"op": "add", "path": "/a/k8s.io~1x~0y", "value": {}}]),
        ),
        (
            "{'a': Object{f: 1}.f == 1, 'b': has(Object{}.f), 'c': Object{f: 'x'} == Object{f: 'x'}, 'd': Object{f: 'x'} == Object{f: 'y'}}",
            json!({"a": true, "b": false, "c": true, "d": false}),
        ),
        (
            "[JSONPatch{op: 'x'}.op, JSONPatch{}.path, string(has(JSONPatch{}.op)), string(has(JSONPatch{value: 1}.value)), \
             string(JSONPatch{op: 'a', value: 1} == JSONPatch{op: 'a', value: 1})]",
            json!(["x", "", "false", "true", "true"]),
        ),
        ("[duration('90m'), duration('-1s') + duration('500ms')]", json!(["5400s", "-0.5s"])),
    ] {
        assert_eq!(made(text), Ok(json), "{text}");
    }
    for (text, why) in [
        (
            "Object{spec: Object.specx{}}",
            "unexpected type name \"Object.specx\", expected \"Object.spec\", which matches field name path from root Object type",
        ),
        ("Invalid{}", "undeclared reference to 'Invalid' (in container '')"),
        ("JSONPatch{op: 'x', odd: 1}", "undefined field 'odd'"),
        (
            "JSONPatch{op: 'move', from: 1}",
            "expected type of field 'from' is 'string' but provided type is 'int'",
        ),
        ("JSONPatch{op: self.n}", "unexpected type int for JSONPatchType 'op' field"),
        ("Object{?a: 1}", "expected type 'optional_type(int)' but found 'int'"),
        ("Object{?a: self.n}", "cannot initialize optional field from non-optional value of type int"),
        ("Object{a: {1: 2}}", "map key is of type int, not string"),
        ("Object{a: quantity('1')}", "a value of type kubernetes.Quantity has no JSON"),
        (
            "cel.bind(a, [self, self, self, self, self, self], cel.bind(b, [a, a, a, a, a, a], [b, b, b, b, b, b]))",
            "the value is too large",
        ),
        ("[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]", "the value nests too deep"),
        ("Object{a: 1", "Syntax error"),
        ("Object{a 1}", "Syntax error"),
        ("self.n{}", "undeclared reference to 'self.n'"),
    ] {
        let error = made(text).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
}
