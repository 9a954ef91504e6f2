//! Impersonation: acting as another user, if the caller is allowed to.

mod modes;

use api::Error;
use http::HeaderMap;
use percent_encoding::percent_decode_str;

use modes::Impersonated;

use crate::context::Context;
use crate::request::User;
use crate::request::call::Call;

const EXTRA_PREFIX: &str = "impersonate-extra-";

/// The user whom the request's `Impersonate-*` headers name; `None` without them.
pub(super) async fn impersonated(context: &Context, call: &Call) -> Result<Option<Impersonated>, Error> {
    let Some(wanted) = requested(&call.headers)? else {
        return Ok(None);
    };
    // In a box: most requests are their sender's own.
    let attributes = call.attributes();
    Box::pin(modes::become_user(&*context.deps.authorizer, &attributes, &wanted)).await.map(Some)
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
        (true, true) => {
            Err(Error::bad_request(format!("requested {} without impersonating a user name", in_go(&user))))
        }
        (false, _) => Ok(Some(user)),
    }
}

/// A user without a name as Go prints it, which is how upstream shows what is asked for.
fn in_go(user: &User) -> String {
    let texts = |all: &[String]| match all {
        [] => "[]string(nil)".to_owned(),
        all => format!("[]string{{{}}}", all.iter().map(|t| format!("{t:?}")).collect::<Vec<_>>().join(", ")),
    };
    let extra = user.extra.iter().map(|(key, values)| {
        let values = texts(values);
        format!("{key:?}:{}", values.strip_prefix("[]string").unwrap_or(&values))
    });
    let extra = extra.collect::<Vec<_>>().join(", ");
    let extra = if extra.is_empty() { "(nil)".to_owned() } else { format!("{{{extra}}}") };
    let (uid, groups) = (&user.uid, texts(&user.groups));
    format!("&user.DefaultInfo{{Name:\"\", UID:{uid:?}, Groups:{groups}, Extra:map[string][]string{extra}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_name_the_user() {
        let mut headers = HeaderMap::new();
        assert_eq!(requested(&headers).unwrap(), None);
        headers.append("impersonate-group", "a".parse().unwrap());
        assert_eq!(
            requested(&headers).unwrap_err().message,
            r#"requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string{"a"}, Extra:map[string][]string(nil)} without impersonating a user name"#
        );
        headers.append("impersonate-user", "jane".parse().unwrap());
        headers.append("impersonate-group", "b".parse().unwrap());
        headers.append("impersonate-extra-acme.com%2fproject", "p".parse().unwrap());
        let user = requested(&headers).unwrap().unwrap();
        assert_eq!((user.name.as_str(), user.groups.len()), ("jane", 2));
        assert_eq!(user.extra["acme.com/project"], ["p"]);
    }
}
