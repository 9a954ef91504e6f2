//! Packets with files over unix sockets (`SOCK_SEQPACKET`), for both ends: one call, one packet.
//! Knows nothing of what the packets mean.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::protocol::MAX_PACKET_BYTES;

/// The most files one packet carries.
pub const MAX_FILES: usize = 3;

/// A packet, or the end of the connection.
pub enum Received {
    Packet(Vec<u8>, Vec<OwnedFd>),
    Closed,
}

/// Listens at `name` inside the directory `dir`. The detour over `/proc/self/fd` keeps the address
/// below the 108 bytes the kernel allows, however deep the directory lies.
pub fn listen(dir: &Path, name: &str) -> io::Result<OwnedFd> {
    let (_dir, address) = short_address(dir, name)?;
    let socket = socket()?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, 16)?;
    Ok(socket)
}

fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Connects to `name` inside `dir`; the socket is non-blocking.
pub fn connect(dir: &Path, name: &str) -> io::Result<OwnedFd> {
    let (_dir, address) = short_address(dir, name)?;
    let socket = socket()?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

fn short_address(dir: &Path, name: &str) -> io::Result<(std::fs::File, SocketAddrUnix)> {
    use std::os::fd::AsRawFd;
    let dir = std::fs::File::open(dir)?;
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))?;
    Ok((dir, address))
}

/// Sends one packet. `WouldBlock` when the peer doesn't read.
pub fn send(socket: impl AsFd, body: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many files for one packet"));
    }
    rustix::net::sendmsg(
        socket,
        &[IoSlice::new(body)],
        &mut control,
        SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
    )?;
    Ok(())
}

/// Receives one packet. `WouldBlock` when there is none.
pub fn receive(socket: impl AsFd) -> io::Result<Received> {
    let mut body = vec![0u8; MAX_PACKET_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut body)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
    )?;
    let mut files = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(carried) = message {
            files.extend(carried);
        }
    }
    if received.bytes == 0 {
        return Ok(Received::Closed);
    }
    body.truncate(received.bytes);
    Ok(Received::Packet(body, files))
}
