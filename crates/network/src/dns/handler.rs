//! Answers one question: from the cluster's zone, or else through the machine's name servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_server::net::runtime::Time;
use hickory_server::proto::op::{Edns, Header, HeaderCounts, Metadata, OpCode, ResponseCode};
use hickory_server::proto::rr::Record;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;

use super::upstream::Upstream;
use super::zone::{Answer, Zone, alias};

/// The version of EDNS that is spoken (RFC 6891).
const EDNS_VERSION: u8 = 0;
/// What a client takes by UDP that says nothing, and what is sent at most to one that says more, in bytes. A longer
/// answer is cut, and the client asks by TCP.
const SMALLEST_PAYLOAD: u16 = 512;
const LARGEST_PAYLOAD: u16 = 4096;

/// Clones share the zone and the resolver.
#[derive(Clone)]
pub(super) struct Handler {
    zone: Arc<Zone>,
    upstream: Arc<Upstream>,
    /// Answers so far: by how much the next one's addresses are turned.
    turn: Arc<AtomicUsize>,
}

/// The parts of a response.
#[derive(Default)]
struct Reply {
    code: ResponseCode,
    authoritative: bool,
    answers: Vec<Record>,
    authority: Vec<Record>,
    additional: Vec<Record>,
}

impl Handler {
    pub fn new(zone: Zone, upstream: Upstream) -> Self {
        Self { zone: Arc::new(zone), upstream: Arc::new(upstream), turn: Arc::default() }
    }

    async fn reply(&self, request: &Request) -> Reply {
        let refused = |code| Reply { code, ..Reply::default() };
        if request.metadata.op_code != OpCode::Query {
            return refused(ResponseCode::NotImp);
        }
        let Ok(info) = request.request_info() else { return refused(ResponseCode::FormErr) };
        let (name, kind) = (info.query.original().name(), info.query.query_type());
        match self.zone.answer(name, kind) {
            Answer::Records(mut answers) => {
                // Most clients take the first address: each answer begins with another one.
                if answers.iter().all(|answer| answer.name == *name) {
                    let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                    let len = answers.len().max(1);
                    answers.rotate_left(turn % len);
                }
                let additional = self.zone.additional(&answers);
                Reply { authoritative: true, answers, additional, ..Reply::default() }
            }
            Answer::NoData => {
                Reply { authoritative: true, authority: vec![self.zone.soa()], ..Reply::default() }
            }
            Answer::NoName => Reply {
                code: ResponseCode::NXDomain,
                authoritative: true,
                authority: vec![self.zone.soa()],
                ..Reply::default()
            },
            Answer::Alias(target) => {
                // The alias leads out of the cluster: its addresses come with the answer.
                let mut answers = vec![alias(name, target.clone())];
                if let Ok(found) = self.upstream.ask(&target, kind).await {
                    answers.extend(found);
                }
                Reply { authoritative: true, answers, ..Reply::default() }
            }
            Answer::Elsewhere => match self.upstream.ask(name, kind).await {
                Ok(answers) => Reply { answers, ..Reply::default() },
                Err(code) => refused(code),
            },
        }
    }
}

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut responses: R,
    ) -> ResponseInfo {
        let edns = request.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            edns.set_version(EDNS_VERSION).set_dnssec_ok(asked.flags().dnssec_ok);
            edns.set_max_payload(asked.max_payload().clamp(SMALLEST_PAYLOAD, LARGEST_PAYLOAD));
            edns
        });
        let is_unknown = request.edns.as_ref().is_some_and(|asked| asked.version() > EDNS_VERSION);
        let reply = match is_unknown {
            true => Reply { code: ResponseCode::BADVERS, ..Reply::default() },
            false => self.reply(request).await,
        };
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = reply.code;
        metadata.authoritative = reply.authoritative;
        metadata.recursion_available = true;
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = &edns {
            builder.edns(edns);
        }
        let response = builder.build(metadata, &reply.answers, [], &reply.authority, &reply.additional);
        match responses.send_response(response).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, client = %request.src(), "a DNS answer could not be sent");
                ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() })
            }
        }
    }
}
