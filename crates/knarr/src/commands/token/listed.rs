//! The table of tokens.

use anyhow::Result;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use resources::bootstrap_token::{PATTERN, SECRET_PREFIX, Stored, Token, key, secret_name};
use resources::columns::duration;

const HEADER: [&str; 6] = ["TOKEN", "TTL", "EXPIRES", "USAGES", "DESCRIPTION", "EXTRA GROUPS"];
const NONE: &str = "<none>";

/// The table, and a line for each Secret that holds no token.
///
/// # Errors
/// When the table cannot be laid out.
pub(super) fn table(secrets: &[Secret], now: Timestamp) -> Result<(String, Vec<String>)> {
    let (mut rows, mut complaints) = (Vec::new(), Vec::new());
    for secret in secrets {
        match row(secret, now) {
            Ok(row) => rows.push(row),
            Err(why) => complaints.push(why),
        }
    }
    Ok((super::super::table(&HEADER, &rows)?, complaints))
}

fn row(secret: &Secret, now: Timestamp) -> Result<Vec<String>, String> {
    let stored = Stored(secret);
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    let (id, value) = (stored.text(key::ID), stored.text(key::SECRET));
    if id.is_empty() {
        return Err(format!("bootstrap Token Secret has no token-id data: {name}"));
    }
    let expected = secret_name(id);
    if name != expected {
        return Err(format!(
            "bootstrap token name is not of the form '{SECRET_PREFIX}(token-id)'. Actual: {name:?}. Expected: {expected:?}"
        ));
    }
    if value.is_empty() {
        return Err(format!("bootstrap Token Secret has no token-secret data: {name}"));
    }
    let text = format!("{id}.{value}");
    let token = Token::parse(&text).ok_or_else(|| {
        format!("bootstrap Token Secret is invalid and couldn't be parsed: the bootstrap token {text:?} was not of the form {PATTERN:?}")
    })?;
    let expires = stored.text(key::EXPIRATION);
    let (ttl, expires) = match expires {
        "" => ("<forever>".to_owned(), "<never>".to_owned()),
        at => {
            let time: Timestamp = at.parse().map_err(|error| {
                format!("can't parse expiration time of bootstrap token {name:?}: {error}")
            })?;
            (duration::short(time.duration_since(now)), at.to_owned())
        }
    };
    Ok(vec![
        token.to_string(),
        ttl,
        expires,
        or_none(usages(secret).join(",")),
        or_none(stored.text(key::DESCRIPTION).to_owned()),
        or_none(stored.text(key::EXTRA_GROUPS).to_owned()),
    ])
}

/// What the token may be used for, sorted.
fn usages(secret: &Secret) -> Vec<&str> {
    let data = secret.data.iter().flatten();
    data.filter(|(_, value)| value.0 == b"true")
        .filter_map(|(key, _)| key.strip_prefix(key::USAGE_PREFIX))
        .collect()
}

fn or_none(text: String) -> String {
    if text.is_empty() { NONE.to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(name: &str, texts: &[(&str, &str)]) -> Secret {
        let mut secret: Secret =
            serde_json::from_value(json!({"metadata": {"name": name}})).expect("a Secret");
        secret.data = Some(
            texts
                .iter()
                .map(|(key, value)| ((*key).to_owned(), k8s_openapi::ByteString(value.as_bytes().to_vec())))
                .collect(),
        );
        secret
    }

    #[test]
    fn tokens_are_listed_as_kubeadm_lists_them() {
        let whole = [
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("expiration", "2026-06-02T11:00:00Z"),
            ("usage-bootstrap-signing", "true"),
            ("usage-bootstrap-authentication", "true"),
            ("auth-extra-groups", "system:bootstrappers:kubeadm:default-node-token"),
            ("description", "for the rack"),
        ];
        let bare = [("token-id", "fedcba"), ("token-secret", "fedcba9876543210")];
        let secrets = [
            secret("bootstrap-token-abcdef", &whole),
            secret("bootstrap-token-fedcba", &bare),
            secret("bootstrap-token-other0", &bare),
            secret("bootstrap-token-empty0", &[]),
        ];
        let (shown, complaints) =
            table(&secrets, "2026-06-01T12:00:00Z".parse().expect("a time")).expect("laid out");
        let lines: Vec<Vec<&str>> = shown
            .lines()
            .map(|line| line.split("   ").filter(|cell| !cell.is_empty()).map(str::trim).collect())
            .collect();
        assert_eq!(lines[0], HEADER);
        assert_eq!(
            lines[1],
            [
                "abcdef.0123456789abcdef",
                "23h",
                "2026-06-02T11:00:00Z",
                "authentication,signing",
                "for the rack",
                "system:bootstrappers:kubeadm:default-node-token"
            ]
        );
        assert_eq!(
            lines[2],
            ["fedcba.fedcba9876543210", "<forever>", "<never>", "<none>", "<none>", "<none>"]
        );
        assert_eq!(
            complaints,
            [
                "bootstrap token name is not of the form 'bootstrap-token-(token-id)'. Actual: \"bootstrap-token-other0\". Expected: \"bootstrap-token-fedcba\"",
                "bootstrap Token Secret has no token-id data: bootstrap-token-empty0"
            ]
        );
    }
}
