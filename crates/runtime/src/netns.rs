//! Network namespaces with a name in the file system, so that an address outlives the process that first
//! held it and a CNI plugin can find it.

#![expect(unsafe_code, reason = "unshares its thread and sets an interface up: no safe call")]

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::mount::UnmountFlags;
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

/// Makes a network namespace with its loopback device up, pinned at the file `path`.
pub async fn create(path: &Path) -> io::Result<()> {
    let pin = path.to_owned();
    in_own_thread(move || {
        fs::write(&pin, b"")?;
        // SAFETY: the namespace changes for this thread alone, which ends right after.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?;
        raise_loopback()?;
        rustix::mount::mount_bind("/proc/thread-self/ns/net", &pin)?;
        Ok(())
    })
    .await
}

/// Removes the name; the namespace goes with its last process. Fine when there is none.
pub fn remove(path: &Path) -> io::Result<()> {
    match rustix::mount::unmount(path, UnmountFlags::DETACH) {
        // Not there, or not a mount.
        Ok(()) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::INVAL) => {}
        Err(error) => return Err(error.into()),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A TCP socket that belongs to the namespace pinned at `path`; none for this process' own.
pub async fn tcp_socket(path: Option<&Path>, v6: bool) -> io::Result<tokio::net::TcpSocket> {
    let make = move || if v6 { tokio::net::TcpSocket::new_v6() } else { tokio::net::TcpSocket::new_v4() };
    let Some(path) = path.map(Path::to_owned) else { return make() };
    in_own_thread(move || {
        let file = fs::File::open(&path)?;
        rustix::thread::move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
        make()
    })
    .await
}

/// Runs `work` on a thread that ends afterwards, since what it changes about itself stays changed.
async fn in_own_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (done, result) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("netns".to_owned()).spawn(move || {
        // The caller may have given up waiting.
        let _ = done.send(work());
    })?;
    result.await.unwrap_or_else(|_| Err(io::Error::other("the thread in the network namespace died")))
}

fn raise_loopback() -> io::Result<()> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    // SAFETY: all-zero bytes are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request is an initialised `ifreq` with a NUL-terminated name, as SIOCSIFFLAGS wants it.
    let result =
        unsafe { libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&socket), libc::SIOCSIFFLAGS, &request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
