//! DNS over UDP: questions are taken and answers sent in batches, by a thread of its own that does nothing else.
//!
//! Start with [`serve`]. What is [`Remembered`] is answered at once, and so is what the cluster's zone knows. A question
//! that is passed on waits in a task of the runtime, of which there are as many as may be passed on at one time. The
//! thread sleeps in the system call that brings the next questions: an answer takes two system calls, and no other thread
//! is woken for it.

mod batch;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use base::Shutdown;
use hickory_server::net::xfer::Protocol;
use ipnet::IpNet;
use rustix::io::Errno;
use rustix::net::SendFlags;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::handler::{Answered, Handler};
use super::remembered::Remembered;
use batch::Batch;

const THREAD: &str = "cluster-dns";

/// Answers until `shutdown` starts, or the socket breaks. The socket is one that blocks.
pub(super) async fn serve(socket: UdpSocket, handler: Handler, clients: Vec<IpNet>, shutdown: &Shutdown) {
    let (socket, stopped) = (Arc::new(socket), Arc::new(AtomicBool::new(false)));
    let mut desk = Desk {
        socket: socket.clone(),
        stopped: stopped.clone(),
        handler,
        clients,
        remembered: Remembered::default(),
        runtime: Handle::current(),
    };
    let (ended, end) = oneshot::channel();
    let thread = std::thread::Builder::new().name(THREAD.to_owned());
    let started = thread.spawn(move || {
        // Nobody waits any more where the receiver is gone.
        let _ = ended.send(desk.run());
    });
    if let Err(error) = started {
        return tracing::error!(%error, "cluster DNS has no thread to answer by UDP");
    }
    let woken = Wake { socket, stopped };
    tokio::select! {
        () = shutdown.started() => drop(woken),
        ended = end => match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "cluster DNS receives nothing more by UDP"),
            Err(_) => tracing::error!("the thread of cluster DNS has ended"),
        },
    }
}

/// Ends the thread when it is dropped.
struct Wake {
    socket: Arc<UdpSocket>,
    stopped: Arc<AtomicBool>,
}

impl Drop for Wake {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        // The kernel wakes who waits for messages, and says that the socket is not connected, which it never is.
        if let Err(error) = rustix::net::shutdown(self.socket.as_fd(), rustix::net::Shutdown::Read)
            && error != Errno::NOTCONN
        {
            tracing::warn!(%error, "the thread of cluster DNS cannot be woken");
        }
    }
}

struct Desk {
    socket: Arc<UdpSocket>,
    stopped: Arc<AtomicBool>,
    handler: Handler,
    clients: Vec<IpNet>,
    remembered: Remembered,
    runtime: Handle,
}

impl Desk {
    fn run(&mut self) -> io::Result<()> {
        // What a question that is passed on needs, timers and sockets, is the runtime's.
        let runtime = self.runtime.clone();
        let _entered = runtime.enter();
        let mut batch = Batch::default();
        while !self.stopped.load(Ordering::Acquire) {
            match batch.receive(&self.socket) {
                Ok(()) => self.answer_all(&mut batch),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn answer_all(&mut self, batch: &mut Batch) {
        let (begun, changes) = (Instant::now(), self.handler.changes());
        self.remembered.renew(changes);
        for index in 0..batch.questions() {
            let (message, client, answers) = batch.question(index);
            if !is_answerable(client) {
                continue;
            }
            let ip = client.ip().to_canonical();
            if !self.clients.iter().any(|range| range.contains(&ip)) {
                tracing::debug!(%client, "a DNS message is refused: no client");
                if let Some(refusal) = Handler::refuse(message) {
                    answers.extend_from_slice(&refusal);
                }
            } else if let Some(counted) = self.remembered.answer(message, client.is_ipv4(), answers) {
                counted.again(begun.elapsed());
            } else {
                let (handler, question) = (self.handler.clone(), message.to_vec());
                let mut work = Box::pin(async move { handler.answer(question, client, Protocol::Udp).await });
                // The task that a question waits in asks again, and is woken then.
                match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(None) => {}
                    Poll::Ready(Some(mut answered)) => {
                        self.remembered.keep(message, client.is_ipv4(), &mut answered, changes);
                        answers.extend_from_slice(&answered.bytes);
                    }
                    Poll::Pending => self.wait(work, client),
                }
            }
            batch.answered(client);
        }
        batch.send(&self.socket);
    }

    fn wait(
        &self,
        work: Pin<Box<impl Future<Output = Option<Answered>> + Send + 'static>>,
        client: SocketAddr,
    ) {
        let socket = self.socket.clone();
        self.runtime.spawn(async move {
            let Some(answered) = work.await else { return };
            let sent = rustix::net::sendto(socket.as_fd(), &answered.bytes, SendFlags::DONTWAIT, &client);
            if let Err(error) = sent {
                tracing::debug!(%error, %client, "a DNS answer could not be sent");
            }
        });
    }
}

/// Whether an answer can be sent there: some senders can only be forged.
fn is_answerable(client: SocketAddr) -> bool {
    let is_one = match client.ip() {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_broadcast() && !ip.is_multicast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    };
    is_one && client.port() != 0
}
