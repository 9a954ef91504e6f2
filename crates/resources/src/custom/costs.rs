//! [`Costs`]: what the rules of a definition's version cost at most, together and each for itself. Source: upstream's
//! `apiextensions-apiserver/pkg/apis/apiextensions/validation/{validation,cel_validation}.go`.

use api::field::{ErrorList, FieldError, Path};
use serde_json::Value;

use super::extents::REQUEST_BYTES;

/// The most that an expression may cost for all values of an object that it judges.
const EXPRESSION_LIMIT: u64 = 10_000_000;
/// The most that all expressions of a schema may cost together.
const SCHEMA_LIMIT: u64 = 100_000_000;
/// How many of the most expensive expressions are named.
const NAMED: usize = 4;

/// How often a value of a part of the schema can be in an object; `None` where the schema sets no limit.
pub(crate) type Often = Option<u64>;

/// The costs of a schema's expressions.
#[derive(Debug, Default)]
pub(crate) struct Costs {
    total: u64,
    /// The most expensive ones, each with its path.
    named: Vec<(u64, String)>,
}

/// How often the values inside a part of a schema can be in an object.
pub(crate) fn inside(schema: &Value, often: Often) -> Often {
    let count = |key: &str| schema.get(key).and_then(Value::as_u64);
    let times = match schema.get("type").and_then(Value::as_str) {
        Some("object") if schema.get("additionalProperties").is_some_and(|of| !of.is_null()) => {
            count("maxProperties")?
        }
        Some("array") => count("maxItems")?,
        _ => 1,
    };
    Some(often?.saturating_mul(times))
}

impl Costs {
    /// Counts an expression that costs so much for each value. `least_bytes`: of the shortest value's JSON.
    pub(super) fn count(
        &mut self,
        errors: &mut ErrorList,
        path: &Path<'_>,
        what: &str,
        cost: u64,
        (often, least_bytes): (Often, u64),
    ) {
        let cost = cost.saturating_mul(often.unwrap_or(REQUEST_BYTES / (least_bytes + 1)));
        if cost > EXPRESSION_LIMIT {
            errors.push(FieldError::forbidden(path, exceeded(what, cost, EXPRESSION_LIMIT)));
        }
        self.total = self.total.saturating_add(cost);
        if cost >= SCHEMA_LIMIT / 100 {
            self.named.push((cost, path.to_string()));
            self.named.sort_by(|(a, _), (b, _)| b.cmp(a));
            self.named.truncate(NAMED);
        }
    }

    /// What is wrong with all of them together, at the schema's path.
    pub(crate) fn judge(&self, errors: &mut ErrorList, path: &Path<'_>) {
        if self.total <= SCHEMA_LIMIT {
            return;
        }
        for (_, at) in &self.named {
            let detail =
                "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            errors.push(FieldError::forbidden(&Path::root(at), detail));
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        errors.push(FieldError::forbidden(path, exceeded(what, self.total, SCHEMA_LIMIT)));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a factor for people")]
fn exceeded(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and \
         maxLength where arrays, maps, and strings are declared)"
    )
}

#[cfg(test)]
mod tests;
