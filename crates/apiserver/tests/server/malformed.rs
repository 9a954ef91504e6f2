//! Requests that are malformed, truncated, too deep, too large, or ask for nonsense: each is
//! answered with a `Status` that says why.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use resources::Verb;
use serde_json::{Value, json};

use crate::harness::{Answer, CONFIG_MAPS, Harness, PODS, config_map, pod};
use crate::mutation::fault;
use crate::random::{self, Random};
use crate::samples::collection;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const PATCHES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

async fn send(harness: &Harness, method: Method, url: &str, kind: &str, body: impl Into<Bytes>) -> Answer {
    let request = Request::builder().method(method).uri(url).header("content-type", kind);
    harness.send(request.body(Full::new(body.into())).expect("a request that can be sent")).await
}

/// The answer is a refusal with this code.
#[track_caller]
fn refused(what: &str, answer: &Answer, code: u16) {
    assert_eq!(answer.status, code, "{what}: {:?}", answer.body);
    assert_eq!(fault(answer), None, "{what}");
}

/// The answer is a refusal or a success, but no failure of the server's.
#[track_caller]
fn sane(what: &str, answer: &Answer) {
    assert!(answer.status < 500, "{what}: {} {:?}", answer.status, answer.body);
    if answer.status >= 400 {
        assert_eq!(fault(answer), None, "{what}");
    }
}

#[tokio::test]
async fn bodies_cut_short_are_refused() {
    let harness = Harness::start().await;
    harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let (whole, path) = (config_map("b").to_string(), format!("{CONFIG_MAPS}/a"));
    for end in 0..whole.len() {
        let cut = whole[..end].to_owned();
        let posted = send(&harness, Method::POST, CONFIG_MAPS, "application/json", cut.clone()).await;
        refused(&cut, &posted, 400);
        let put = send(&harness, Method::PUT, &path, "application/json", cut.clone()).await;
        refused(&cut, &put, 400);
        for kind in &PATCHES[..3] {
            refused(kind, &send(&harness, Method::PATCH, &path, kind, cut.clone()).await, 400);
        }
        let applied = format!("{path}?fieldManager=m");
        sane(&cut, &send(&harness, Method::PATCH, &applied, PATCHES[3], cut.clone()).await);
    }
    assert_eq!(harness.get(CONFIG_MAPS).await.ok()["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn depth_and_length_have_limits() {
    let harness = Harness::start().await;
    harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let path = format!("{CONFIG_MAPS}/a");
    let nested = |open: &str, close: &str, levels: usize| {
        format!("{{\"data\":{}1{}}}", open.repeat(levels), close.repeat(levels))
    };
    for levels in [101, 1_000, 100_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let body = nested(open, close, levels);
            let what = format!("{levels} of {open}");
            refused(
                &what,
                &send(&harness, Method::POST, CONFIG_MAPS, "application/json", body.clone()).await,
                400,
            );
            let yaml = format!("# no JSON\n{body}");
            refused(&what, &send(&harness, Method::POST, CONFIG_MAPS, "application/yaml", yaml).await, 400);
            for kind in PATCHES {
                let url = if kind == PATCHES[3] { format!("{path}?fieldManager=m") } else { path.clone() };
                refused(&what, &send(&harness, Method::PATCH, &url, kind, body.clone()).await, 400);
            }
        }
        let blocks: String = (0..levels.min(2_000)).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
        refused("blocks", &send(&harness, Method::POST, CONFIG_MAPS, "application/yaml", blocks).await, 400);
        let open_only = "[".repeat(levels);
        refused("open", &send(&harness, Method::POST, CONFIG_MAPS, "application/json", open_only).await, 400);
    }
    let huge = json!({"data": {"a": "x".repeat(4 * 1024 * 1024)}}).to_string();
    for kind in PATCHES {
        let url = format!("{path}?fieldManager=m");
        refused(kind, &send(&harness, Method::PATCH, &url, kind, huge.clone()).await, 413);
    }
    refused("PUT", &send(&harness, Method::PUT, &path, "application/json", huge.clone()).await, 413);
    refused("DELETE", &send(&harness, Method::DELETE, &path, "application/json", huge).await, 413);
    harness.get(&path).await.ok();
}

/// Anchors that expand to more than anyone can hold, and patches that grow what they patch.
#[tokio::test]
async fn small_bodies_cannot_become_large_objects() {
    let harness = Harness::start().await;
    harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let path = format!("{CONFIG_MAPS}/a");
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        let again = format!("*a{}, ", i - 1).repeat(10);
        laughs.push_str(&format!("a{i}: &a{i} [{again}]\n"));
    }
    refused("laughs", &send(&harness, Method::POST, CONFIG_MAPS, "application/yaml", laughs).await, 400);
    let copies: Vec<Value> =
        (0..60).map(|i| json!({"op": "copy", "from": "/data", "path": format!("/data/k{i}")})).collect();
    let copied = harness.patch(&path, PATCHES[0], &copies.into()).await;
    sane("copies", &copied);
    let many: Vec<Value> = vec![json!({"op": "test", "path": "/kind", "value": "ConfigMap"}); 10_001];
    sane("many", &harness.patch(&path, PATCHES[0], &many.into()).await);
    assert_eq!(harness.get(&path).await.ok()["data"], json!({"a": "1"}));
}

