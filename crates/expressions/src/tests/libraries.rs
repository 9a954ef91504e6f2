//! The libraries that upstream's environment has (`k8s.io/apiserver/pkg/cel/environment/base.go`), with the values of
//! upstream's own tests.

use serde_json::Value as Json;

use super::run;
use crate::Type;

fn holds(texts: &[&str]) {
    for text in texts {
        assert_eq!(run(text, &Type::Dyn, &Json::Null), Ok("Bool(true)".to_owned()), "{text}");
    }
}

fn fails(texts: &[(&str, &str)]) {
    for (text, what) in texts {
        let error = run(text, &Type::Dyn, &Json::Null).expect_err(text);
        assert!(error.contains(what), "{text}: {error}");
    }
}

#[test]
fn formats() {
    holds(&[
        "!format.dns1123Label().validate('my-name').hasValue()",
        "format.dns1123Label().validate('contains a space').value()[0].startsWith('a lowercase RFC 1123 label must')",
        "format.named('dns1123Subdomain').value().validate('Upper').hasValue()",
        "!format.named('unknown').hasValue() && format.named('uuid').hasValue()",
        "!format.dns1123LabelPrefix().validate('prefix-').hasValue() && format.dns1123Label().validate('prefix-').hasValue()",
        "!format.dns1123SubdomainPrefix().validate('a.b-').hasValue() && !format.dns1035LabelPrefix().validate('a-').hasValue()",
        "format.dns1035Label().validate('1a').hasValue() && !format.qualifiedName().validate('k8s.io/v1').hasValue()",
        "format.labelValue().validate('-').hasValue() && !format.labelValue().validate('').hasValue()",
        "!format.uri().validate('http://example.com').hasValue() && format.uri().validate('').value() == ['parse \"\": empty url']",
        "format.uuid().validate('x').value() == ['does not match the UUID format']",
        "format.byte().validate('?').value() == ['invalid base64'] && !format.byte().validate('aGVsbG8=').hasValue()",
        "format.date().validate('2021-13-01').value() == ['invalid date'] && !format.date().validate('2021-01-01').hasValue()",
        "format.datetime().validate('x').value() == ['invalid datetime'] && !format.datetime().validate('2021-01-01T00:00:00Z').hasValue()",
        "format.dns1123Label() == format.named('dns1123Label').value() && format.uuid() != format.byte()",
    ]);
    fails(&[
        ("format.other()", "undeclared reference to 'format.other'"),
        ("format.uuid('a')", "found no matching overload for 'format.uuid' applied to '(string)'"),
        ("format.uuid().validate(1)", "found no matching overload for 'validate'"),
    ]);
}

#[test]
fn versions() {
    holds(&[
        "semver('1.2.3').major() == 1 && semver('1.2.3').minor() == 2 && semver('1.2.3').patch() == 3",
        "isSemver('1.0.0') && !isSemver('v1.0') && !isSemver('1.0') && !isSemver('hello') && !isSemver('01.0.0')",
        "isSemver('v1.0', true) && isSemver('01.01.01', true) && !isSemver('1.0-x', true)",
        "semver('v1.0.0', true) == semver('1.0.0') && semver('01.01.01', true) == semver('1.1.1') && semver('1', true) == semver('1.0.0')",
        "semver('1.2.3').compareTo(semver('2.0.0')) == -1 && semver('1.2.3').compareTo(semver('1.2.3+b')) == 0",
        "semver('1.2.3-alpha').isLessThan(semver('1.2.3')) && semver('1.10.0').isGreaterThan(semver('1.9.0'))",
        "type(semver('1.0.0')) == kubernetes.Semver",
    ]);
    fails(&[
        ("semver('200K')", "No Major.Minor.Patch elements found"),
        ("semver('01.0.0')", "Major number must not contain leading zeroes \"01\""),
        ("semver('1.x.0')", "Invalid character(s) found in minor number \"x\""),
        ("semver('1.0-x', true)", "short version cannot contain PreRelease/Build meta data"),
        ("semver('')", "Version string empty"),
        ("semver(1)", "found no matching overload for 'semver' applied to '(int)'"),
    ]);
}

