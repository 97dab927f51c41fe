//! An agent as the parent of `_connector-service`, with the handshake of the protocol: an inherited listener,
//! certificates for this child only, and one line on stdin.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use baton_retool::proto::connector_wrapper::ServerConfig;
use baton_retool::proto::ratelimit::RateLimiterConfig;
use baton_retool::proto::utls::Credential;
use command_fds::{CommandFdExt, FdMapping};
use prost::Message;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, SanType,
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::server::program;

/// The longest time for any step of the child.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// A certificate authority and its certificates.
pub(crate) struct Pki {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) ca_pem: String,
    pub(crate) ca_der: Vec<u8>,
}

/// A certificate with its key.
pub(crate) struct Signed {
    pub(crate) cert_pem: String,
    pub(crate) cert_der: Vec<u8>,
    pub(crate) key: KeyPair,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "c1-connector-ca");
        let certificate = params.self_signed(&key).unwrap();
        Self {
            ca_pem: certificate.pem(),
            ca_der: certificate.der().to_vec(),
            issuer: Issuer::new(params, key),
        }
    }

    /// Signs a certificate for loopback, for client or server, that is currently valid.
    pub(crate) fn sign(&self, name: &str) -> Signed {
        self.sign_with(name, |_| {})
    }

    /// Like `sign`, with changed parameters.
    pub(crate) fn sign_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names =
            ["127.0.0.1", "::1"].map(|address| SanType::IpAddress(address.parse().unwrap())).to_vec();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Signed { cert_pem: certificate.pem(), cert_der: certificate.der().to_vec(), key }
    }
}

impl Signed {
    pub(crate) fn identity(&self) -> Identity {
        Identity::from_pem(&self.cert_pem, self.key.serialize_pem())
    }

    /// The 64 bytes of an Ed25519 private key in Go: the seed, then the public key.
    pub(crate) fn go_key(&self) -> Vec<u8> {
        // The position of the seed in the PKCS#8 that rcgen writes.
        let seed = self.key.serialized_der()[16..48].to_vec();
        [seed, self.key.public_key_raw().to_vec()].concat()
    }
}

/// A parent; tests change it before the child starts.
pub(crate) struct Parent {
    pub(crate) pki: Pki,
    pub(crate) arguments: Vec<String>,
    pub(crate) config: ServerConfig,
    /// The value of the variable; `None` leaves it unset.
    pub(crate) descriptor: Option<String>,
    listener: TcpListener,
}

impl Parent {
    pub(crate) fn new(connection_string: &str) -> Self {
        let pki = Pki::new();
        let server = pki.sign("c1-connector-server");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = ServerConfig {
            credential: Some(Credential {
                ca_cert: pki.ca_der.clone(),
                key: server.go_key(),
                cert: server.cert_der.clone(),
            }),
            rate_limiter_config: None,
            listen_port: listener.local_addr().unwrap().port().into(),
            session_store_listen_port: 0,
        };
        let arguments = ["--connection-string", connection_string, "--log-level=debug"];
        Self {
            pki,
            arguments: arguments.map(str::to_owned).to_vec(),
            config,
            descriptor: Some("3".to_owned()),
            listener,
        }
    }

    pub(crate) fn limited(mut self, limiter: RateLimiterConfig) -> Self {
        self.config.rate_limiter_config = Some(limiter);
        self
    }

    pub(crate) fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The line for the child, without its line end.
    pub(crate) fn line(&self) -> String {
        STANDARD.encode(self.config.encode_to_vec())
    }

    /// Changes the address of the listener.
    pub(crate) fn listen(&mut self, address: &str) {
        self.listener = TcpListener::bind(address).unwrap();
        self.config.listen_port = self.address().port().into();
    }

    /// Starts the child without sending anything.
    pub(crate) fn start(&self) -> Running {
        self.start_prepared(&|_| {})
    }

    /// Like `start`, with a changed command.
    pub(crate) fn start_prepared(&self, prepare: &dyn Fn(&mut Command)) -> Running {
        self.spawn(prepare, Stdio::piped())
    }

    /// Sends the child its configuration through another process, which is the only one to hold the other end
    /// of its stdin, like a parent.
    pub(crate) fn start_held(&self) -> (Running, Child) {
        let (read, write) = std::io::pipe().unwrap();
        let holder = Command::new("cat").stdin(Stdio::piped()).stdout(write).spawn().unwrap();
        writeln!(holder.stdin.as_ref().unwrap(), "{}", self.line()).unwrap();
        (self.spawn(&|_| {}, read.into()), holder)
    }

    fn spawn(&self, prepare: &dyn Fn(&mut Command), stdin: Stdio) -> Running {
        let mut command = program();
        prepare(&mut command);
        command.args(&self.arguments).arg("_connector-service");
        if let Some(descriptor) = &self.descriptor {
            command.env("BATON_CONNECTOR_SERVICE_LISTENER_FD", descriptor);
        }
        let parent_fd = OwnedFd::from(self.listener.try_clone().unwrap());
        command.fd_mappings(vec![FdMapping { parent_fd, child_fd: 3 }]).unwrap();
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let stdin = process.stdin.take();
        Running { process, stdin }
    }

    /// Starts the child and sends its configuration.
    pub(crate) fn start_and_tell(&self) -> Running {
        let mut running = self.start();
        running.tell(format!("{}\n", self.line()).as_bytes());
        running
    }

    /// The TLS settings of a parent: the certificate authority and a client certificate.
    pub(crate) fn client_tls(&self) -> ClientTlsConfig {
        ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.pki.ca_pem))
            .identity(self.pki.sign("c1-connector-client").identity())
            .domain_name("127.0.0.1")
    }

    /// Connects as agents do.
    pub(crate) async fn channel(&self) -> Channel {
        self.try_channel(self.client_tls()).await.unwrap()
    }

    /// Connects with other certificates.
    pub(crate) async fn try_channel(&self, tls: ClientTlsConfig) -> Result<Channel, tonic::transport::Error> {
        Endpoint::from_shared(format!("https://{}", self.address()))
            .unwrap()
            .tls_config(tls)
            .unwrap()
            .connect_timeout(MAX_WAIT)
            .connect()
            .await
    }
}

/// A child process.
pub(crate) struct Running {
    process: Child,
    stdin: Option<ChildStdin>,
}

impl Running {
    pub(crate) fn tell(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        // A child that has already exited reports the reason on its stderr.
        let _ = stdin.write_all(bytes).and_then(|()| stdin.flush());
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        // This uses the `kill` of the shell, because not every machine has the program `kill`.
        let kill = ["-c", r#"kill -s "$0" "$1""#, name, &self.process.id().to_string()];
        assert!(Command::new("sh").args(kill).status().unwrap().success());
    }

    /// The exit status of the child, the time until it exited, and its output: stdout and stderr.
    pub(crate) fn ended(mut self) -> (ExitStatus, Duration, String, String) {
        let asked = Instant::now();
        while self.process.try_wait().unwrap().is_none() {
            if asked.elapsed() > MAX_WAIT {
                self.process.kill().unwrap();
                let stderr = read(self.process.stderr.take());
                panic!("the child did not exit; it wrote:\n{stderr}");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let took = asked.elapsed();
        let status = self.process.wait().unwrap();
        (status, took, read(self.process.stdout.take()), read(self.process.stderr.take()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn read(from: Option<impl Read>) -> String {
    let mut text = String::new();
    from.unwrap().read_to_string(&mut text).unwrap();
    text
}
