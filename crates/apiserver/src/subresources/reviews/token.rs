//! Whose token is this?

use api::{Error, Object};
use serde_json::{Value, json};

use super::user_info;
use crate::authn::Credentials;
use crate::context::Context;

pub(super) fn review(context: &Context, object: &Object) -> Result<Value, Error> {
    let token = object.str_at(&["spec", "token"]).unwrap_or("");
    if token.is_empty() {
        return Err(Error::bad_request("token is required for TokenReview in authentication"));
    }
    let credentials = Credentials { client_certificate: None, bearer_token: Some(token) };
    Ok(match context.deps.authenticator.authenticate(&credentials) {
        Ok(Some(user)) => {
            let mut status = json!({"authenticated": true, "user": user_info(&user)});
            if let Some(audiences) = object.at(&["spec", "audiences"]) {
                status["audiences"] = audiences.clone();
            }
            status
        }
        Ok(None) => json!({"user": {}}),
        Err(error) => json!({"user": {}, "error": error.message}),
    })
}