#[test]
fn lists() {
    holds(&[
        "[1, 2, 2, 3, 3, 3].distinct() == [1, 2, 3] && lists.range(4) == [0, 1, 2, 3] && [5, 3, 1].reverse() == [1, 3, 5]",
        "[[1], [2, 3]].flatten() == [1, 2, 3] && [dyn(1), dyn([dyn(2), dyn([3, 4])])].flatten(1) == [dyn(1), dyn(2), dyn([3, 4])]",
        "[dyn(1), dyn([dyn(2), dyn([dyn(3), dyn([4])])])].flatten(2) == [dyn(1), dyn(2), dyn(3), dyn([4])] && [[1]].flatten(0) == [[1]]",
        "[3, 2, 1].sort() == [1, 2, 3] && ['b', 'a'].sort() == ['a', 'b'] && [].sort() == []",
        "[{'n': 3, 's': 2}, {'n': 4, 's': 1}].sortBy(e, e.s).map(e, e.n) == [4, 3]",
        "[1, 2, 3].sortBy(e, -e).sortBy(x, x) == [1, 2, 3] && ['bb', 'a'].sortBy(e, size(e)) == ['a', 'bb']",
        "[1, 2, 3].first().value() == 1 && [1, 2].last().value() == 2 && ![].first().hasValue()",
        "[optional.of(1), optional.none()].unwrapOpt() == [1] && optional.unwrap([optional.of('a')]) == ['a']",
    ]);
    fails(&[
        ("[1].slice(-1, 1)", "cannot slice(-1, 1), negative indexes not supported"),
        ("[1].slice(1, 0)", "cannot slice(1, 0), start index must be less than or equal to end index"),
        ("[1].slice(0, 2)", "cannot slice(0, 2), list is length 1"),
        ("[[1]].flatten(-1)", "level must be non-negative"),
        ("lists.range(-1)", "lists.range: size must be non-negative, got -1"),
        ("lists.range(2000000)", "spent"),
        ("[dyn(1), 'b'].sort()", "list elements must have the same type"),
        ("[[1]].sort()", "list elements must be comparable"),
        ("[1].flatten()", "found no matching overload for 'flatten' applied to 'list(int).()'"),
        ("[1, 'a']", "expected type 'int' but found 'string'"),
        ("{'a': 1, 'b': 'c'}", "expected type 'int' but found 'string'"),
        ("[1, 2].join(',')", "found no matching overload for 'join'"),
    ]);
}

#[test]
fn comprehensions_with_two_variables() {
    holds(&[
        "[1, 2, 3].all(i, v, i < v) && [1, 2].exists(i, v, i == 1 && v == 2) && [1, 1, 2].existsOne(i, v, i == 2 && v == 2)",
        "{'a': 1}.all(k, v, k == 'a' && v == 1) && {'a': 1, 'b': 2}.exists_one(k, v, v == 2)",
        "[1, 2, 3].transformList(i, v, i * v + v) == [1, 4, 9] && [1, 2, 3].transformList(i, v, i % 2 == 0, v) == [1, 3]",
        "[1, 2, 3].transformMap(i, v, i * v) == {0: 0, 1: 2, 2: 6} && {'a': 1, 'b': 9}.transformMap(k, v, v < 5, v + 1) == {'a': 2}",
        "{'greeting': 'hello'}.transformMapEntry(k, v, {v: k}) == {'hello': 'greeting'}",
        "[1, 2, 3].transformMapEntry(i, v, v > 1, {v: i}) == {2: 1, 3: 2}",
    ]);
    fails(&[
        ("{'a': 'x', 'b': 'x'}.transformMapEntry(k, v, {v: k})", "insert failed: key x already exists"),
        ("[1].transformMapEntry(i, v, v)", "found no matching overload for 'cel.@mapInsert'"),
        ("[1].all(1, v, true)", "argument must be a simple name"),
    ]);
}

#[test]
fn addresses() {
    holds(&[
        "ip('192.168.0.1').isGlobalUnicast() && ip('224.0.0.1').isLinkLocalMulticast() && ip('169.254.169.254').isLinkLocalUnicast()",
        "ip('fe80::1').isLinkLocalUnicast() && ip('ff02::1').isLinkLocalMulticast() && ip('::').isUnspecified() && ip('::1').isLoopback()",
        "!ip('127.0.0.1').isGlobalUnicast() && !ip('255.255.255.255').isGlobalUnicast() && !ip('224.0.0.1').isGlobalUnicast()",
        "ip.isCanonical('2001:db8::abcd') && !ip.isCanonical('2001:DB8::ABCD') && string(ip('::1')) == '::1'",
        "!isIP('::ffff:1.2.3.4') && !isIP('fe80::1%eth0') && type(ip('::1')) == net.IP",
        "cidr('192.168.0.0/24').containsCIDR('192.168.0.0/25') && !cidr('192.168.0.0/24').containsCIDR(cidr('192.168.0.0/23'))",
        "cidr('192.168.0.1/24').masked() == cidr('192.168.0.0/24') && string(cidr('2001:db8:1::/32').masked()) == '2001:db8::/32'",
        "!cidr('192.168.0.0/24').containsIP('::1') && type(cidr('::/0')) == net.CIDR && !isCIDR('10.0.0.0/08') && isCIDR('::/0')",
        "url('https://a.b/c?k=1&k=2&l=x%20y').getQuery() == {'k': ['1', '2'], 'l': ['x y']}",
        "url('https://example.com/path with spaces/').getEscapedPath() == '/path%20with%20spaces/'",
    ]);
    fails(&[
        (
            "ip('x')",
            "IP Address \"x\" parse error during conversion from string: ParseAddr(\"x\"): unable to parse IP",
        ),
        ("ip('::ffff:1.2.3.4')", "IPv4-mapped IPv6 address \"::ffff:1.2.3.4\" is not allowed"),
        ("ip('fe80::1%eth0')", "IP address \"fe80::1%eth0\" with zone value is not allowed"),
        (
            "cidr('192.168.0.0/')",
            "network address parse error during conversion from string: network address parse error during conversion \
             from string: netip.ParsePrefix(\"192.168.0.0/\"): bad bits after slash: \"\"",
        ),
    ]);
}

