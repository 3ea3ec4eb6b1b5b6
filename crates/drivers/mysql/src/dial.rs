//! Opens connections: addresses, TLS, time limits.
//!
//! Invariants: a server's certificate is verified unless the URL says otherwise or the server is
//! on this machine; no local file can be read by a server, since there is no handler for its
//! requests; a failed attempt says nothing of the password.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use dunlin_engine::{ErrorKind, TargetError};
use mysql_async::{Conn, Error, IoError, Opts, OptsBuilder, SslOpts};
use rustls::CertificateError;

use crate::failure::{During, of_client};
use crate::url::{ServerUrl, TlsMode};

/// After how much silence the kernel asks whether the other side still lives: well below the
/// idle limits of common firewalls and load balancers (350 s and more).
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The protocol's own largest packet. The server's limit is asked for and kept to separately;
/// this one only keeps the client from asking by itself, which would be a round trip more.
const PACKET_BYTES_MAX: usize = 1 << 30;

/// The server's numbers of connections, shared by those who open some to the same server.
pub(crate) type Opened = Arc<Mutex<Vec<u32>>>;

/// Opens connections to one server.
pub(crate) struct Dialler {
    pub(crate) url: ServerUrl,
    pub(crate) connect_timeout: Duration,
    /// `sslmode=prefer`, and TLS turned out not to be had.
    plain: AtomicBool,
    /// The server's numbers of the connections that were opened.
    opened: Opened,
    /// The system's certificate authorities (DER), read once.
    roots: OnceLock<Vec<Vec<u8>>>,
}

impl std::fmt::Debug for Dialler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dialler({:?})", self.url)
    }
}

impl Dialler {
    pub(crate) fn new(url: ServerUrl, connect_timeout: Duration, opened: Opened) -> Self {
        // The client asks rustls for the process's provider. It is set here so that another
        // crate that brings a second one cannot make it panic; an error means that one is set.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let plain = AtomicBool::new(false);
        Self { url, connect_timeout, plain, opened, roots: OnceLock::new() }
    }

    /// Opens a connection: to the database, or to the server only.
    pub(crate) async fn open(&self, with_database: bool) -> Result<Conn, TargetError> {
        let limit = self.connect_timeout;
        let place = self.url.place();
        match tokio::time::timeout(limit, self.attempt(with_database)).await {
            Ok(Ok(conn)) => {
                self.opened.lock().unwrap_or_else(PoisonError::into_inner).push(conn.id());
                Ok(conn)
            }
            Ok(Err(error)) => Err(self.explained(error)),
            Err(_) => Err(TargetError::new(
                ErrorKind::Unreachable,
                format!("{place} did not answer within {} ms", limit.as_millis()),
            )
            .help("check host and port in the database URL, and what stands in between")),
        }
    }

    /// The server's numbers of all connections that were opened; it gives none out twice.
    pub(crate) fn opened(&self) -> Vec<u32> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn explained(&self, error: Error) -> TargetError {
        let mut failure = of_client(error, During::Connect);
        if failure.kind == ErrorKind::Unreachable {
            failure.message = format!("{}: {}", self.url.place(), failure.message);
            if failure.help.is_none() {
                failure.help = Some("check that the server runs, and host and port".to_owned());
            }
        }
        failure
    }

    async fn attempt(&self, with_database: bool) -> Result<Conn, Error> {
        let options = |tls: Option<SslOpts>| self.options(with_database, tls);
        let mode = self.url.tls;
        if self.url.socket.is_some()
            || mode == TlsMode::Disable
            || self.plain.load(Ordering::Relaxed)
        {
            return Conn::new(options(None)).await;
        }
        match (mode, Conn::new(options(Some(self.tls_options(mode)))).await) {
            (TlsMode::Prefer, Err(error)) if is_about_tls(&error) => {
                let conn = Conn::new(options(None)).await?;
                self.plain.store(true, Ordering::Relaxed);
                Ok(conn)
            }
            // The client's own way to skip the check of the name only does not recognise the
            // error that rustls gives, so the certificate is checked again for a name that it
            // has: its authority is verified, its name is not.
            (TlsMode::VerifyCa, Err(error)) => match presented_name(&error) {
                Some(name) => {
                    let tls = self.tls_options(mode).with_danger_tls_hostname_override(Some(name));
                    Conn::new(options(Some(tls))).await
                }
                None => Err(error),
            },
            (_, result) => result,
        }
    }

