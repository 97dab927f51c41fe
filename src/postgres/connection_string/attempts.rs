//! The ways to connect that a connection string allows, in order.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use rand::{Rng, seq::SliceRandom};
use secrecy::ExposeSecret;
use tokio::net::lookup_host;
use tokio::time::timeout;
use tokio_postgres::config::{self, LoadBalanceHosts};

use crate::postgres::connection_string::hosts::{Address, Host};
use crate::postgres::connection_string::password_file::PasswordFile;
use crate::postgres::connection_string::session_settings::ChannelBinding;
use crate::postgres::connection_string::settings::ConnectionSettings;
use crate::postgres::tls::SslMode;

/// How many addresses of a host are tried.
const MAX_ADDRESSES: usize = 8;

/// One way to connect: one server, with or without TLS.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    /// The server.
    pub host: Host,
    /// Whether the connection is encrypted. With [`Tls`](Encryption::Tls) the attempt never falls back to an
    /// unencrypted connection.
    pub encryption: Encryption,
}

/// Whether TLS is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encryption {
    /// No TLS.
    Plain,
    /// TLS; otherwise the attempt fails.
    Tls,
}

impl ConnectionSettings {
    /// All ways to connect, in the order to try them; never empty. Reads the password file again, because
    /// passwords change. With `load_balance_hosts=random`, each call returns the hosts in another order.
    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        self.attempts_with(&mut rand::rng())
    }

    fn attempts_with(&self, random: &mut impl Rng) -> Vec<Attempt> {
        let mut hosts = self.hosts.clone();
        if let Some(path) = &self.password_file {
            // Problems with the file were reported at startup. If the password is missing, the server reports
            // it.
            let file = PasswordFile::read(path, false, &mut Vec::new());
            for host in &mut hosts {
                host.password = file.password(&host.names(), host.port, &self.database, &self.user);
            }
        }
        if self.shuffle_hosts {
            hosts.shuffle(random);
        }
        hosts
            .into_iter()
            .flat_map(|host| {
                let encryptions = self.encryptions(&host.address);
                encryptions
                    .iter()
                    .map(move |encryption| Attempt { host: host.clone(), encryption: *encryption })
            })
            .collect()
    }

    fn encryptions(&self, address: &Address) -> &'static [Encryption] {
        // A server does not offer TLS on a socket, in any mode.
        if matches!(address, Address::Unix(_)) {
            return &[Encryption::Plain];
        }
        match self.ssl.mode {
            SslMode::Disable => &[Encryption::Plain],
            SslMode::Allow => &[Encryption::Plain, Encryption::Tls],
            SslMode::Prefer => &[Encryption::Tls, Encryption::Plain],
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[Encryption::Tls],
        }
    }
}

impl Attempt {
    /// One attempt for each of the first addresses of the host; none if the connection string has the address, or if
    /// the name cannot be looked up within `limit`. The attempt for the host itself then reports the error.
    pub(crate) async fn by_address(&self, limit: Duration, shuffle: bool) -> Vec<Self> {
        let Address::Tcp { name, address: None } = &self.host.address else { return Vec::new() };
        let Ok(Ok(found)) = timeout(limit, lookup_host((name.as_str(), self.host.port))).await else {
            return Vec::new();
        };
        self.at(name, found.map(|found| found.ip()), shuffle)
    }

