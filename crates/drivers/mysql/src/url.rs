//! Where a server is and how it is spoken to: `mysql://user:password@host:port/database?…`.

use std::path::PathBuf;

use dunlin_engine::{ErrorKind, TargetError};
use percent_encoding::percent_decode_str;
use url::Url;

/// How much of TLS is asked for, as libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsMode {
    /// Never.
    Disable,
    /// If the server offers it; not verified.
    Prefer,
    /// Always; not verified.
    Require,
    /// Always; the certificate must come from a trusted authority.
    VerifyCa,
    /// Always; and be for this host.
    VerifyFull,
}

const TLS_MODES: &[(&str, TlsMode)] = &[
    ("disable", TlsMode::Disable),
    ("disabled", TlsMode::Disable),
    ("prefer", TlsMode::Prefer),
    ("preferred", TlsMode::Prefer),
    ("require", TlsMode::Require),
    ("required", TlsMode::Require),
    ("verify-ca", TlsMode::VerifyCa),
    ("verify-full", TlsMode::VerifyFull),
    ("verify-identity", TlsMode::VerifyFull),
];

/// The parameters that a URL may have, for messages.
const PARAMETERS: &str = "sslmode, sslrootcert, socket";

/// A database URL, read.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ServerUrl {
    /// As it was given; it may hold a password.
    pub(crate) text: String,
    pub(crate) user: String,
    pub(crate) password: Option<String>,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) database: String,
    pub(crate) socket: Option<PathBuf>,
    pub(crate) tls: TlsMode,
    pub(crate) root_certificate: Option<PathBuf>,
    /// `mariadb://` was written.
    pub(crate) mariadb: bool,
    /// The password as it stands in the URL, for masking.
    pub(crate) encoded_password: Option<String>,
}

impl ServerUrl {
    /// Reads a URL. Its password never gets into an error.
    pub(crate) fn parse(text: &str) -> Result<Self, TargetError> {
        let url = Url::parse(text)
            .map_err(|error| wrong(format!("the database URL cannot be read: {error}")))?;
        let mariadb = match url.scheme() {
            "mysql" => false,
            "mariadb" => true,
            other => return Err(wrong(format!("`{other}://` is not a MySQL or MariaDB URL"))),
        };
        let host = host(&url)?;
        let mut read = Self {
            text: text.to_owned(),
            user: decoded(url.username(), "user")?,
            password: url.password().map(|text| decoded(text, "password")).transpose()?,
            encoded_password: url.password().map(str::to_owned),
            port: url.port().unwrap_or(3306),
            database: decoded(url.path().trim_start_matches('/'), "database")?,
            socket: None,
            tls: TlsMode::Prefer,
            root_certificate: None,
            mariadb,
            host,
        };
        if read.database.is_empty() {
            return Err(wrong("the database URL names no database").help(
                "add the database's name to the end of the URL: mysql://user@host:3306/app",
            ));
        }
        let tls = read.parameters(&url)?;
        read.tls = tls.unwrap_or_else(|| read.default_tls());
        if read.tls_is_verified() && read.socket.is_some() {
            return Err(wrong("a socket has no TLS, but sslmode asks for a verified certificate")
                .help("leave sslmode out for a socket: it does not leave the machine"));
        }
        Ok(read)
    }

    /// Host and port, or the socket.
    pub(crate) fn place(&self) -> String {
        match &self.socket {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", self.host, self.port),
        }
    }

    pub(crate) fn tls_is_verified(&self) -> bool {
        matches!(self.tls, TlsMode::VerifyCa | TlsMode::VerifyFull)
    }

    fn default_tls(&self) -> TlsMode {
        if self.socket.is_some() || is_loopback(&self.host) {
            TlsMode::Prefer
        } else {
            TlsMode::VerifyFull
        }
    }

