//! Impersonation: acting as another user, if the caller is allowed to.

use std::sync::Arc;

use api::Error;
use http::HeaderMap;
use percent_encoding::percent_decode_str;

use super::authorize::check;
use crate::context::Context;
use crate::request::call::Call;
use crate::request::{Attributes, User};

const AUTHENTICATION_GROUP: &str = "authentication.k8s.io";
const EXTRA_PREFIX: &str = "impersonate-extra-";

/// Whom or what somebody wants to act as, in the authorizer's terms.
#[derive(Clone, Copy, Default)]
struct Wish<'a> {
    group: &'a str,
    resource: &'a str,
    subresource: &'a str,
    namespace: &'a str,
    name: &'a str,
}

/// Whether the caller may impersonate.
async fn ask(context: &Context, call: &Call, wish: Wish<'_>) -> Result<(), Error> {
    let attributes = Attributes {
        user: Arc::clone(&call.user),
        verb: "impersonate".to_owned(),
        is_resource: true,
        group: wish.group.to_owned(),
        version: if wish.group.is_empty() { String::new() } else { "v1".to_owned() },
        resource: wish.resource.to_owned(),
        subresource: wish.subresource.to_owned(),
        namespace: wish.namespace.to_owned(),
        name: wish.name.to_owned(),
        field_selector: Vec::new(),
        label_selector: Vec::new(),
        path: String::new(),
        notes: call.notes.clone(),
    };
    check(context, &attributes).await
}

/// The user whom the request's `Impersonate-*` headers name; `None` without them.
pub(super) async fn impersonated(context: &Context, call: &Call) -> Result<Option<Arc<User>>, Error> {
    let Some(mut user) = requested(&call.headers)? else {
        return Ok(None);
    };
    let service_account = service_account(&user.name);
    let who = match &service_account {
        Some((namespace, name)) => Wish { resource: "serviceaccounts", namespace, name, ..Wish::default() },
        None => Wish { resource: "users", name: &user.name, ..Wish::default() },
    };
    ask(context, call, who).await?;
    for group in &user.groups {
        ask(context, call, Wish { resource: "groups", name: group, ..Wish::default() }).await?;
    }
    let detail = Wish { group: AUTHENTICATION_GROUP, ..Wish::default() };
    if !user.uid.is_empty() {
        ask(context, call, Wish { resource: "uids", name: &user.uid, ..detail }).await?;
    }
    for (key, values) in &user.extra {
        for value in values {
            let extra = Wish { resource: "userextras", subresource: key, name: value, ..detail };
            ask(context, call, extra).await?;
        }
    }
    if let Some((namespace, _)) = service_account
        && user.groups.is_empty()
    {
        user.groups.push("system:serviceaccounts".to_owned());
        user.groups.push(format!("system:serviceaccounts:{namespace}"));
    }
    let everybody =
        if user.name == "system:anonymous" { "system:unauthenticated" } else { "system:authenticated" };
    if !user.groups.iter().any(|g| g == "system:authenticated" || g == "system:unauthenticated") {
        user.groups.push(everybody.to_owned());
    }
    Ok(Some(Arc::new(user)))
}

/// Reads the headers.
fn requested(headers: &HeaderMap) -> Result<Option<User>, Error> {
    let all = |key: &str| -> Vec<String> {
        headers.get_all(key).iter().filter_map(|v| v.to_str().ok()).map(str::to_owned).collect()
    };
    let one = |key: &str| all(key).into_iter().next().unwrap_or_default();
    let mut user = User {
        name: one("impersonate-user"),
        uid: one("impersonate-uid"),
        groups: all("impersonate-group"),
        ..User::default()
    };
    for (key, value) in headers {
        if let (Some(key), Ok(value)) = (key.as_str().strip_prefix(EXTRA_PREFIX), value.to_str()) {
            let key = percent_decode_str(key).decode_utf8_lossy().into_owned();
            user.extra.entry(key).or_default().push(value.to_owned());
        }
    }
    let anything = !user.uid.is_empty() || !user.groups.is_empty() || !user.extra.is_empty();
    match (user.name.is_empty(), anything) {
        (true, false) => Ok(None),
        (true, true) => Err(Error::internal(format!(
            "requested {user:?} without impersonating a user name",
            user = user.groups
        ))),
        (false, _) => Ok(Some(user)),
    }
}

fn service_account(name: &str) -> Option<(String, String)> {
    let (namespace, name) = name.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty()).then(|| (namespace.to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_name_the_user() {
        let mut headers = HeaderMap::new();
        assert_eq!(requested(&headers).unwrap(), None);
        headers.append("impersonate-group", "a".parse().unwrap());
        assert!(requested(&headers).is_err());
        headers.append("impersonate-user", "jane".parse().unwrap());
        headers.append("impersonate-group", "b".parse().unwrap());
        headers.append("impersonate-extra-acme.com%2fproject", "p".parse().unwrap());
        let user = requested(&headers).unwrap().unwrap();
        assert_eq!((user.name.as_str(), user.groups.len()), ("jane", 2));
        assert_eq!(user.extra["acme.com/project"], ["p"]);
    }
}
