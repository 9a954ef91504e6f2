//! Token reviews: which user a token belongs to.

use api::{Error, Object};
use serde_json::{Value, json};

use crate::context::Context;

pub(super) async fn review(context: &Context, object: &Object) -> Result<Value, Error> {
    let token = object.str_at(&["spec", "token"]).unwrap_or("");
    if token.is_empty() {
        return Err(Error::bad_request("token is required for TokenReview in authentication"));
    }
    let audiences = object.at(&["spec", "audiences"]).and_then(Value::as_array);
    let audiences: Vec<_> =
        audiences.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    Ok(match context.deps.authenticator.review_token(token, &audiences).await {
        Ok(Some(reviewed)) => {
            let mut status = json!({"authenticated": true, "user": reviewed.user.info()});
            if !reviewed.audiences.is_empty() {
                status["audiences"] = reviewed.audiences.into();
            }
            status
        }
        Ok(None) => json!({"user": {}}),
        Err(error) => json!({"user": {}, "error": error}),
    })
}