/// Comparing each item and each error with all others would take minutes here.
#[tokio::test]
async fn long_lists_are_judged_in_one_pass() {
    let harness = Harness::start().await;
    let mut body = pod("long");
    let constraint = |i: i64| json!({"topologyKey": format!("a{i}"), "whenUnsatisfiable": format!("b{i}")});
    body["spec"]["topologySpreadConstraints"] = (0..15_000).map(constraint).collect();
    let started = std::time::Instant::now();
    refused("constraints", &harness.post(PODS, &body).await, 422);
    let took = started.elapsed();
    assert!(took < std::time::Duration::from_secs(20), "{took:?}");
}

#[tokio::test]
async fn types_of_bodies_are_told_apart() {
    let harness = Harness::start().await;
    harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let path = format!("{CONFIG_MAPS}/a");
    for kind in ["text/plain", "application/json-patch+json", "image/png", "application/cbor", "x", "\u{e9}"]
    {
        refused(kind, &send(&harness, Method::POST, CONFIG_MAPS, kind, "{}").await, 415);
    }
    for kind in ["application/json", "", "application/yaml", "application/apply-patch", PROTOBUF] {
        refused(kind, &send(&harness, Method::PATCH, &path, kind, "{}").await, 415);
    }
    // Go takes null for what says nothing: here that a name is missing.
    refused("null", &send(&harness, Method::POST, CONFIG_MAPS, "application/json", "null").await, 422);
    for body in ["1", "\"a\"", "[]", "{\"kind\":1}", "{\"apiVersion\":[]}", "{\"metadata\":1}"] {
        refused(body, &send(&harness, Method::POST, CONFIG_MAPS, "application/json", body).await, 400);
    }
    for body in ["1", "{}", "[1]"] {
        refused(body, &send(&harness, Method::PATCH, &path, PATCHES[0], body).await, 400);
    }
    for body in ["[{}]", "[{\"op\":\"x\",\"path\":\"/a\"}]", "[{\"op\":\"add\"}]"] {
        refused(body, &send(&harness, Method::PATCH, &path, PATCHES[0], body).await, 422);
    }
    sane("null", &send(&harness, Method::PATCH, &path, PATCHES[0], "null").await);
    let missing = json!([{"op": "remove", "path": "/data/none/deeper"}]);
    refused("missing", &harness.patch(&path, PATCHES[0], &missing).await, 422);
    for body in ["a: b: c", "- a", "a: [", "\u{0}", "a: *b", "--- {}\n--- {}", "!!binary |\n  ="] {
        refused(body, &send(&harness, Method::POST, CONFIG_MAPS, "application/yaml", body).await, 400);
    }
    let options = send(&harness, Method::DELETE, &path, "application/json", "{\"kind\":\"Pod\"}").await;
    refused("options", &options, 400);
    let grace =
        send(&harness, Method::DELETE, &path, "application/json", "{\"gracePeriodSeconds\":\"x\"}").await;
    refused("grace", &grace, 400);
    harness.get(&path).await.ok();
}

