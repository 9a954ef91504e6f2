//! Expressions that would take more time or memory than what they are charged.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::run;
use crate::{Budget, Extent, Inside, ObjectType, Program, Type, Value};

/// Far more than what any of these takes when it is stopped, far less than what they would take.
const LONG: Duration = Duration::from_secs(20);

static LARGE: LazyLock<Json> = LazyLock::new(|| {
    let text = "0123456789".repeat(300_000);
    let query: String = (0..200_000).map(|i| format!("k{i}=v&")).collect();
    let fields: serde_json::Map<String, Json> = (0..100_000).map(|i| (format!("k{i}"), json!(i))).collect();
    json!({"s": text, "u": format!("https://a.b/c?{query}"), "p": format!("/{}", "<".repeat(1_000_000)),
        "l": vec![1; 100_000], "o": fields.clone(), "q": fields, "t": vec![text.clone(); 20]})
});

fn ends(text: &str, wanted: &Result<String, String>) {
    let since = Instant::now();
    assert_eq!(&run(text, &Type::Dyn, &LARGE), wanted, "{text}");
    assert!(since.elapsed() < LONG, "{text}: {:?}", since.elapsed());
}

/// What is copied, made or walked through is charged before.
#[test]
fn what_is_made_is_charged() {
    for text in [
        "lists.range(50000).map(i, [self.l]).map(l, l.flatten()).size() > 0",
        "lists.range(50000).map(i, lists.range(20) + self.l).size() > 0",
        "lists.range(1000).map(i, '%x'.format([self.s])).size() > 0",
        "lists.range(1000).map(i, '%X'.format([self.s])).size() > 0",
        "lists.range(1000).map(i, '%X'.format([bytes(self.s)])).size() > 0",
        "lists.range(1000).map(i, '%s'.format([bytes(self.s)])).size() > 0",
        "lists.range(1000).map(i, '%s'.format([self.t])).size() > 0",
        "[url(self.u)].map(u, lists.range(1000).map(i, u.getQuery())).size() > 0",
        "[url(self.p)].map(u, lists.range(1000).map(i, u.getEscapedPath())).size() > 0",
        "[url(self.p)].map(u, lists.range(100000).map(i, u.getScheme())).size() > 0",
        "lists.range(1000).map(i, self.s).join().size() > 0",
        "lists.range(1000).map(i, self.s.split('0')).size() > 0",
        "lists.range(1000).map(i, self.s.split('')).size() > 0",
        "lists.range(1000).map(i, self.s.findAll('')).size() > 0",
        "lists.range(1000).map(i, self.s.replace('9', '0')).size() > 0",
        "self.o.all(k, v, self.o == self.q)",
        "lists.range(200000).transformMap(i, v, v).all(k, v, {1: 1}[1] == 1) && \
         [lists.range(100000).transformMap(i, v, v)].all(m, m.all(k, v, m[k] == v))",
        "cel.bind(a, [self.l, self.l], cel.bind(b, [a, a, a, a], cel.bind(c, [b, b, b, b], cel.bind(d, [c, c, c, c], d == d))))",
    ] {
        ends(text, &Err("spent".to_owned()));
    }
}

/// What is only looked at is neither copied nor walked through, however large it is.
#[test]
fn what_is_not_made_is_free() {
    for text in [
        "lists.range(50000).map(i, [self.l]).size() == 50000",
        "lists.range(50000).map(i, self.s).size() == 50000",
        "lists.range(20000).all(i, self.l != [i] && self.o != {'a': 1} && 1 in self.l)",
        "lists.range(20000).all(i, self.l.exists(x, x == 1) && self.o.exists(k, v, v == 0))",
        "self.o == self.q && lists.range(50000).transformMap(i, v, v) == lists.range(50000).transformMap(i, v, v)",
        "url(self.u).getQuery().size() == 200000",
        "url(self.p).getEscapedPath().size() == 3000001",
    ] {
        ends(text, &Ok("Bool(true)".to_owned()));
    }
    // Nothing inside is copied either, but reading each list's length counts.
    ends("lists.range(50000).map(i, self.l).flatten(0).size() > 0", &Ok("Bool(true)".to_owned()));
}

