//! A request's way: its rule, an endpoint, the response.
//!
//! Start with [`Forwarder::answer`]. A request that no endpoint has seen is tried with others; one that an endpoint may
//! have seen is sent again only where that is harmless: of a method that may be repeated, and without a body.

use std::sync::{Arc, Mutex, PoisonError};

use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;

use super::Shared;
use super::answer::Refusal;
use super::body::{RequestBody, Sent, Stalled, response_deadline};
use super::endpoint::{ConnectError, Endpoint, Lease};
use super::headers::{self, Client};
use super::pool::Pool;
use super::response::ResponseBody;
use super::tunnel::Tunnel;
use super::{extended, redirect};
use crate::router::{Asked, host_of};
use crate::translate::backend::Wire;

/// Where a connection's tunnel is left for the task that owns the connection.
pub(super) type TunnelSlot = Mutex<Option<Tunnel>>;

/// What serves the requests of one connection.
pub(super) struct Forwarder {
    pub shared: Arc<Shared>,
    pub client: Client,
    pub tunnel: TunnelSlot,
}

/// A request on its way.
struct Outgoing {
    /// Sent again where that is harmless.
    again: Option<Box<Parts>>,
    request: Request<RequestBody>,
    sent: Option<Arc<Sent>>,
}

/// A client that asks for another protocol.
struct Waiting {
    on: OnUpgrade,
    /// By a stream of HTTP/2, whose connection goes on beside.
    is_extended: bool,
}

/// What became of one attempt.
enum Attempt {
    Answered(Box<Response<Incoming>>, Lease),
    /// No endpoint has seen the request, or it may be seen twice.
    Again(Box<Outgoing>, Refusal),
    Failed(Refusal),
}

impl Forwarder {
    /// The response to a request: an endpoint's, or one that says why there is none.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<ResponseBody> {
        let start = Instant::now();
        let (response, answers) = match self.route(&request) {
            Ok((pool, authority)) => {
                let is_elsewhere = pool.manner.to_https && !self.client.is_secure;
                let response = match is_elsewhere && redirect::is_for(request.uri().path()) {
                    true => redirect::to_https(request.uri(), authority.as_ref(), self.shared.https_port),
                    false => self.forward(&pool, authority, request).await,
                };
                (response.unwrap_or_else(|refusal| refusal.response()), pool.answers.clone())
            }
            Err(refusal) => (refusal.response(), self.shared.unrouted.clone()),
        };
        answers.count(response.status());
        self.shared.metrics.took(start.elapsed());
        response
    }

    fn route(&self, request: &Request<Incoming>) -> Result<(Arc<Pool>, Option<Authority>), Refusal> {
        let is_extended = extended::is_asked(request);
        if request.method() == Method::CONNECT && !is_extended {
            return Err(Refusal::Connect);
        }
        let authority = headers::authority(request).map_err(|_| Refusal::Host)?;
        let host = authority.as_ref().map(host_of).unwrap_or_default();
        let asked = Asked {
            host: &host,
            path: request.uri().path(),
            method: if is_extended { &Method::GET } else { request.method() },
            headers: request.headers(),
            roll: self.shared.roll(),
        };
        let pool = self.shared.router.find(&asked).ok_or(Refusal::NoRule)?;
        Ok((pool, authority))
    }

    async fn forward(
        &self,
        pool: &Pool,
        authority: Option<Authority>,
        mut request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let limits = &self.shared.dialer.limits;
        let mut tried: Vec<Arc<Endpoint>> = Vec::new();
        let mut endpoint = choose(pool, &tried)?;
        let wire = endpoint.wire();
        let is_extended = extended::is_asked(&request);
        if is_extended && wire.h2 {
            return Err(Refusal::NoWebSocket);
        }
        let protocol = headers::upgrade(request.version(), request.headers()).filter(|_| !wire.h2);
        let upgrade = (protocol.is_some() || is_extended).then(|| hyper::upgrade::on(&mut request));
        let protocol = match is_extended {
            true => Some(extended::to_upgrade(&mut request, base::random::bytes())),
            false => protocol,
        };
        let client = upgrade.map(|on| Waiting { on, is_extended });
        let mut outgoing = self.outgoing(authority, request, wire, protocol)?;
        let mut is_fresh = false;
        for attempt in 1.. {
            let refusal = match self.attempt(pool, &endpoint, outgoing, is_fresh).await {
                Attempt::Answered(response, lease) => return self.respond(pool, *response, lease, client),
                Attempt::Failed(refusal) => return Err(refusal),
                Attempt::Again(left, refusal) => {
                    outgoing = *left;
                    refusal
                }
            };
            if attempt >= limits.attempts || refusal == Refusal::Full {
                return Err(refusal);
            }
            self.shared.metrics.retries.inc();
            tried.push(endpoint.clone());
            // Where all have been tried, a connection that has just been made is worth another attempt, of one that
            // takes connections.
            match pool.choose(&tried) {
                Ok(next) if next.wire() == wire => (endpoint, is_fresh) = (next, false),
                _ if refusal == Refusal::Broken && !is_fresh => is_fresh = true,
                _ => return Err(refusal),
            }
        }
        Err(Refusal::Unreachable)
    }

    /// The request as the endpoint is to get it.
    fn outgoing(
        &self,
        authority: Option<Authority>,
        request: Request<Incoming>,
        wire: Wire,
        protocol: Option<HeaderValue>,
    ) -> Result<Outgoing, Refusal> {
        let (mut parts, body) = request.into_parts();
        let (body, sent) = RequestBody::new(body, self.shared.dialer.limits.stall_patience);
        headers::of_request(&mut parts.headers, &self.client, authority.as_ref(), wire.h2);
        if let Some(protocol) = protocol {
            headers::set_upgrade(&mut parts.headers, protocol);
        }
        parts.uri = target(&parts.uri, authority, wire).ok_or(Refusal::Host)?;
        parts.version = if wire.h2 { Version::HTTP_2 } else { Version::HTTP_11 };
        parts.extensions.clear();
        let may_repeat = sent.is_none() && parts.method.is_idempotent();
        let again = may_repeat.then(|| Box::new(parts.clone()));
        Ok(Outgoing { again, request: Request::from_parts(parts, body), sent })
    }

    async fn attempt(
        &self,
        pool: &Pool,
        endpoint: &Arc<Endpoint>,
        outgoing: Outgoing,
        is_fresh: bool,
    ) -> Attempt {
        let mut lease = endpoint.begin(outgoing.sent.clone());
        let connection = match is_fresh {
            true => endpoint.fresh().await,
            false => endpoint.connection(outgoing.again.is_some()).await,
        };
        let mut connection = match connection {
            Ok(connection) => connection,
            Err(ConnectError::Full) => return Attempt::Again(Box::new(outgoing), Refusal::Full),
            Err(error) => {
                tracing::debug!(endpoint = %endpoint.address(), %error, "an endpoint cannot be reached");
                endpoint.shun();
                return Attempt::Again(Box::new(outgoing), Refusal::Unreachable);
            }
        };
        let Outgoing { again, request, sent } = outgoing;
        let patience = pool.manner.read.unwrap_or(self.shared.dialer.limits.response_patience);
        let outcome = tokio::select! {
            outcome = connection.send(request) => outcome,
            () = response_deadline(sent.as_deref(), patience) => return Attempt::Failed(Refusal::Slow),
        };
        match outcome {
            Ok(response) => {
                lease.holds(connection, &response);
                Attempt::Answered(Box::new(response), lease)
            }
            Err(mut error) => {
                tracing::debug!(endpoint = %endpoint.address(), error = %error.error(), "a request has failed");
                let unsent = error.take_message();
                failed(error.error(), unsent, again, sent)
            }
        }
    }

    fn respond(
        &self,
        pool: &Pool,
        response: Response<Incoming>,
        lease: Lease,
        client: Option<Waiting>,
    ) -> Result<Response<ResponseBody>, Refusal> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let client = client.ok_or(Refusal::Odd)?;
            return self.switch(response, lease, client);
        }
        // A client of HTTP/2 would take any success for consent.
        if client.is_some_and(|client| client.is_extended) && response.status().is_success() {
            return Err(Refusal::Odd);
        }
        let (mut parts, body) = response.into_parts();
        headers::of_response(&mut parts.headers);
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        Ok(Response::from_parts(parts, ResponseBody::relayed(body, lease, pool.manner.read)))
    }

    /// The endpoint has agreed to go over to another protocol.
    fn switch(
        &self,
        mut response: Response<Incoming>,
        lease: Lease,
        client: Waiting,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let protocol = response.headers().get(http::header::UPGRADE).cloned().ok_or(Refusal::Odd)?;
        let endpoint = hyper::upgrade::on(&mut response);
        let (mut parts, _) = response.into_parts();
        headers::of_response(&mut parts.headers);
        parts.extensions.clear();
        let tunnel = Tunnel { client: client.on, endpoint, lease };
        if client.is_extended {
            extended::of_consent(&mut parts.headers);
            parts.status = StatusCode::OK;
            tunnel.run_beside(&self.shared.dialer.supervisor);
        } else {
            headers::set_upgrade(&mut parts.headers, protocol);
            *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
        }
        Ok(Response::from_parts(parts, ResponseBody::own("")))
    }
}

