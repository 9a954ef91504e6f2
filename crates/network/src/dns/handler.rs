//! Answers one question: from the cluster's zone, or else through the machine's name servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_server::net::runtime::Time;
use hickory_server::proto::op::{Edns, Header, HeaderCounts, Metadata, OpCode, ResponseCode};
use hickory_server::proto::rr::{Name, Record, RecordType};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::time::Instant;

use super::metrics::Exchange;
use super::rules::Kubernetes;
use super::rules::hosts::Said;
use super::setup::{InForce, Served, Setup};
use super::zone::{Answer, Zone, alias};

/// The version of EDNS that is spoken (RFC 6891).
const EDNS_VERSION: u8 = 0;
/// What a client takes by UDP that says nothing, and what is sent at most to one that says more, in bytes. A longer
/// answer is cut, and the client asks by TCP.
const SMALLEST_PAYLOAD: u16 = 512;
const LARGEST_PAYLOAD: u16 = 4096;

/// Clones share the zone and the rules.
#[derive(Clone)]
pub(super) struct Handler {
    zone: Arc<Zone>,
    rules: InForce,
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
    /// Which part of the rules has answered, by the name of CoreDNS' plugin.
    plugin: &'static str,
}

impl Reply {
    fn refused(code: ResponseCode) -> Self {
        Self { code, ..Self::default() }
    }
}

impl Handler {
    pub fn new(zone: Zone, rules: InForce) -> Self {
        Self { zone: Arc::new(zone), rules, turn: Arc::default() }
    }

    async fn reply(&self, request: &Request) -> Reply {
        if request.metadata.op_code != OpCode::Query {
            return Reply::refused(ResponseCode::NotImp);
        }
        let Ok(info) = request.request_info() else { return Reply::refused(ResponseCode::FormErr) };
        let (name, kind) = (info.query.original().name(), info.query.query_type());
        if self.rules.shared().loops.has_asked(name) {
            return Reply::refused(ResponseCode::Refused);
        }
        let (begun, setup) = (Instant::now(), self.rules.get());
        let Some(served) = setup.served(name) else { return Reply::refused(ResponseCode::Refused) };
        let reply = self.reply_by(&setup, &served, name, kind).await;
        self.rules.shared().metrics.answered(&Exchange {
            zone: served.zone,
            kind,
            client: request.src(),
            protocol: request.protocol(),
            code: reply.code,
            plugin: reply.plugin,
            took: begun.elapsed(),
        });
        reply
    }

    async fn reply_by(&self, setup: &Setup, served: &Served<'_>, name: &Name, kind: RecordType) -> Reply {
        let plugin = "hosts";
        match served.block.hosts.as_ref().map(|hosts| hosts.answer(name, kind)) {
            Some(Said::Records(answers)) => {
                return Reply { plugin, authoritative: true, answers, ..Reply::default() };
            }
            Some(Said::NoData) => return Reply { plugin, authoritative: true, ..Reply::default() },
            Some(Said::NoName) => {
                let code = ResponseCode::NXDomain;
                return Reply { plugin, code, authoritative: true, ..Reply::default() };
            }
            Some(Said::Nothing) | None => {}
        }
        if let Some(kubernetes) = &served.block.kubernetes
            && let Some(reply) = self.of_cluster(kubernetes, setup, name, kind).await
        {
            return Reply { plugin: "kubernetes", ..reply };
        }
        let plugin = "forward";
        match served.pass_on(name, kind).await {
            Ok(answers) => Reply { plugin, answers, ..Reply::default() },
            Err(code) => Reply { plugin, code, ..Reply::default() },
        }
    }

    /// The answer of the cluster's zone, if the name is the cluster's.
    async fn of_cluster(
        &self,
        rule: &Kubernetes,
        setup: &Setup,
        name: &Name,
        kind: RecordType,
    ) -> Option<Reply> {
        let answer = match self.zone.answer(name, kind) {
            Answer::Records(_) | Answer::NoData if !rule.has_pods && self.zone.is_of_pods(name) => {
                Answer::NoName
            }
            answer => answer,
        };
        let soa = || vec![self.zone.soa()];
        let mut reply = match answer {
            Answer::Records(mut answers) => {
                // Most clients take the first address: each answer begins with another one.
                if answers.iter().all(|answer| answer.name == *name) {
                    let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                    let len = answers.len().max(1);
                    answers.rotate_left(turn % len);
                }
                let additional = self.zone.additional(&answers);
                Reply { answers, additional, ..Reply::default() }
            }
            Answer::NoData => Reply { authority: soa(), ..Reply::default() },
            Answer::NoName => Reply { code: ResponseCode::NXDomain, authority: soa(), ..Reply::default() },
            Answer::Alias(target) => {
                // The alias leads out of the cluster: its addresses come with the answer.
                let mut answers = vec![alias(name, target.clone())];
                answers[0].ttl = rule.ttl_s;
                answers.extend(setup.elsewhere(&target, kind).await.unwrap_or_default());
                return Some(Reply { authoritative: true, answers, ..Reply::default() });
            }
            Answer::Elsewhere => return None,
        };
        reply.authoritative = true;
        let sections = [&mut reply.answers, &mut reply.authority, &mut reply.additional];
        sections.into_iter().flatten().for_each(|record| record.ttl = rule.ttl_s);
        Some(reply)
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
