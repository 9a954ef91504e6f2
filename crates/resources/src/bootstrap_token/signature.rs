//! Signatures by a token: JWS (RFC 7515) with HS256 and the content left out (its appendix F), as upstream's
//! `cluster-bootstrap/token/jws`.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::hmac;

use super::Token;

/// The signature of `content`: `HEADER..SIGNATURE`.
pub fn detached(content: &str, token: &Token) -> String {
    let header = header(token);
    let signature = hmac::sign(&key(token), signed(&header, content).as_bytes());
    format!("{header}..{}", BASE64_URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

/// Whether the signature of `content` was made by whoever knows the token's secret. Takes as long whatever is wrong
/// with the signature.
pub fn is_valid(signature: &str, content: &str, token: &Token) -> bool {
    let Some((header, given)) = signature.split_once("..") else { return false };
    let Ok(given) = BASE64_URL_SAFE_NO_PAD.decode(given) else { return false };
    header == self::header(token)
        && hmac::verify(&key(token), signed(header, content).as_bytes(), &given).is_ok()
}

fn key(token: &Token) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, token.secret.as_bytes())
}

/// Ids of tokens need no escapes in JSON.
fn header(token: &Token) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","kid":"{}"}}"#, token.id))
}

fn signed(header: &str, content: &str) -> String {
    format!("{header}.{}", BASE64_URL_SAFE_NO_PAD.encode(content))
}