fn choose(pool: &Pool, tried: &[Arc<Endpoint>]) -> Result<Arc<Endpoint>, Refusal> {
    pool.choose(tried).map_err(|lack| lack.map_or(Refusal::Unreachable, Refusal::Lack))
}

/// What to do about a request that got no response.
fn failed(
    error: &hyper::Error,
    unsent: Option<Request<RequestBody>>,
    again: Option<Box<Parts>>,
    sent: Option<Arc<Sent>>,
) -> Attempt {
    if let Some(request) = unsent {
        return Attempt::Again(Box::new(Outgoing { again, request, sent }), Refusal::Broken);
    }
    if is_stalled(error) {
        return Attempt::Failed(Refusal::Stalled);
    }
    if error.is_parse() {
        return Attempt::Failed(Refusal::Odd);
    }
    match again {
        Some(parts) => {
            let request = Request::from_parts((*parts).clone(), RequestBody::Empty);
            Attempt::Again(Box::new(Outgoing { again: Some(parts), request, sent }), Refusal::Broken)
        }
        None => Attempt::Failed(Refusal::Broken),
    }
}

fn is_stalled(error: &hyper::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(found) = cause {
        if found.is::<Stalled>() {
            return true;
        }
        cause = found.source();
    }
    false
}

/// The target of the request to an endpoint: a path over HTTP/1.1, with the client's host over HTTP/2.
fn target(asked: &Uri, authority: Option<Authority>, wire: Wire) -> Option<Uri> {
    let path = asked.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(path);
    if wire.h2 {
        parts.scheme = Some(if wire.tls { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = Some(authority.unwrap_or(Authority::from_static("localhost")));
    }
    Uri::from_parts(parts).ok()
}
