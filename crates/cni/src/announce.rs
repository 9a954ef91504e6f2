//! What the plugin says to the node's agent of network policies, over a socket: a pod gets an address, or an address is free.
//!
//! A pod is attached only after the agent has answered that the rules of the pod's address are in force. One line of
//! JSON each way.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long the plugin waits for the agent, which starts with the node and may have to wait for its watch.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How long it waits where it goes on without an answer.
pub(crate) const SHORT_PATIENCE: Duration = Duration::from_secs(1);
/// The longest answer.
const REPLY_LIMIT_BYTES: u64 = 4096;

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Announcement {
    /// A pod gets an address.
    Attached { namespace: String, name: String, uid: String, address: Ipv4Addr },
    /// Nothing uses the address any more.
    Detached { address: Ipv4Addr },
}

/// The agent's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Why what was said is not in force.
    pub error: Option<String>,
}

/// A pod, as runtimes name it in `CNI_ARGS`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodName {
    pub namespace: String,
    pub name: String,
    /// Empty where the runtime does not say it.
    pub uid: String,
}

impl PodName {
    /// The pod that `CNI_ARGS` name, if they name one.
    pub fn read(arguments: &str) -> Option<Self> {
        let mut pod = Self::default();
        for (key, value) in arguments.split(';').filter_map(|argument| argument.split_once('=')) {
            match key {
                "K8S_POD_NAMESPACE" => value.clone_into(&mut pod.namespace),
                "K8S_POD_NAME" => value.clone_into(&mut pod.name),
                "K8S_POD_UID" => value.clone_into(&mut pod.uid),
                _ => {}
            }
        }
        (!pod.namespace.is_empty() && !pod.name.is_empty()).then_some(pod)
    }

    /// Whether `CNI_ARGS` say that there is no pod: both names are there and empty. So knarr's runtime attaches builds.
    pub fn is_nobody(arguments: &str) -> bool {
        let mut said = [false; 2];
        for (key, value) in arguments.split(';').filter_map(|argument| argument.split_once('=')) {
            let at = match key {
                "K8S_POD_NAMESPACE" => 0,
                "K8S_POD_NAME" => 1,
                _ => continue,
            };
            if !value.is_empty() {
                return false;
            }
            said[at] = true;
        }
        said == [true; 2]
    }

    /// What is to be said when the pod gets an address.
    pub(crate) fn gets(&self, address: Ipv4Addr) -> Announcement {
        let Self { namespace, name, uid } = self.clone();
        Announcement::Attached { namespace, name, uid, address }
    }
}

/// Says it, and waits for the answer. Blocks.
///
/// # Errors
/// When nobody hears it, or what was said is not in force.
pub(crate) fn say(socket: &Path, said: &Announcement, patience: Duration) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(patience))?;
    stream.set_read_timeout(Some(patience))?;
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream.take(REPLY_LIMIT_BYTES)).read_line(&mut answer)?;
    let reply: Reply = serde_json::from_str(&answer)?;
    reply.error.map_or(Ok(()), |error| Err(io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_read_from_the_arguments() {
        let pod = PodName::read("IgnoreUnknown=1;K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;K8S_POD_UID=c;X");
        assert_eq!(pod, Some(PodName { namespace: "a".into(), name: "b".into(), uid: "c".into() }));
        for nobody in ["", "K8S_POD_NAME=b", "K8S_POD_NAMESPACE=a;K8S_POD_NAME="] {
            assert_eq!(PodName::read(nobody), None, "{nobody}");
            assert!(!PodName::is_nobody(nobody), "{nobody}");
        }
        let build = "IgnoreUnknown=1;K8S_POD_NAMESPACE=;K8S_POD_NAME=;K8S_POD_UID=c";
        assert!(PodName::is_nobody(build) && PodName::read(build).is_none());
        assert!(!PodName::is_nobody("K8S_POD_NAMESPACE=;K8S_POD_NAME=;K8S_POD_NAME=x"));
    }

    #[test]
    fn an_announcement_is_heard_and_its_answer_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let said = Announcement::Detached { address: Ipv4Addr::LOCALHOST };
        let error = say(&path, &said, PATIENCE).expect_err("nobody is there");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
        let agent = std::thread::spawn(move || {
            for reply in ["{\"error\":null}\n", "{\"error\":\"no such pod\"}\n", ""] {
                let (mut stream, _) = listener.accept().expect("a caller");
                let mut line = String::new();
                BufReader::new(stream.try_clone().expect("a handle")).read_line(&mut line).expect("a line");
                assert_eq!(line, "{\"detached\":{\"address\":\"127.0.0.1\"}}\n");
                stream.write_all(reply.as_bytes()).expect("answered");
            }
        });
        say(&path, &said, PATIENCE).expect("in force");
        assert_eq!(say(&path, &said, PATIENCE).expect_err("it is not").to_string(), "no such pod");
        say(&path, &said, PATIENCE).expect_err("no answer");
        agent.join().expect("the agent");
    }
}
