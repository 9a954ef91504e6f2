//! Answers one question: from the cluster's zone, or else through the machine's name servers.

use std::sync::Arc;

use hickory_server::net::runtime::Time;
use hickory_server::proto::op::{Header, HeaderCounts, Metadata, OpCode, ResponseCode};
use hickory_server::proto::rr::Record;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;

use super::upstream::Upstream;
use super::zone::{Answer, Zone, alias};

/// Clones share the zone and the resolver.
#[derive(Clone)]
pub(super) struct Handler {
    zone: Arc<Zone>,
    upstream: Arc<Upstream>,
}

/// The parts of a response.
#[derive(Default)]
struct Reply {
    code: ResponseCode,
    authoritative: bool,
    answers: Vec<Record>,
    authority: Vec<Record>,
}

impl Handler {
    pub fn new(zone: Zone, upstream: Upstream) -> Self {
        Self { zone: Arc::new(zone), upstream: Arc::new(upstream) }
    }

    async fn reply(&self, request: &Request) -> Reply {
        let refused = |code| Reply { code, ..Reply::default() };
        if request.metadata.op_code != OpCode::Query {
            return refused(ResponseCode::NotImp);
        }
        let Ok(info) = request.request_info() else { return refused(ResponseCode::FormErr) };
        let (name, kind) = (info.query.original().name(), info.query.query_type());
        match self.zone.answer(name, kind) {
            Answer::Records(answers) => Reply { authoritative: true, answers, ..Reply::default() },
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
        let reply = self.reply(request).await;
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = reply.code;
        metadata.authoritative = reply.authoritative;
        metadata.recursion_available = true;
        let response = MessageResponseBuilder::from_message_request(request).build(
            metadata,
            &reply.answers,
            [],
            &reply.authority,
            [],
        );
        match responses.send_response(response).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, client = %request.src(), "a DNS answer could not be sent");
                ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() })
            }
        }
    }
}