#[tokio::test]
async fn protobuf_that_is_none_is_refused() {
    let harness = Harness::start().await;
    let whole: &[u8] = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\x0f\x0a\x05\x0a\x01a\x1a\x00\x12\x06\x0a\x01x\x12\x011";
    for end in 0..whole.len() {
        let cut = Bytes::from_static(&whole[..end]);
        sane("cut", &send(&harness, Method::POST, CONFIG_MAPS, PROTOBUF, cut).await);
    }
    let seed = random::seed();
    let rows = resources::builtin().rows().filter(|r| r.supports(Verb::Create) && r.question.is_none());
    for (turn, row) in (0..).zip(rows) {
        let url = format!("{}?dryRun=All", collection(row));
        for again in 0..24 {
            let mut random = Random::new(seed, turn * 1_000 + again);
            let mut body = whole.to_vec();
            if again % 2 == 0 {
                // Fields of any number and wire type, some long, some longer than the message.
                body = b"k8s\0\x0a\x00\x12\x7f".to_vec();
                body.extend((0..127).map(|_| random.byte()));
            } else {
                for _ in 0..=random.below(6) {
                    let at = 4 + random.below(body.len() - 4);
                    body[at] = random.byte();
                }
            }
            let answer = send(&harness, Method::POST, &url, PROTOBUF, body.clone()).await;
            assert!(answer.status < 500, "seed {seed}, {} {body:?}: {:?}", row.kind, answer.body);
        }
    }
}

#[tokio::test]
async fn parameters_that_mean_nothing_are_refused() {
    let harness = Harness::start().await;
    harness.post(PODS, &pod("p")).await.ok();
    let long = "x".repeat(50_000);
    for (query, code) in [
        ("limit=x", 400),
        ("limit=99999999999999999999", 400),
        ("limit=-1", 200),
        ("resourceVersion=x", 400),
        ("resourceVersion=-1", 400),
        ("resourceVersion=1&resourceVersionMatch=Sometimes", 422),
        ("resourceVersionMatch=Exact", 422),
        ("resourceVersion=0&resourceVersionMatch=Exact", 422),
        ("resourceVersion=99999999999999999999999", 400),
        ("continue=x", 400),
        ("continue=e30", 400),
        ("continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiYSJ9", 400),
        ("continue=%00&limit=1", 400),
        ("labelSelector=a%20in%20(", 400),
        ("labelSelector=%3D%3D", 400),
        ("labelSelector=a%3Db%3Dc", 400),
        ("labelSelector=a%20notin%20b", 400),
        ("labelSelector=!", 400),
        ("labelSelector=%F0%9F%98%80", 400),
        ("fieldSelector=spec.nothing%3Da", 400),
        ("fieldSelector=a", 400),
        ("fieldSelector=%3D%3D%3D", 400),
        ("watch=1&timeoutSeconds=x", 400),
        ("watch=1&resourceVersion=x", 400),
        ("watch=1&sendInitialEvents=true", 422),
        ("timeout=invalid", 400),
        ("timeout=1", 400),
        ("timeout=-1s", 200),
        ("timeout=2m", 200),
        ("%FF=%FE&%00", 200),
        (&format!("labelSelector={long}"), 400),
        (&format!("continue={long}"), 400),
        (&"a&".repeat(20_000), 200),
    ] {
        let answer = harness.get(&format!("{PODS}?{query}")).await;
        assert_eq!(answer.status, code, "{}: {:?}", &query[..query.len().min(80)], answer.body);
        assert_eq!(fault(&answer), None, "{query}");
    }
    let told = harness.get("/version?timeout=invalid").await.refused(400);
    assert_eq!(told, "invalid timeout specified in the request URL - time: invalid duration \"invalid\"");
    for (query, code) in [
        ("dryRun=Some", 422),
        ("fieldManager=%00", 422),
        ("fieldValidation=Perhaps", 422),
        ("force=true", 422),
    ] {
        let answer = harness.merge(&format!("{PODS}/p?{query}"), &json!({})).await;
        refused(query, &answer, code);
    }
    for query in ["gracePeriodSeconds=x", "propagationPolicy=Sometimes", "dryRun=x"] {
        let answer = harness.delete(&format!("{PODS}/p?{query}")).await;
        assert!(matches!(answer.status, 400 | 422), "{query}: {:?}", answer.body);
        assert_eq!(fault(&answer), None, "{query}");
    }
    harness.get(&format!("{PODS}/p")).await.ok();
}

