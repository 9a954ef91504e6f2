//! Answers one question: from the cluster's zone, or else through the machine's name servers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::{Edns, Header, HeaderCounts, MessageType, Metadata, OpCode, ResponseCode};
use hickory_server::proto::rr::{Name, Record, RecordType};
use hickory_server::proto::serialize::binary::{BinDecodable, BinDecoder, BinEncoder};
use hickory_server::server::Request;
use hickory_server::zone_handler::{MessageResponseBuilder, Queries};
use tokio::time::Instant;

use super::metrics::{Counted, Exchange};
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
    /// The same question has the same answer until a Service, an endpoint or the rules change.
    is_lasting: bool,
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

    async fn reply(&self, request: &Request) -> (Reply, Option<Counted>) {
        let refused = |code| (Reply::refused(code), None);
        if request.metadata.op_code != OpCode::Query {
            return refused(ResponseCode::NotImp);
        }
        let Ok(info) = request.request_info() else { return refused(ResponseCode::FormErr) };
        let (name, kind) = (info.query.original().name(), info.query.query_type());
        if self.rules.shared().loops.has_asked(name) {
            return refused(ResponseCode::Refused);
        }
        let (begun, setup) = (Instant::now(), self.rules.get());
        let Some(served) = setup.served(name) else { return refused(ResponseCode::Refused) };
        let reply = self.reply_by(&setup, &served, name, kind).await;
        let counted = self.rules.shared().metrics.answered(&Exchange {
            zone: served.zone,
            kind,
            client: request.src(),
            protocol: request.protocol(),
            code: reply.code,
            plugin: reply.plugin,
            took: begun.elapsed(),
        });
        (reply, Some(counted))
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
        // Several answers change their order from question to question.
        reply.is_lasting = reply.answers.len() <= 1;
        let sections = [&mut reply.answers, &mut reply.authority, &mut reply.additional];
        sections.into_iter().flatten().for_each(|record| record.ttl = rule.ttl_s);
        Some(reply)
    }
}

/// A message to send back.
pub(super) struct Answered {
    pub bytes: Vec<u8>,
    /// Where the same question has this answer for as long as [`Handler::changes`] stays: what it counts in.
    pub lasting: Option<Counted>,
}

/// By what an answer is up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Changes {
    zone: (u64, u64),
    rules: u64,
}

impl Handler {
    pub fn changes(&self) -> Changes {
        Changes { zone: self.zone.changes(), rules: self.rules.changes() }
    }

    /// Answers one message; nothing where it is too short to be one, or is itself a response.
    pub async fn answer(&self, message: Vec<u8>, client: SocketAddr, protocol: Protocol) -> Option<Answered> {
        let header = Header::read(&mut BinDecoder::new(&message)).ok()?;
        if header.message_type == MessageType::Response {
            return None;
        }
        match Request::from_bytes(message, client, protocol) {
            Ok(request) => self.answer_request(&request).await,
            Err(error) => {
                tracing::debug!(%error, %client, "a DNS message cannot be read");
                let none = Queries::read(&mut BinDecoder::new(&[]), 0).ok()?;
                Some(Answered { bytes: error_message(&header, &none, ResponseCode::FormErr)?, lasting: None })
            }
        }
    }

    /// What a client is told that may not ask; nothing where the message is none.
    pub fn refuse(message: &[u8]) -> Option<Vec<u8>> {
        let mut decoder = BinDecoder::new(message);
        let header = Header::read(&mut decoder).ok()?;
        if header.message_type == MessageType::Response {
            return None;
        }
        let queries = Queries::read(&mut decoder, usize::from(header.counts.queries)).ok()?;
        error_message(&header, &queries, ResponseCode::Refused)
    }

    async fn answer_request(&self, request: &Request) -> Option<Answered> {
        let edns = request.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            edns.set_version(EDNS_VERSION).set_dnssec_ok(asked.flags().dnssec_ok);
            edns.set_max_payload(asked.max_payload().clamp(SMALLEST_PAYLOAD, LARGEST_PAYLOAD));
            edns
        });
        let is_unknown = request.edns.as_ref().is_some_and(|asked| asked.version() > EDNS_VERSION);
        let (reply, counted) = match is_unknown {
            true => (Reply { code: ResponseCode::BADVERS, ..Reply::default() }, None),
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
        let most = match request.protocol() {
            Protocol::Udp => edns.as_ref().map_or(SMALLEST_PAYLOAD, Edns::max_payload),
            _ => u16::MAX,
        };
        let mut bytes = Vec::with_capacity(usize::from(SMALLEST_PAYLOAD));
        let mut encoder = BinEncoder::new(&mut bytes);
        encoder.set_max_size(most);
        if let Err(error) = response.destructive_emit(&mut encoder) {
            tracing::error!(%error, client = %request.src(), "a DNS answer cannot be written");
            let header = Header { metadata: request.metadata, counts: HeaderCounts::default() };
            let bytes = error_message(&header, &request.queries, ResponseCode::ServFail)?;
            return Some(Answered { bytes, lasting: None });
        }
        Some(Answered { bytes, lasting: counted.filter(|_| reply.is_lasting) })
    }
}

fn error_message(header: &Header, queries: &Queries, code: ResponseCode) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let response = MessageResponseBuilder::new(queries, None).error_msg(header, code);
    match response.destructive_emit(&mut BinEncoder::new(&mut bytes)) {
        Ok(_) => Some(bytes),
        Err(error) => {
            tracing::debug!(%error, "a DNS error cannot be written");
            None
        }
    }
}
