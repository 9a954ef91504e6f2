//! [`Plugin`]: the calls of a key management service (`k8s.io/kms/apis/v2/api.proto`), over its unix socket.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use super::envelope::Source;

/// The largest answer.
const MAX_ANSWER_BYTES: usize = 1 << 20;

#[derive(Clone, PartialEq, Message)]
pub(super) struct StatusRequest {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StatusResponse {
    #[prost(string, tag = "1")]
    pub version: String,
    #[prost(string, tag = "2")]
    pub healthz: String,
    /// By which key the service encrypts now.
    #[prost(string, tag = "3")]
    pub key_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DecryptRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub ciphertext: Vec<u8>,
    #[prost(string, tag = "2")]
    pub uid: String,
    #[prost(string, tag = "3")]
    pub key_id: String,
    #[prost(btree_map = "string, bytes", tag = "4")]
    pub annotations: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DecryptResponse {
    #[prost(bytes = "vec", tag = "1")]
    pub plaintext: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct EncryptRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub plaintext: Vec<u8>,
    #[prost(string, tag = "2")]
    pub uid: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct EncryptResponse {
    #[prost(bytes = "vec", tag = "1")]
    pub ciphertext: Vec<u8>,
    #[prost(string, tag = "2")]
    pub key_id: String,
    #[prost(btree_map = "string, bytes", tag = "3")]
    pub annotations: BTreeMap<String, Vec<u8>>,
}

/// The names of the calls.
pub(super) const STATUS: &str = "/v2.KeyManagementService/Status";
pub(super) const ENCRYPT: &str = "/v2.KeyManagementService/Encrypt";
pub(super) const DECRYPT: &str = "/v2.KeyManagementService/Decrypt";

/// Where a plugin listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Socket {
    File(PathBuf),
    Abstract(String),
}

impl Socket {
    pub(super) async fn connect(&self) -> std::io::Result<TokioIo<UnixStream>> {
        let stream = match self {
            Self::File(path) => UnixStream::connect(path).await?,
            Self::Abstract(name) => UnixStream::connect(format!("\0{name}")).await?,
        };
        Ok(TokioIo::new(stream))
    }
}

pub(super) struct Plugin {
    socket: Socket,
    /// Made with the first call, connected again after the service was gone.
    channel: OnceLock<Channel>,
    timeout: Duration,
}

impl Plugin {
    pub fn new(socket: Socket, timeout: Duration) -> Self {
        Self { socket, channel: OnceLock::new(), timeout }
    }

    fn channel(&self) -> Channel {
        let made = self.channel.get_or_init(|| {
            let socket = self.socket.clone();
            let connector = tower::service_fn(move |_| {
                let socket = socket.clone();
                async move { socket.connect().await }
            });
            // The address is never resolved: the connector above decides where the bytes go.
            Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector)
        });
        made.clone()
    }

    pub async fn status(&self) -> Result<StatusResponse, String> {
        self.call(STATUS, StatusRequest {}).await
    }

    /// Has a seed encrypted.
    pub async fn encrypt(&self, seed: Vec<u8>) -> Result<Source, String> {
        let request = EncryptRequest { plaintext: seed, uid: base::random::uuid() };
        let answer: EncryptResponse = self.call(ENCRYPT, request).await?;
        Ok(Source {
            key_id: answer.key_id,
            encrypted: answer.ciphertext,
            annotations: answer.annotations,
            is_seed: true,
        })
    }

    /// Has a seed decrypted.
    pub async fn decrypt(&self, source: &Source) -> Result<Vec<u8>, String> {
        let request = DecryptRequest {
            ciphertext: source.encrypted.clone(),
            uid: base::random::uuid(),
            key_id: source.key_id.clone(),
            annotations: source.annotations.clone(),
        };
        self.call(DECRYPT, request).await.map(|answer: DecryptResponse| answer.plaintext)
    }

    async fn call<Q, A>(&self, path: &'static str, request: Q) -> Result<A, String>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let call = async {
            let mut client =
                tonic::client::Grpc::new(self.channel()).max_decoding_message_size(MAX_ANSWER_BYTES);
            client.ready().await.map_err(|error| error.to_string())?;
            let codec = ProstCodec::<Q, A>::default();
            let answer =
                client.unary(tonic::Request::new(request), PathAndQuery::from_static(path), codec).await;
            answer.map(tonic::Response::into_inner).map_err(|status| {
                format!("rpc error: code = {:?} desc = {}", status.code(), status.message())
            })
        };
        let answer = tokio::time::timeout(self.timeout, call).await;
        answer.unwrap_or_else(|_| {
            Err("rpc error: code = DeadlineExceeded desc = context deadline exceeded".to_owned())
        })
    }
}