    fn at(&self, name: &str, found: impl Iterator<Item = IpAddr>, shuffle: bool) -> Vec<Self> {
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in found {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if shuffle {
            addresses.shuffle(&mut rand::rng());
        }
        addresses.truncate(MAX_ADDRESSES);
        let at = |address| {
            let address = Address::Tcp { name: name.to_owned(), address: Some(address) };
            Self { host: Host { address, ..self.host.clone() }, encryption: self.encryption }
        };
        addresses.into_iter().map(at).collect()
    }

    /// The reason of a failure, with the address if the host has several.
    pub(crate) fn with_address(&self, reason: &str) -> String {
        match &self.host.address {
            Address::Tcp { address: Some(address), .. } => format!("{address}: {reason}"),
            _ => reason.to_owned(),
        }
    }

    /// The configuration for the driver: everything except
    /// [`startup_options`](ConnectionSettings::startup_options) and
    /// [`target_session_attrs`](ConnectionSettings::target_session_attrs), which the caller applies.
    ///
    /// The driver applies `connect_timeout` only to the socket. The caller must limit the wait for a server
    /// that accepts the connection and then stays silent.
    pub(crate) fn config(&self, settings: &ConnectionSettings) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.user(&settings.user).dbname(&settings.database).port(self.host.port);
        match &self.host.address {
            Address::Tcp { name, address } => {
                config.host(name);
                if let Some(address) = address {
                    config.hostaddr(*address);
                }
            }
            Address::Unix(directory) => {
                config.host_path(directory);
            }
        }
        if let Some(password) = &self.host.password {
            config.password(password.expose_secret());
        }
        if let Some(name) = &settings.application_name {
            config.application_name(name);
        }
        config.ssl_mode(match self.encryption {
            Encryption::Plain => config::SslMode::Disable,
            Encryption::Tls => config::SslMode::Require,
        });
        config.channel_binding(match settings.channel_binding {
            ChannelBinding::Disable => config::ChannelBinding::Disable,
            ChannelBinding::Prefer => config::ChannelBinding::Prefer,
            ChannelBinding::Require => config::ChannelBinding::Require,
        });
        if settings.shuffle_hosts {
            // Applies to the addresses of this host.
            config.load_balance_hosts(LoadBalanceHosts::Random);
        }
        if let Some(timeout) = settings.connect_timeout {
            config.connect_timeout(timeout);
        }
        if let Some(timeout) = settings.tcp_user_timeout {
            config.tcp_user_timeout(timeout);
        }
        config.keepalives(settings.keepalive.is_some());
        let keepalive = settings.keepalive.unwrap_or_default();
        if let Some(idle) = keepalive.idle {
            config.keepalives_idle(idle);
        }
        if let Some(interval) = keepalive.interval {
            config.keepalives_interval(interval);
        }
        if let Some(count) = keepalive.count {
            config.keepalives_retries(count);
        }
        config
    }
}