#[test]
fn quantities() {
    holds(&[
        "quantity('50k').add(quantity('20k')) == quantity('70k') && quantity('50k').sub(20000) == quantity('30k')",
        "quantity('50k').add(20) == quantity('50020') && quantity('-1').sign() == -1 && quantity('0').sign() == 0",
        "quantity('50000000G').isInteger() && !quantity('50m').isInteger() && quantity('50k').asInteger() == 50000",
        "quantity('50.703k').asApproximateFloat() == 50703.0 && quantity('1').compareTo(quantity('2')) == -1",
    ]);
    fails(&[
        ("quantity('9999999999999999999999999999999999999G').asInteger()", ""),
        ("quantity('1m').asInteger()", "cannot convert value to integer"),
    ]);
}

#[test]
fn texts() {
    holds(&[
        r#"strings.quote('a"b\n') == '"a\\"b\\n"' && 'hello mellow'.lastIndexOf('ello', 6) == 1 && 'tacocat'.charAt(7) == ''"#,
        r#"'%s'.format([['abc', 3.14, null, [9, 8], duration('2h')]]) == '["abc", 3.140000, null, [9, 8], duration("7200s")]'"#,
        r#"'%s'.format([{'b': 1, 'a': 2}]) == '{"a": 2, "b": 1}' && '%x %X %o %b'.format([-255, 'hi', 8, true]) == '-ff 6869 10 1'"#,
        "'aaaa'.lastIndexOf('aa', 1) == 1 && 'aaaa'.lastIndexOf('aa') == 2 && 'aaaa'.lastIndexOf('aa', 9) == -1 && 'éaé'.lastIndexOf('é', 1) == 0",
        "'aaa'.lastIndexOf('aa', 2) == 1 && 'aé'.lastIndexOf('aé', 1) == 0 && 'ab'.lastIndexOf('abc', 1) == -1 && ''.lastIndexOf('a') == -1",
        "'abcb'.indexOf('b', 2) == 3 && 'ab'.indexOf('b', 2) == -1 && 'ab'.indexOf('b', 7) == -1 && 'ab'.indexOf('', 7) == 7 && ''.indexOf('a') == -1",
        "'ab'.lastIndexOf('') == 2 && 'ab'.lastIndexOf('', 1) == 1 && 'ab'.lastIndexOf('b', 2) == -1",
        "'%.6e'.format([1052.032911275]) == '1.052033\u{202f}×\u{202f}10⁰³' && '%s%%'.format([1.5]) == '1.5%'",
        "timestamp('2026-01-02T23:30:00Z').getHours('+02:00') == 1 && timestamp('2026-07-01T00:00:00Z').getHours('America/New_York') == 20",
    ]);
    fails(&[
        (
            "'%d'.format(['a'])",
            "error during formatting: decimal clause can only be used on integers, was given string",
        ),
        ("'%s %s'.format(['a'])", "index 1 out of range"),
        ("'%s'.format(['a', 'b'])", "too many arguments supplied to string.format (expected 1, got 2)"),
        ("'%z'.format(['a'])", "unrecognized formatting clause \"z\""),
        ("'abc'.substring(2, 1)", "invalid substring range. start: 2, end: 1"),
        ("'abc'.indexOf('a', -1)", "index out of range: -1"),
        ("'abc'.lastIndexOf('a', -1)", "index out of range: -1"),
        ("'abc'.charAt(9)", "index out of range: 9"),
        ("'abc'.reverse()", "found no matching overload for 'reverse' applied to 'string.()'"),
        ("duration('1x') > duration('1s')", "invalid duration argument"),
        ("timestamp('x') == timestamp('x')", "invalid timestamp argument"),
        ("'a'.matches('(')", "invalid matches argument"),
        ("timestamp('2026-01-02T23:30:00Z').getHours('Nowhere/At')", "unknown time zone Nowhere/At"),
    ]);
}
