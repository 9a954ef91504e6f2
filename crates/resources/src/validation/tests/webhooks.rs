//! Configurations of webhooks.

use super::*;

const VALIDATING: &str = "validatingwebhookconfigurations";

fn configuration(change: impl FnOnce(&mut Value)) -> Value {
    let mut hook = json!({
        "name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"service": {"namespace": "n", "name": "s"}},
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]});
    change(&mut hook);
    json!({"metadata": {"name": "x"}, "webhooks": [hook]})
}

#[track_caller]
fn check(change: impl FnOnce(&mut Value), expected: &[&str]) {
    assert_eq!(created(VALIDATING, &configuration(change)), expected);
}

#[test]
fn webhooks_say_what_they_are_asked_about() {
    check(|_| (), &[]);
    let rule = |key: &'static str, value: Value| move |hook: &mut Value| hook["rules"][0][key] = value;
    check(rule("operations", json!([])), &["webhooks[0].rules[0].operations: Required value"]);
    check(
        rule("operations", json!(["*", "MOVE"])),
        &[
            "webhooks[0].rules[0].operations: Invalid value: [\"*\",\"MOVE\"]: if '*' is present, must not specify other operations",
            "webhooks[0].rules[0].operations[1]: Unsupported value: \"MOVE\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"DELETE\", \"UPDATE\"",
        ],
    );
    check(rule("apiVersions", json!([""])), &["webhooks[0].rules[0].apiVersions[0]: Required value"]);
    check(
        rule("scope", json!("Here")),
        &[
            "webhooks[0].rules[0].scope: Unsupported value: \"Here\": supported values: \"*\", \"Cluster\", \"Namespaced\"",
        ],
    );
    check(rule("resources", json!(["*", "pods/status", "*/scale"])), &[]);
    check(
        rule("resources", json!(["pods/*", "pods/status"])),
        &[
            "webhooks[0].rules[0].resources[1]: Invalid value: \"pods/status\": if 'pods/*' is present, must not specify pods/status",
        ],
    );
    check(
        rule("resources", json!(["*/*", "a"])),
        &[
            "webhooks[0].rules[0].resources: Invalid value: [\"*/*\",\"a\"]: if '*/*' is present, must not specify other resources",
        ],
    );
    check(
        rule("resources", json!(["*", "pods"])),
        &[
            "webhooks[0].rules[0].resources: Invalid value: [\"*\",\"pods\"]: if '*' is present, must not specify other resources without subresources",
        ],
    );
}

#[test]
fn webhooks_say_where_they_are() {
    let url = |url: &'static str| move |hook: &mut Value| hook["clientConfig"] = json!({"url": url});
    check(url("https://example.com/a"), &[]);
    check(
        url("http://u@example.com/a?b=c"),
        &[
            "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
            "webhooks[0].clientConfig.url: Invalid value: \"u\": user information is not permitted in the URL",
            "webhooks[0].clientConfig.url: Invalid value: \"b=c\": query parameters are not permitted in the URL",
        ],
    );
    let path =
        |path: &'static str| move |hook: &mut Value| hook["clientConfig"]["service"]["path"] = path.into();
    check(path("/a/b-c/"), &[]);
    check(
        path("/a//b"),
        &["webhooks[0].clientConfig.service.path: Invalid value: \"/a//b\": segment[1] may not be empty"],
    );
    check(
        |hook| hook["clientConfig"]["service"] = json!({"port": 70000}),
        &[
            "webhooks[0].clientConfig.service.name: Required value: service name is required",
            "webhooks[0].clientConfig.service.namespace: Required value: service namespace is required",
            "webhooks[0].clientConfig.service.port: Invalid value: 70000: port is not valid: must be between 1 and 65535, inclusive",
        ],
    );
}

#[test]
fn what_was_wrong_before_may_stay() {
    let old = configuration(|hook| hook["sideEffects"] = "Some".into());
    let new = configuration(|hook| {
        hook["sideEffects"] = "Some".into();
        hook["timeoutSeconds"] = 5.into();
    });
    assert_eq!(updated(VALIDATING, &new, &old), [""; 0]);
    assert_eq!(
        updated(VALIDATING, &new, &configuration(|_| ())),
        [
            "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\""
        ]
    );
    let twice = |old: &Value| {
        let mut twice = old.clone();
        let hook = twice["webhooks"][0].clone();
        twice["webhooks"].as_array_mut().expect("a list").push(hook);
        twice
    };
    let twice = twice(&configuration(|_| ()));
    assert_eq!(created(VALIDATING, &twice), ["webhooks[1].name: Duplicate value: \"a.b.c\""]);
    assert_eq!(updated(VALIDATING, &twice, &twice), [""; 0]);
}