/// Writes the server and whether TLS is used, for logs and errors.
impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.encryption {
            Encryption::Plain => "without TLS",
            Encryption::Tls => "with TLS",
        };
        write!(f, "{} {how}", self.host)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::time::Duration;

    use rand::{SeedableRng, rngs::StdRng};
    use tokio_postgres::config::Host as DriverHost;

    use super::*;
    use crate::postgres::connection_string::environment::Environment;

    fn settings(text: &str) -> ConnectionSettings {
        let text = format!("user=me dbname=retool {text}");
        ConnectionSettings::parse(&text.into(), &Environment::default()).unwrap()
    }

    fn attempts(text: &str) -> Vec<String> {
        settings(text).attempts().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_ssl_mode_has_its_attempts() {
        let (plain, tls) = ("db:5432 without TLS", "db:5432 with TLS");
        for (mode, expected) in [
            ("disable", vec![plain]),
            ("allow", vec![plain, tls]),
            ("prefer", vec![tls, plain]),
            ("require", vec![tls]),
            ("verify-ca", vec![tls]),
            ("verify-full", vec![tls]),
        ] {
            assert_eq!(attempts(&format!("host=db sslmode={mode}")), expected, "{mode}");
        }
    }

    #[test]
    fn hosts_are_tried_in_order_and_sockets_without_tls() {
        let expected = ["a:1 with TLS", "a:1 without TLS", "/s/.s.PGSQL.1 without TLS", "[::1]:1 with TLS"];
        assert_eq!(attempts("host=a,/s,::1 port=1")[..4], expected);
        assert_eq!(attempts("host=/s sslmode=verify-full"), ["/s/.s.PGSQL.5432 without TLS"]);
    }

    #[test]
    fn the_driver_gets_all_settings() {
        let settings = settings(
            "host=db hostaddr=10.0.0.1 port=6432 password=secret application_name=baton connect_timeout=3 \
             tcp_user_timeout=1500 keepalives_idle=30 keepalives_interval=5 keepalives_count=2 \
             channel_binding=require load_balance_hosts=random options='-c jit=off' work_mem=1 \
             target_session_attrs=read-write sslmode=require",
        );
        let config = settings.attempts()[0].config(&settings);
        assert_eq!(config.get_user(), Some("me"));
        assert_eq!(config.get_dbname(), Some("retool"));
        assert_eq!(config.get_password(), Some("secret".as_bytes()));
        assert_eq!(config.get_hosts(), [DriverHost::Tcp("db".to_owned())]);
        assert_eq!(config.get_hostaddrs(), ["10.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
        assert_eq!(config.get_ports(), [6432]);
        assert_eq!(config.get_application_name(), Some("baton"));
        assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(3)));
        assert_eq!(config.get_tcp_user_timeout(), Some(&Duration::from_millis(1500)));
        assert!(config.get_keepalives());
        assert_eq!(config.get_keepalives_idle(), Duration::from_secs(30));
        assert_eq!(config.get_keepalives_interval(), Some(Duration::from_secs(5)));
        assert_eq!(config.get_keepalives_retries(), Some(2));
        assert_eq!(config.get_channel_binding(), config::ChannelBinding::Require);
        assert_eq!(config.get_load_balance_hosts(), LoadBalanceHosts::Random);
        assert_eq!(config.get_ssl_mode(), config::SslMode::Require);
        // The caller applies these.
        assert_eq!(config.get_options(), None);
        assert_eq!(config.get_target_session_attrs(), config::TargetSessionAttrs::Any);
    }

    #[test]
    fn each_address_of_a_host_has_an_attempt_with_the_name_for_its_certificate() {
        let settings = settings("host=db port=6432 sslmode=verify-full");
        let found = ["fd00::1", "10.0.0.1", "fd00::1", "10.0.0.2"].map(|text| text.parse().unwrap());
        let attempts = settings.attempts()[0].at("db", found.into_iter(), false);
        let configs: Vec<_> = attempts.iter().map(|attempt| attempt.config(&settings)).collect();
        let addresses: Vec<IpAddr> =
            configs.iter().flat_map(|config| config.get_hostaddrs()).copied().collect();
        assert_eq!(addresses, [found[0], found[1], found[3]]);
        for config in configs {
            assert_eq!(
                (config.get_hosts(), config.get_ports()),
                (&[DriverHost::Tcp("db".to_owned())][..], &[6432][..])
            );
        }
        let many = (1..100).map(|last| IpAddr::from([10, 0, 0, last]));
        assert_eq!(settings.attempts()[0].at("db", many, false).len(), MAX_ADDRESSES);
    }

    #[tokio::test]
    async fn a_host_with_an_address_or_without_one_is_tried_as_it_is() {
        let limit = Duration::from_secs(10);
        for host in ["host=db hostaddr=10.0.0.1", "host=/s", "host=no-such-host.invalid"] {
            assert!(settings(host).attempts()[0].by_address(limit, false).await.is_empty(), "{host}");
        }
        assert_eq!(settings("host=127.0.0.1").attempts()[0].by_address(limit, false).await.len(), 1);
    }

    #[test]
    fn the_driver_gets_a_socket_without_tls_as_such() {
        let settings = settings("host=/s keepalives=0");
        let config = settings.attempts()[0].config(&settings);
        assert_eq!(config.get_hosts(), [DriverHost::Unix("/s".into())]);
        assert_eq!(config.get_ssl_mode(), config::SslMode::Disable);
        assert_eq!(config.get_password(), None);
        assert!(!config.get_keepalives());
    }

    #[test]
    fn hosts_are_shuffled_only_on_request() {
        let order = |text: &str, seed| {
            let attempts = settings(text).attempts_with(&mut StdRng::seed_from_u64(seed));
            attempts.iter().map(|attempt| attempt.host.to_string()).collect::<Vec<_>>()
        };
        let hosts = "host=a,b,c,d sslmode=disable";
        let random = format!("{hosts} load_balance_hosts=random");
        let fixed = order(hosts, 1);
        assert_eq!(fixed, ["a:5432", "b:5432", "c:5432", "d:5432"]);
        assert!((0..20).any(|seed| order(&random, seed) != fixed));
        for seed in 0..20 {
            let mut shuffled = order(&random, seed);
            shuffled.sort();
            assert_eq!(shuffled, fixed);
        }
    }
}