#[tokio::test]
async fn paths_that_lead_nowhere_are_not_found() {
    let harness = Harness::start().await;
    let long = format!("/api/v1/namespaces/default/pods/{}", "x".repeat(20_000));
    let paths = [
        "/",
        "//",
        "/api",
        "/api/v2",
        "/api/v1/",
        "/api/v1//",
        "/api/v1/pods//",
        "/api/v1/nothing",
        "/apis/nothing/v1",
        "/apis/apps/v9/deployments",
        "/apis///",
        "/api/v1/namespaces//pods",
        "/api/v1/namespaces/%2E%2E/pods/x",
        "/api/v1/namespaces/default/pods/%2F",
        "/api/v1/namespaces/default/pods/a%00b",
        "/api/v1/namespaces/default/pods/%FF",
        "/api/v1/namespaces/default/pods/..%2f..%2fsecrets",
        "/api/v1/namespaces/default/pods/x/nothing",
        "/api/v1/namespaces/default/pods/x/log/more",
        "/api/v1/pods/x",
        "/api/v1/watch",
        "/api/v1/watch/nothing",
        "/openapi/v3/apis/nothing",
        "/metrics/x",
        "/healthz/nothing",
        "/../etc/passwd",
        "/%2e%2e/x",
        long.as_str(),
    ];
    for path in paths {
        for method in [Method::GET, Method::PUT, Method::POST, Method::PATCH, Method::DELETE, Method::OPTIONS]
        {
            let answer = send(&harness, method.clone(), path, "application/json", "{}").await;
            let what =
                format!("{method} {}: {} {:?}", &path[..path.len().min(80)], answer.status, answer.body);
            assert!(answer.status < 500, "{what}");
            if answer.status >= 400 {
                assert_eq!(fault(&answer), None, "{what}");
            }
        }
    }
    let odd = Method::from_bytes(b"BREW").expect("a token");
    refused("BREW", &send(&harness, odd, PODS, "application/json", "{}").await, 405);
    for accept in ["text/html", "application/json;as=Nothing;g=meta.k8s.io;v=v1", ";;;,,,q=", "*/*;q=0"] {
        refused(accept, &harness.get_as(PODS, accept).await, 406);
    }
}

/// Upstream's words (`k8s.io/apiserver/pkg/endpoints/handlers/patch.go`).
#[tokio::test]
async fn patches_that_cannot_be_read_or_applied_are_refused_in_upstreams_words() {
    let harness = Harness::start().await;
    harness.post(CONFIG_MAPS, &config_map("a")).await.ok();
    let url = format!("{CONFIG_MAPS}/a");
    let [json, merge, strategic] = ["json-patch", "merge-patch", "strategic-merge-patch"];
    let unapplied = "the server rejected our request due to an error in our request";
    let cases = [
        (json, r#"[{"op":"test","path":"/data/a","value":"2"}]"#, 422, unapplied),
        (json, r#"[{"op":"remove","path":"/metadata/annotations/none"}]"#, 422, unapplied),
        (json, r#"[{"op":"add","path":"/metadata/annotations/none","value":"x"}]"#, 422, unapplied),
        (json, r#"[{"op":"move","from":"/none","path":"/data/b"}]"#, 422, unapplied),
        (
            merge,
            "[]",
            400,
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
        ),
        (
            merge,
            "\"a\"",
            400,
            "error decoding patch: json: cannot unmarshal string into Go value of type map[string]interface {}",
        ),
        (strategic, "[]", 400, "json: cannot unmarshal array into Go value of type map[string]interface {}"),
        (
            merge,
            r#"{"data":{"a":7}}"#,
            422,
            r#" "" is invalid: patch: Invalid value: "MADE": json: cannot unmarshal number into Go struct field ConfigMap.data of type string"#,
        ),
        (
            json,
            r#"[{"op":"replace","path":"/data/a","value":7}]"#,
            422,
            r#" "" is invalid: patch: Invalid value: "MADE": json: cannot unmarshal number into Go struct field ConfigMap.data of type string"#,
        ),
        (
            strategic,
            r#"{"data":{"b":[true,null],"a":7}}"#,
            422,
            r#" "" is invalid: patch: Invalid value: "map[data:map[a:7 b:[true <nil>]]]": json: cannot unmarshal number into Go struct field ConfigMap.data of type string"#,
        ),
        (json, "{}", 400, "json: cannot unmarshal object into Go value of type jsonpatch.Patch"),
        (strategic, "7", 400, "json: cannot unmarshal number into Go value of type map[string]interface {}"),
    ];
    for (kind, body, code, message) in cases {
        let answer = send(&harness, Method::PATCH, &url, &format!("application/{kind}+json"), body).await;
        assert_eq!(without_made(&answer.refused(code)), message, "{kind} {body}");
    }
}

/// A message in which the object that a patch has made is not shown.
fn without_made(message: &str) -> String {
    let Some((before, rest)) = message.split_once("\"{") else { return message.to_owned() };
    let after = rest.rsplit_once("}\"").map_or("", |(_, after)| after);
    format!("{before}\"MADE\"{after}")
}
