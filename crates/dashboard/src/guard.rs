//! [`Guard`]: who is let in. Pure but for the link's token, which is used up.
//!
//! What is checked is against pages of other sites in the same browser (`Origin`, `Sec-Fetch-Site`, the cookie's
//! `SameSite`), against names that lead to the loopback (`Host`: DNS rebinding) and against whoever has no link.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use http::header::{COOKIE, HOST, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use subtle::ConstantTimeEq;

/// Where a link leads.
pub const LOGIN_PATH: &str = "/login";

/// More than a request of the page has.
const COOKIE_LIMIT_BYTES: usize = 8 << 10;

/// What begins the WebSocket protocol that stands for the key.
pub const KEY_PROTOCOL: &str = "key.knarr.";

static KEY_HEADER: HeaderName = HeaderName::from_static("x-knarr-key");
static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Why a request is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Host,
    Origin,
    Site,
    Method,
    NoSession,
    Token,
}

impl Refusal {
    pub fn status(self) -> StatusCode {
        match self {
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Origin | Self::Site | Self::Token => StatusCode::FORBIDDEN,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoSession => StatusCode::UNAUTHORIZED,
        }
    }

    pub fn message(self) -> &'static str {
        match self {
            Self::Host => "the request names another host than the dashboard's own address",
            Self::Origin => "the request does not come from the dashboard's own page",
            Self::Site => "the request was made by a page of another site",
            Self::Method => "the method is not one of the Kubernetes API",
            Self::NoSession => "there is no session: open the link that `knarr dashboard` printed",
            Self::Token => {
                "the link was used already, or is none of this dashboard: run `knarr dashboard` again"
            }
        }
    }
}

/// What nobody guesses, made anew for each dashboard.
pub struct Secrets {
    /// In the link; good once.
    pub token: String,
    /// In the cookie.
    pub session: String,
    /// Kept by the page, where only pages of the same address *and port* read: a cookie goes to all ports of a host.
    pub key: String,
}

/// What a link is exchanged for.
pub struct Admission<'a> {
    pub cookie: HeaderValue,
    pub key: &'a str,
}

/// Who is let in.
pub struct Guard {
    /// `host:port`, as browsers write the dashboard's own address.
    authorities: [String; 2],
    cookie_name: String,
    session: String,
    key: String,
    /// Until the link is used.
    token: Mutex<Option<String>>,
}

impl Guard {
    /// For a dashboard at this address.
    pub fn new(address: SocketAddr, secrets: Secrets) -> Self {
        let port = address.port();
        let Secrets { token, session, key } = secrets;
        Self {
            authorities: [address.to_string(), format!("localhost:{port}")],
            // Cookies are sent to all ports of a host: two dashboards would take away each other's session.
            cookie_name: format!("knarr-dashboard-{port}"),
            session,
            key,
            token: Mutex::new(Some(token)),
        }
    }

    /// Whether the request is for this address, by this page, and of a method that the API knows.
    ///
    /// # Errors
    /// Why not.
    pub fn check_source(&self, parts: &Parts) -> Result<(), Refusal> {
        let authority = self.authority(parts).ok_or(Refusal::Host)?;
        let changes = match parts.method {
            Method::GET | Method::HEAD => false,
            Method::POST | Method::PUT | Method::PATCH | Method::DELETE => true,
            _ => return Err(Refusal::Method),
        };
        // Browsers say the origin of whatever may change something, and of every WebSocket.
        let must_say = changes || parts.headers.contains_key(http::header::UPGRADE);
        match only(&parts.headers, &ORIGIN) {
            Only::None if must_say => return Err(Refusal::Origin),
            Only::None => {}
            Only::One(origin) => {
                if origin.strip_prefix("http://") != Some(authority) {
                    return Err(Refusal::Origin);
                }
            }
            Only::Many => return Err(Refusal::Origin),
        }
        // A page that another site leads to has no way to the API: only the link and the page itself may be led to.
        let is_page = matches!(parts.uri.path(), "/" | LOGIN_PATH) && !changes;
        match only(&parts.headers, &SEC_FETCH_SITE) {
            Only::None | Only::One("same-origin" | "none") => Ok(()),
            Only::One(_) if is_page => Ok(()),
            _ => Err(Refusal::Site),
        }
    }

    /// The dashboard's own address as the request names it, in every place where it names one.
    fn authority<'a>(&'a self, parts: &Parts) -> Option<&'a str> {
        let Only::One(host) = only(&parts.headers, &HOST) else { return None };
        let known = self.authorities.iter().find(|known| known.eq_ignore_ascii_case(host))?;
        match parts.uri.authority() {
            Some(named) if !named.as_str().eq_ignore_ascii_case(host) => None,
            _ => Some(known),
        }
    }

    /// Whether the request belongs to the session.
    ///
    /// # Errors
    /// When it does not.
    pub fn check_session(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let values = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs =
            values.filter(|value| value.len() <= COOKIE_LIMIT_BYTES).flat_map(|value| value.split(';'));
        let mut ours = pairs.filter_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == self.cookie_name).then_some(value)
        });
        match ours.next() {
            Some(value) if is_equal(value, &self.session) && ours.next().is_none() => Ok(()),
            _ => Err(Refusal::NoSession),
        }
    }

    /// Whether the request comes from the page itself, which has the key: in a header, or among a WebSocket's protocols,
    /// where no header can be set.
    ///
    /// # Errors
    /// When it does not.
    pub fn check_key(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let header = match only(headers, &KEY_HEADER) {
            Only::One(key) => Some(key),
            Only::None => protocols(headers).find_map(|protocol| protocol.strip_prefix(KEY_PROTOCOL)),
            Only::Many => None,
        };
        if header.is_some_and(|key| is_equal(key, &self.key)) { Ok(()) } else { Err(Refusal::NoSession) }
    }

    /// Takes the link's token, which is good once.
    ///
    /// # Errors
    /// When it is another one, or was used.
    pub fn login(&self, query: Option<&str>) -> Result<Admission<'_>, Refusal> {
        let given = query.and_then(|query| query.strip_prefix("token=")).ok_or(Refusal::Token)?;
        let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if !token.as_deref().is_some_and(|token| is_equal(given, token)) {
            return Err(Refusal::Token);
        }
        *token = None;
        let cookie = format!("{}={}; HttpOnly; SameSite=Strict; Path=/", self.cookie_name, self.session);
        let cookie = HeaderValue::from_str(&cookie).map_err(|_| Refusal::Token)?;
        Ok(Admission { cookie, key: &self.key })
    }
}

/// The protocols that a WebSocket's client offers.
pub fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|protocol| !protocol.is_empty())
}

fn is_equal(given: &str, secret: &str) -> bool {
    given.as_bytes().ct_eq(secret.as_bytes()).into()
}

enum Only<'a> {
    None,
    One(&'a str),
    /// Several, or one that is no text.
    Many,
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Only<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Only::None,
        (Some(value), None) => value.to_str().map_or(Only::Many, Only::One),
        _ => Only::Many,
    }
}
