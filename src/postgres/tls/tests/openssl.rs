//! OpenSSL servers on sockets, with all kinds of keys and certificates that OpenSSL can create.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use rustls::Stream;

use super::openssl_program::{create_key, openssl};
use super::*;

/// A directory for keys and certificates, which are named by their files.
pub(super) struct OpensslDir(TempDir);

/// A server that is stopped when dropped.
struct Running {
    process: Child,
    address: String,
}

/// A kind of key as arguments of `openssl genpkey`.
pub(super) const P256: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";

const CONFIGURATION: &str = "
[req]
distinguished_name = nothing
[nothing]
[authority]
basicConstraints = critical, CA:TRUE
[server]
subjectAltName = DNS:db.example.com
[nobody]
basicConstraints = critical, CA:FALSE
";

impl OpensslDir {
    pub(super) fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        write(&directory, "openssl.cnf", CONFIGURATION);
        Self(directory)
    }

    fn run(&self, command: &str) {
        openssl(self.0.path(), command);
    }

    /// Creates a key and a self-signed certificate.
    pub(super) fn self_signed(&self, name: &str, key: &str, subject: &str, more: &str) {
        create_key(self.0.path(), name, key, "authority");
        self.run(&format!(
            "req -config openssl.cnf -new -x509 -key {name}.key -subj /CN={subject} -days 30 {more} -out {name}.crt"
        ));
    }

    pub(super) fn authority(&self, name: &str, key: &str) {
        self.self_signed(name, key, name, "-extensions authority");
    }

    /// Creates a key and a certificate issued by the certificate authority. Without extensions the
    /// certificate is of version 1.
    pub(super) fn issue(&self, name: &str, key: &str, subject: &str, authority: &str, more: &str) {
        create_key(self.0.path(), name, key, "server");
        self.run(&format!(
            "req -config openssl.cnf -new -key {name}.key -subj /CN={subject} -out {name}.csr"
        ));
        self.run(&format!(
            "x509 -req -in {name}.csr -CA {authority}.crt -CAkey {authority}.key -set_serial 7 -days 30 {more} -out {name}.crt"
        ));
    }

    pub(super) fn roots(&self, name: &str) -> Roots {
        Roots::File(self.0.path().join(format!("{name}.crt")))
    }

    pub(super) fn identity(&self, name: &str) -> ClientIdentity {
        let file = |ending: &str| self.0.path().join(format!("{name}.{ending}"));
        ClientIdentity { certificate: file("crt"), key: file("key"), key_password: None }
    }

    /// Whether the certificate is of version 1.
    pub(super) fn is_version_1(&self, name: &str) -> bool {
        let pem = fs::read(self.0.path().join(format!("{name}.crt"))).unwrap();
        let certificate = tls_roots::from_pem(&pem).unwrap().remove(0);
        rustls::server::ParsedCertificate::try_from(&certificate).is_err()
    }

    /// Runs a handshake with a server that has this certificate. The error is the message of the certificate
    /// problem.
    pub(super) fn shake(&self, name: &str, more: &str, settings: &TlsSettings) -> Result<(), String> {
        let server = self.serve(name, more);
        let mut stream = TcpStream::connect(&server.address).unwrap();
        let host = ServerName::try_from(HOST).unwrap();
        let config = client_config(settings).map_err(|error| error.to_string())?;
        let mut client = ClientConnection::new(Arc::new(config), host).unwrap();
        // In TLS 1.3 a server reports its verdict on the client's certificate only after the handshake.
        let mut stream = Stream::new(&mut client, &mut stream);
        let answer =
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n").and_then(|()| stream.read_exact(&mut [0; 8]));
        answer.map_err(|error| {
            let problem = CertificateProblem::of(&error);
            problem.map_or_else(|| format!("no problem: {error}"), |problem| problem.to_string())
        })
    }

    fn serve(&self, name: &str, more: &str) -> Running {
        // The lowest security level, so that the server itself rejects nothing.
        let arguments = format!(
            "s_server -accept 127.0.0.1:0 -cert {name}.crt -key {name}.key -cipher ALL@SECLEVEL=0 -www {more}"
        );
        let mut command = Command::new("openssl");
        command.args(arguments.split_whitespace()).current_dir(&self.0);
        let mut process =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address =
            lines.map_while(Result::ok).find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned));
        let address = address.unwrap_or_else(|| panic!("openssl {arguments}: does not listen"));
        Running { process, address }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
