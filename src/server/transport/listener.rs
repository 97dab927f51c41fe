//! Sockets that are listened on: TCP, unix, or one that a parent process has handed over.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;

/// A socket that takes connections.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// A connection, not yet encrypted.
pub(crate) type Stream = Either<TcpStream, UnixStream>;

/// Removes the file of a unix socket when dropped, unless another has taken its place.
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

    /// Takes over a socket file that an earlier run has left behind, and nothing else.
    ///
    /// Who may connect is a matter of the file's mode: only the user we run as, and in a directory that
    /// hands its group down, which is what Kubernetes makes of `fsGroup`, that group too.
    pub(crate) async fn unix(path: &Path) -> io::Result<Self> {
        remove_stale(path).await?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = SocketFile::at(path)?;
        // Before anybody can connect, which takes a socket that listens.
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

    /// Where it listens, as people write it.
    pub(crate) fn address(&self) -> io::Result<String> {
        match self {
            Self::Tcp(listener) => Ok(listener.local_addr()?.to_string()),
            Self::Unix(_, file) => Ok(format!("unix:{}", file.path.display())),
        }
    }

    /// Whether other machines can reach it.
    pub(crate) fn is_wide(&self) -> io::Result<bool> {
        match self {
            Self::Tcp(listener) => Ok(is_wide(listener.local_addr()?)),
            Self::Unix(..) => Ok(false),
        }
    }

    /// The next connection and who made it; a unix socket's peer has no name.
    pub(crate) async fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // With Nagle's algorithm each call waits some 40 ms for a delayed acknowledgement.
                stream.set_nodelay(true)?;
                Ok((Either::Left(stream), Some(peer)))
            }
            Self::Unix(listener, _) => Ok((Either::Right(listener.accept().await?.0), None)),
        }
    }
}

/// Whether other machines can reach what listens there.
pub(crate) fn is_wide(address: SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}

/// How many connections may wait to be taken.
const BACKLOG: i32 = 1024;

/// Removes a socket file on which no process listens any more. What is not a socket stays, and so does one of
/// which we cannot tell.
async fn remove_stale(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        return Ok(());
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another program listens there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

fn mode(path: &Path) -> io::Result<u32> {
    const HANDS_GROUP_DOWN: u32 = 0o2000;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let shared = fs::metadata(directory)?.mode() & HANDS_GROUP_DOWN != 0;
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