/// However many steps there are, an evaluation makes no more than so many bytes, and the next one begins anew.
#[test]
fn the_bytes_of_an_evaluation_are_limited() {
    let (of, small) = (Type::Dyn, json!({"s": "0123456789".repeat(100_000)}));
    let evaluate = |text: &str, budget: &mut Budget| {
        let program = Program::compile(text, &[("self", &of)]).unwrap_or_else(|why| panic!("{why}"));
        program.run(&[Value::read(&small, &of)], budget).map(|value| format!("{value:?}"))
    };
    let mut budget = Budget::steps(1_000_000_000);
    for text in [
        "lists.range(4).map(i, '%x'.format([self.s])).size() == 4",
        "lists.range(1000000).size() == 1000000",
        "lists.range(3).map(i, self.s + self.s).size() == 3",
    ] {
        assert!(evaluate(text, &mut budget).is_ok(), "{text}");
        assert!(evaluate(text, &mut budget).is_ok(), "{text}, a second time");
    }
    for text in [
        "lists.range(1000).map(i, '%x'.format([self.s])).size() > 0",
        "lists.range(1000).map(i, self.s + self.s).size() > 0",
        "lists.range(1000).map(i, lists.range(100000)).size() > 0",
        "lists.range(5000000).size() > 0",
        "lists.range(1000).map(i, self.s.upperAscii()).size() > 0",
    ] {
        let mut budget = Budget::steps(1_000_000_000);
        assert!(evaluate(text, &mut budget).is_err(), "{text}");
        assert!(budget.is_spent(), "{text}");
    }
}

/// What a function makes of values that are given to it counts in estimates too.
#[test]
fn estimates_count_what_is_made() {
    let field = |most, items: Option<Extent>| {
        let inside = items.map_or(Inside::Nothing, |items| Inside::Items(Box::new(items)));
        Extent { most, inside }
    };
    let numbers = || field(1000, Some(Extent::default()));
    let fields = [
        ("s", Type::String, field(3_000_000, None)),
        ("l", Type::list(Type::Int), numbers()),
        ("ll", Type::list(Type::list(Type::Int)), field(1000, Some(numbers()))),
        ("few", Type::list(Type::list(Type::Int)), field(10, Some(field(10, Some(Extent::default()))))),
    ];
    let types = fields.iter().map(|(name, of, _)| ((*name).to_owned(), of.clone())).collect();
    let of = Type::Object(Arc::new(ObjectType { fields: types }));
    let extents = fields.iter().map(|(name, _, extent)| ((*name).to_owned(), extent.clone())).collect();
    let extent = Extent { most: 0, inside: Inside::Fields(extents) };
    let cost = |text: &str| {
        let program = Program::compile(text, &[("self", &of)]).unwrap_or_else(|why| panic!("{text}: {why}"));
        program.worst_cost(&[&of], &extent)
    };
    for (text, range) in [
        ("'%x'.format([self.s]).size() > 0", 300_000..301_000),
        ("'%d'.format([1]).size() > 0", 1..50),
        ("lists.range(1000).map(i, '%x'.format([self.s])).size() > 0", 300_000_000..301_000_000),
        ("self.few.flatten().size() > 0", 100..200),
        ("self.ll.flatten().size() > 0", 1_000_000..1_010_000),
        ("lists.range(50000).map(i, self.l).flatten().size() > 0", 50_000_000..52_000_000),
        ("lists.range(50000).map(i, self.l).flatten(0).size() > 0", 50_000..2_000_000),
    ] {
        assert!(range.contains(&cost(text)), "{text}: {}", cost(text));
    }
}