    fn parameters(&mut self, url: &Url) -> Result<Option<TlsMode>, TargetError> {
        let mut tls = None;
        for (key, value) in url.query_pairs() {
            match &*key {
                "sslmode" | "ssl-mode" => tls = Some(tls_mode(&value)?),
                "sslrootcert" | "ssl-ca" => self.root_certificate = Some(value.as_ref().into()),
                "socket" => self.socket = Some(value.as_ref().into()),
                other => {
                    return Err(wrong(format!(
                        "the database URL has an unknown parameter `{other}`"
                    ))
                    .help(format!("known are: {PARAMETERS}")));
                }
            }
        }
        Ok(tls)
    }
}

impl std::fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}", self.database, self.place())
    }
}

fn wrong(message: impl Into<String>) -> TargetError {
    TargetError::new(ErrorKind::Refused, message)
}

fn host(url: &Url) -> Result<String, TargetError> {
    // The url crate does not parse hosts of schemes that it does not know, so they may still be
    // percent-encoded; an IPv6 address has its brackets.
    let host = url.host_str().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let host = decoded(host, "host")?;
    Ok(if host.is_empty() { "127.0.0.1".to_owned() } else { host })
}

fn decoded(text: &str, what: &str) -> Result<String, TargetError> {
    percent_decode_str(text)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| wrong(format!("the {what} in the database URL is not UTF-8")))
}

fn tls_mode(text: &str) -> Result<TlsMode, TargetError> {
    let folded = text.to_ascii_lowercase().replace('_', "-");
    TLS_MODES.iter().find(|(name, _)| *name == folded).map(|(_, mode)| *mode).ok_or_else(|| {
        wrong(format!("`{text}` is not a value of sslmode"))
            .help("it is one of disable, prefer, require, verify-ca, verify-full")
    })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ServerUrl {
        ServerUrl::parse(text).expect(text)
    }

    #[test]
    fn every_part_is_read_and_decoded() {
        let url = parse("mariadb://an%40na:p%2Fw@db.example:3307/my%20app?sslmode=require");
        assert_eq!((url.user.as_str(), url.password.as_deref()), ("an@na", Some("p/w")));
        assert_eq!(
            (url.host.as_str(), url.port, url.database.as_str()),
            ("db.example", 3307, "my app")
        );
        assert_eq!(url.tls, TlsMode::Require);
        assert!(url.mariadb);
    }

    #[test]
    fn remote_hosts_are_verified_and_near_ones_preferred() {
        assert_eq!(parse("mysql://u@db.example/a").tls, TlsMode::VerifyFull);
        for near in [
            "mysql://u@localhost/a",
            "mysql://u@127.0.0.1/a",
            "mysql://u@[::1]/a",
            "mysql://u@db/a?socket=/run/m.sock",
        ] {
            assert_eq!(parse(near).tls, TlsMode::Prefer, "{near}");
        }
        assert_eq!(parse("mysql://u@h/a?ssl-mode=VERIFY_IDENTITY").tls, TlsMode::VerifyFull);
        assert_eq!(parse("mysql://u@h/a?ssl-mode=DISABLED").tls, TlsMode::Disable);
    }

    #[test]
    fn mistakes_are_named_without_the_password() {
        let cases = [
            ("mysql://u:secret@h/a?sslmod=require", "unknown parameter `sslmod`"),
            ("mysql://u:secret@h/a?sslmode=maybe", "`maybe` is not a value of sslmode"),
            ("mysql://u:secret@h", "names no database"),
            ("postgres://u:secret@h/a", "`postgres://` is not"),
            ("mysql://u:secret@h:port/a", "cannot be read"),
            ("mysql://u:secret@h/a?socket=/s&sslmode=verify-full", "a socket has no TLS"),
        ];
        for (url, expected) in cases {
            let error = ServerUrl::parse(url).expect_err(url);
            assert!(error.message.contains(expected), "{url}: {error}");
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
        assert!(!format!("{:?}", parse("mysql://u:secret@h/a")).contains("secret"));
    }
}