    fn options(&self, with_database: bool, tls: Option<SslOpts>) -> Opts {
        let url = &self.url;
        let socket = url.socket.as_deref().map(Path::to_string_lossy);
        OptsBuilder::default()
            .ip_or_hostname(url.host.clone())
            .tcp_port(url.port)
            .socket(socket)
            // Else the client would leave a loopback address for the socket it is told of.
            .prefer_socket(false)
            .user(Some(url.user.clone()))
            .pass(url.password.clone())
            .db_name(with_database.then(|| url.database.clone()))
            .tcp_keepalive(Some(KEEPALIVE))
            .max_allowed_packet(Some(PACKET_BYTES_MAX))
            .wait_timeout(Some(0))
            .stmt_cache_size(0)
            .ssl_opts(tls)
            .into()
    }

    fn tls_options(&self, mode: TlsMode) -> SslOpts {
        match mode {
            TlsMode::Disable | TlsMode::Prefer | TlsMode::Require => {
                SslOpts::default().with_danger_accept_invalid_certs(true)
            }
            TlsMode::VerifyCa | TlsMode::VerifyFull => {
                let options = SslOpts::default().with_disable_built_in_roots(true);
                match &self.url.root_certificate {
                    Some(path) => options.with_root_certs(vec![path.clone().into()]),
                    None => {
                        let roots = self.roots.get_or_init(system_roots).iter().cloned();
                        options.with_root_certs(roots.map(Into::into).collect())
                    }
                }
            }
        }
    }
}

/// The authorities that this machine trusts, without those that rustls cannot read: one broken
/// certificate in a system's store must not keep all others from being used.
fn system_roots() -> Vec<Vec<u8>> {
    rustls_native_certs::load_native_certs()
        .certs
        .into_iter()
        .filter(|certificate| rustls::RootCertStore::empty().add(certificate.clone()).is_ok())
        .map(|certificate| certificate.as_ref().to_vec())
        .collect()
}

fn is_about_tls(error: &Error) -> bool {
    of_kind(error) == ErrorKind::Tls
}

fn of_kind(error: &Error) -> ErrorKind {
    match error {
        Error::Io(IoError::Tls(_)) => ErrorKind::Tls,
        Error::Io(IoError::Io(io)) if io.get_ref().is_some_and(|e| e.is::<rustls::Error>()) => {
            ErrorKind::Tls
        }
        Error::Driver(mysql_async::DriverError::NoClientSslFlagFromServer) => ErrorKind::Tls,
        _ => ErrorKind::Unreachable,
    }
}

/// A name out of a certificate that is trusted, but was presented for another name.
fn presented_name(error: &Error) -> Option<String> {
    let Error::Io(IoError::Io(io)) = error else {
        return None;
    };
    let rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
        presented,
        ..
    }) = io.get_ref()?.downcast_ref::<rustls::Error>()?
    else {
        return None;
    };
    presented.iter().find_map(|text| name_in(text))
}

/// Out of `DnsName("db.internal")`, `IpAddress(10.0.0.1)` or a bare name.
fn name_in(presented: &str) -> Option<String> {
    let inner = match presented.split_once('(') {
        Some((_, rest)) => rest.strip_suffix(')')?,
        None => presented,
    };
    // A wildcard is matched by any first label.
    let name = inner.trim_matches('"').replace("*.", "dunlin.");
    rustls_pki_types::ServerName::try_from(name.as_str()).is_ok().then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_out_of_what_rustls_says() {
        assert_eq!(name_in("DnsName(\"db.internal\")").as_deref(), Some("db.internal"));
        assert_eq!(name_in("DnsName(\"*.internal\")").as_deref(), Some("dunlin.internal"));
        assert_eq!(name_in("IpAddress(10.0.0.1)").as_deref(), Some("10.0.0.1"));
        assert_eq!(name_in("DirectoryName").as_deref(), Some("DirectoryName"));
        assert_eq!(name_in("Nothing(").as_deref(), None);
    }
}
