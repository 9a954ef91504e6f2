//! The file of `--token-auth-file`: comma separated, a line a token, as upstream reads it: token, user, uid, and
//! optionally the groups, which are quoted when they are several.

use anyhow::{Result, bail};
use apiserver::identity::authn::StaticTokens;
use apiserver::request::User;

/// Adds the tokens of a file.
///
/// # Errors
/// When a line has too few columns, a token or a name is missing, or a quote is not closed; it says which line.
pub(super) fn read(text: &str, tokens: &mut StaticTokens) -> Result<()> {
    for (place, line) in text.lines().enumerate() {
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let number = place + 1;
        let columns = columns(line).ok_or_else(|| anyhow::anyhow!("line {number}: a quote is not closed"))?;
        let [token, name, uid, rest @ ..] = columns.as_slice() else {
            bail!(
                "line {number}: must have at least 3 columns (token, user name, user uid), found {}",
                columns.len()
            );
        };
        if token.is_empty() || name.is_empty() {
            bail!("line {number}: the token or the user's name is empty");
        }
        let groups = rest.first().map(String::as_str).unwrap_or_default();
        let groups = groups.split(',').filter(|group| !group.is_empty()).map(str::to_owned).collect();
        tokens.add(token, User { name: name.clone(), uid: uid.clone(), groups, ..User::default() });
    }
    Ok(())
}

/// The columns of a line (RFC 4180); `None` when a quote is not closed.
fn columns(line: &str) -> Option<Vec<String>> {
    let mut columns = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let column = columns.last_mut()?;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                column.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => columns.push(String::new()),
            // Blanks before a column are no part of it.
            ' ' if column.is_empty() && !quoted => {}
            c => column.push(c),
        }
    }
    (!quoted).then_some(columns)
}

#[cfg(test)]
mod tests {
    use apiserver::identity::authn::{Authenticator, Credentials};

    use super::*;

    #[tokio::test]
    async fn tokens_have_users_with_groups() {
        let mut tokens = StaticTokens::default();
        read("# who\n31ada4fd,alice,7,\"dev,ops\"\n\nsecret, bob, 8\n", &mut tokens).expect("a file");
        let user = async |token: &'static str| {
            let credentials = Credentials { bearer_token: Some(token), ..Credentials::default() };
            tokens.authenticate(&credentials).await.expect("no error")
        };
        let alice = user("31ada4fd").await.expect("known");
        assert_eq!((alice.name.as_str(), alice.uid.as_str()), ("alice", "7"));
        assert_eq!(alice.groups, ["dev", "ops", "system:authenticated"]);
        assert_eq!(user("secret").await.expect("known").name, "bob");
        assert_eq!(user("other").await, None);
    }

    #[test]
    fn faults_are_named_by_line() {
        let wrong = |text: &str| read(text, &mut StaticTokens::default()).expect_err("a fault").to_string();
        assert_eq!(
            wrong("a,b,c\nd,e"),
            "line 2: must have at least 3 columns (token, user name, user uid), found 2"
        );
        assert_eq!(wrong("a,b,c,\"d"), "line 1: a quote is not closed");
        assert_eq!(wrong(",b,c"), "line 1: the token or the user's name is empty");
    }
}
