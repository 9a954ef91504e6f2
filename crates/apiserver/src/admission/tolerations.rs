//! Lists of tolerations, as JSON (upstream: `pkg/util/tolerations`).

use serde_json::Value;

/// Both lists, without those that another covers.
pub(super) fn merged(first: &[Value], second: &[Value]) -> Vec<Value> {
    let mut kept: Vec<Value> = Vec::new();
    let all: Vec<&Value> = first.iter().chain(second).collect();
    for (i, toleration) in all.iter().enumerate() {
        let covered = kept.iter().any(|held| covers(held, toleration))
            || all[i + 1..].iter().any(|later| *later != *toleration && covers(later, toleration));
        if !covered {
            kept.push((*toleration).clone());
        }
    }
    kept
}

/// Whether what `second` tolerates, `first` tolerates too.
pub(super) fn covers(first: &Value, second: &Value) -> bool {
    let text = |toleration: &'_ Value, field: &str| {
        toleration.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let operator = |toleration| match text(toleration, "operator") {
        empty if empty.is_empty() => "Equal".to_owned(),
        given => given,
    };
    if !text(first, "key").is_empty() && text(first, "key") != text(second, "key") {
        return false;
    }
    if text(first, "key").is_empty() && operator(first) != "Exists" {
        return false;
    }
    if !text(first, "effect").is_empty() && text(first, "effect") != text(second, "effect") {
        return false;
    }
    if text(first, "effect") == "NoExecute" {
        let lasting = |toleration: &Value| toleration.get("tolerationSeconds").and_then(Value::as_i64);
        let shorter = match (lasting(first), lasting(second)) {
            (Some(first), Some(second)) => first < second,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if shorter {
            return false;
        }
    }
    match operator(first).as_str() {
        "Exists" => true,
        "Equal" => operator(second) == "Equal" && text(first, "value") == text(second, "value"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tolerations_that_others_cover_are_left_out() {
        let t = |key: &str, operator: &str, value: &str, effect: &str| json!({"key": key, "operator": operator, "value": value, "effect": effect});
        let seconds =
            |s: i64| json!({"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": s});
        assert_eq!(merged(&[seconds(10)], &[seconds(20)]), [seconds(20)]);
        assert_eq!(merged(&[seconds(20)], &[seconds(10)]), [seconds(20)]);
        let (all, one) = (t("", "Exists", "", ""), t("k", "Equal", "v", "NoSchedule"));
        assert_eq!(merged(std::slice::from_ref(&one), std::slice::from_ref(&all)), [all]);
        assert_eq!(merged(std::slice::from_ref(&one), std::slice::from_ref(&one)), [one]);
    }
}
