//! Listening sockets: TCP, unix, or a socket passed by a parent process.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;

/// A socket that accepts connections.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// A connection before TLS.
pub(crate) type Stream = Either<TcpStream, UnixStream>;

/// Removes the file of a unix socket when dropped, unless another file has replaced it.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and number of the file.
    identity: (u64, u64),
}

impl Listener {
    pub(crate) async fn tcp(host: &str, port: u16) -> io::Result<Self> {
        Ok(Self::Tcp(TcpListener::bind((host, port)).await?))
    }

    /// Listens on a unix socket. Replaces a socket file that an earlier run has left behind, but no other
    /// file.
    ///
    /// The mode of the file decides who may connect: only the user of this process, and in a directory that
    /// passes its group to new files, as Kubernetes sets up for `fsGroup`, also that group.
    pub(crate) async fn unix(path: &Path) -> io::Result<Self> {
        remove_stale(path).await?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = SocketFile::at(path)?;
        // The mode is set before `listen`, because clients can connect only after it.
        fs::set_permissions(path, Permissions::from_mode(mode(path)?))?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let listener = std::os::unix::net::UnixListener::from(OwnedFd::from(socket));
        Ok(Self::Unix(UnixListener::from_std(listener)?, file))
    }

    /// The socket of a parent process.
    pub(crate) fn inherited(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self::Tcp(TcpListener::from_std(listener)?))
    }

    /// The address of the listener, as users write it.
    pub(crate) fn address(&self) -> io::Result<String> {
        match self {
            Self::Tcp(listener) => Ok(listener.local_addr()?.to_string()),
            Self::Unix(_, file) => Ok(format!("unix:{}", file.path.display())),
        }
    }

    /// Whether other machines can connect.
    pub(crate) fn is_wide(&self) -> io::Result<bool> {
        match self {
            Self::Tcp(listener) => Ok(is_wide(listener.local_addr()?)),
            Self::Unix(..) => Ok(false),
        }
    }

    /// Accepts the next connection and returns its peer; the peer of a unix socket has no address.
    pub(crate) async fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // With Nagle's algorithm, each call waits about 40 ms for a delayed acknowledgement.
                stream.set_nodelay(true)?;
                Ok((Either::Left(stream), Some(peer)))
            }
            Self::Unix(listener, _) => Ok((Either::Right(listener.accept().await?.0), None)),
        }
    }
}

/// Whether other machines can connect to a listener on this address.
pub(crate) fn is_wide(address: SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Removes a socket file on which no process listens any more. Keeps any other file, and a socket whose state
/// is unknown.
async fn remove_stale(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        return Ok(());
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another program already listens on it")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

fn mode(path: &Path) -> io::Result<u32> {
    const SET_GROUP_ID: u32 = 0o2000;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let shared = fs::metadata(directory)?.mode() & SET_GROUP_ID != 0;
    Ok(if shared { 0o660 } else { 0o600 })
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // Another process may have removed it at the same time.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}
