//! A `postgres://` URL, read as libpq reads it; whatever is not understood is an error that names
//! it, and no message ever repeats a part that could hold a password.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dunlin_engine::{ErrorKind, TargetError};
use percent_encoding::percent_decode_str;

/// PostgreSQL's own port.
const PORT_DEFAULT: u16 = 5432;

/// Where packages put the server's socket: Debian and most others, then PostgreSQL's own default.
const SOCKET_FOLDERS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// Every parameter that a URL may carry after `?`.
const PARAMETERS: [&str; 13] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

/// What libpq's `sslmode` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SslMode {
    /// Never.
    Disable,
    /// Only where the server insists.
    Allow,
    /// Where the server can; nothing is verified.
    Prefer,
    /// Always; the chain is verified only where a root is named.
    Require,
    /// Always, and the chain is verified.
    VerifyCa,
    /// Always, and the chain and the host's name are verified.
    VerifyFull,
}

impl SslMode {
    const ALL: [(&'static str, Self); 6] = [
        ("disable", Self::Disable),
        ("allow", Self::Allow),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
        ("verify-ca", Self::VerifyCa),
        ("verify-full", Self::VerifyFull),
    ];

    /// As it is written in a URL.
    pub(crate) fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, mode)| *mode == self).map_or("prefer", |(name, _)| name)
    }
}

/// Whether SCRAM is bound to the TLS channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChannelBinding {
    /// Never.
    Disable,
    /// Where both ends can.
    Prefer,
    /// Always.
    Require,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A host's name or address, and a port.
    Tcp {
        /// Without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A socket in a folder.
    Socket {
        /// The socket itself: `/var/run/postgresql/.s.PGSQL.5432`.
        path: PathBuf,
    },
}

impl Address {
    /// For people.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port } => format!("{host}:{port}"),
            Self::Socket { path } => path.display().to_string(),
        }
    }

    fn is_local(&self) -> bool {
        match self {
            Self::Socket { .. } => true,
            Self::Tcp { host, .. } => {
                host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
        }
    }
}

/// Everything that is needed to connect.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) address: Address,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: Option<String>,
    pub(crate) ssl_mode: SslMode,
    pub(crate) ssl_root: Option<String>,
    pub(crate) ssl_cert: Option<PathBuf>,
    pub(crate) ssl_key: Option<PathBuf>,
    pub(crate) channel_binding: ChannelBinding,
    pub(crate) application_name: Option<String>,
    pub(crate) options: Option<String>,
    pub(crate) connect_timeout: Duration,
    /// Passwords as they stand in the URL, decoded and not.
    pub(crate) secrets: Vec<String>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not derived: that would print the password.
        write!(f, "Endpoint({})", self.describe())
    }
}

/// The parts of a URL before their defaults.
#[derive(Default)]
struct Parts {
    host: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    password: Option<String>,
    database: Option<String>,
    ssl_mode: Option<SslMode>,
    ssl_root: Option<String>,
    ssl_cert: Option<PathBuf>,
    ssl_key: Option<PathBuf>,
    channel_binding: Option<ChannelBinding>,
    application_name: Option<String>,
    options: Option<String>,
    connect_timeout: Option<Duration>,
    secrets: Vec<String>,
}

impl Endpoint {
    /// Reads a URL.
    pub(crate) fn parse(url: &str, connect_timeout: Duration) -> Result<Self, TargetError> {
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))
            .ok_or_else(|| {
                refused("the database URL does not begin with postgres:// or postgresql://")
                    .help("write it as postgres://user:password@host:5432/database")
            })?;
        let (place, query) = match rest.split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (rest, None),
        };
        let (authority, path) = match place.split_once('/') {
            Some((authority, path)) => (authority, Some(path)),
            None => (place, None),
        };
        let mut parts = Parts::default();
        read_authority(authority, &mut parts)?;
        if let Some(path) = path.filter(|path| !path.is_empty()) {
            if path.contains('/') || path.contains('@') {
                return Err(unencoded("the database's name in the URL has a `/` or `@` in it"));
            }
            parts.database = Some(decode(path, "the database's name")?);
        }
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            read_parameter(pair, &mut parts)?;
        }
        Ok(parts.finish(connect_timeout))
    }

    /// The database that a connection asks for: its name, else the user's.
    pub(crate) fn database_name(&self) -> String {
        self.database.clone().or_else(|| self.user.clone()).unwrap_or_else(system_user)
    }

    /// The login.
    pub(crate) fn user_name(&self) -> String {
        self.user.clone().unwrap_or_else(system_user)
    }

    /// For people, without a password.
    pub(crate) fn describe(&self) -> String {
        format!(
            "PostgreSQL, database {} on {} as {}",
            self.database_name(),
            self.address.describe(),
            self.user_name()
        )
    }

    /// The same server and login, another database.
    pub(crate) fn with_database(&self, database: &str) -> Self {
        Self { database: Some(database.to_owned()), ..self.clone() }
    }
}

impl Parts {
    fn finish(self, connect_timeout: Duration) -> Endpoint {
        let port = self.port.unwrap_or(PORT_DEFAULT);
        let address = address_of(self.host, port);
        let default_mode = if address.is_local() { SslMode::Prefer } else { SslMode::VerifyFull };
        Endpoint {
            ssl_mode: self.ssl_mode.unwrap_or(default_mode),
            address,
            user: self.user,
            password: self.password,
            database: self.database,
            ssl_root: self.ssl_root,
            ssl_cert: self.ssl_cert,
            ssl_key: self.ssl_key,
            channel_binding: self.channel_binding.unwrap_or(ChannelBinding::Prefer),
            application_name: self.application_name,
            options: self.options,
            connect_timeout: self.connect_timeout.unwrap_or(connect_timeout),
            secrets: self.secrets,
        }
    }
}

/// A host that begins with a slash is a folder of sockets; no host at all is the first folder that
/// has a socket, else the loopback.
fn address_of(host: Option<String>, port: u16) -> Address {
    let socket = |folder: &str| Path::new(folder).join(format!(".s.PGSQL.{port}"));
    match host.filter(|host| !host.is_empty()) {
        Some(host) if host.starts_with('/') => Address::Socket { path: socket(&host) },
        Some(host) => Address::Tcp { host, port },
        None => SOCKET_FOLDERS
            .iter()
            .map(|folder| socket(folder))
            .find(|path| path.exists())
            .map_or(Address::Tcp { host: "localhost".to_owned(), port }, |path| Address::Socket {
                path,
            }),
    }
}

fn read_authority(authority: &str, parts: &mut Parts) -> Result<(), TargetError> {
    let (login, host) = match authority.rsplit_once('@') {
        Some((login, host)) => (Some(login), host),
        None => (None, authority),
    };
    if let Some(login) = login {
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (login, None),
        };
        if !user.is_empty() {
            parts.user = Some(decode(user, "the user's name")?);
        }
        if let Some(password) = password {
            set_password(password, parts)?;
        }
    }
    if host.contains(',') {
        return Err(refused("the database URL names several hosts; only one is supported"));
    }
    let (host, port) = split_port(host)?;
    if !host.is_empty() {
        parts.host = Some(decode(host, "the host")?);
    }
    if let Some(port) = port {
        parts.port = Some(read_port(port)?);
    }
    Ok(())
}

fn split_port(host: &str) -> Result<(&str, Option<&str>), TargetError> {
    if let Some(rest) = host.strip_prefix('[') {
        let (address, after) = rest
            .split_once(']')
            .ok_or_else(|| unencoded("the IPv6 address in the URL has no closing bracket"))?;
        return Ok((address, after.strip_prefix(':')));
    }
    Ok(match host.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (host, None),
    })
}

fn read_port(text: &str) -> Result<u16, TargetError> {
    if text.is_empty() {
        return Ok(PORT_DEFAULT);
    }
    // The text itself is not shown: with an unencoded `/` or `?` it is a piece of the password.
    text.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
        unencoded("the port in the database URL is not a whole number between 1 and 65535")
    })
}

fn set_password(text: &str, parts: &mut Parts) -> Result<(), TargetError> {
    let password = decode(text, "the password")?;
    for secret in [text, password.as_str()] {
        if !secret.is_empty() && !parts.secrets.iter().any(|known| known == secret) {
            parts.secrets.push(secret.to_owned());
        }
    }
    parts.password = Some(password);
    Ok(())
}

fn read_parameter(pair: &str, parts: &mut Parts) -> Result<(), TargetError> {
    let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
    if !PARAMETERS.contains(&name) {
        // With an unencoded `?` in it, a piece of the password stands here.
        return Err(if text.contains('@') {
            unknown_parameter("")
        } else {
            unknown_parameter(name)
        });
    }
    if name == "password" {
        return set_password(text, parts);
    }
    let value = decode(text, name)?;
    match name {
        "host" => parts.host = Some(value),
        "port" => parts.port = Some(read_port(&value)?),
        "user" => parts.user = Some(value),
        "dbname" => parts.database = Some(value),
        "sslmode" => parts.ssl_mode = Some(choice(name, &value, &SslMode::ALL)?),
        "sslrootcert" => parts.ssl_root = Some(value),
        "sslcert" => parts.ssl_cert = Some(PathBuf::from(value)),
        "sslkey" => parts.ssl_key = Some(PathBuf::from(value)),
        "channel_binding" => {
            let choices = [
                ("disable", ChannelBinding::Disable),
                ("prefer", ChannelBinding::Prefer),
                ("require", ChannelBinding::Require),
            ];
            parts.channel_binding = Some(choice(name, &value, &choices)?);
        }
        "connect_timeout" => {
            let seconds: u64 = value.parse().map_err(|_| {
                refused("connect_timeout in the database URL is not a whole number of seconds")
            })?;
            parts.connect_timeout = (seconds > 0).then(|| Duration::from_secs(seconds));
        }
        "application_name" => parts.application_name = Some(value),
        _ => parts.options = Some(value),
    }
    Ok(())
}

fn choice<T: Copy>(name: &str, value: &str, choices: &[(&str, T)]) -> Result<T, TargetError> {
    choices.iter().find(|(text, _)| *text == value).map(|(_, choice)| *choice).ok_or_else(|| {
        let all: Vec<&str> = choices.iter().map(|(text, _)| *text).collect();
        let error = if is_word(value) {
            refused(format!("`{value}` is no {name} that PostgreSQL knows"))
        } else {
            refused(format!("{name} in the database URL has a value that PostgreSQL does not know"))
        };
        error.help(format!("{name} is one of {}", all.join(", ")))
    })
}

fn unknown_parameter(name: &str) -> TargetError {
    if !is_word(name) {
        return unencoded("the database URL has a parameter that is not a word");
    }
    let near = PARAMETERS
        .iter()
        .map(|known| (strsim::osa_distance(known, name), *known))
        .filter(|(distance, _)| *distance <= 3)
        .min();
    let error = refused(format!("the database URL has an unknown parameter `{name}`"));
    match near {
        Some((_, known)) => error.help(format!("did you mean `{known}`?")),
        None => error.help(format!("known parameters are {}", PARAMETERS.join(", "))),
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 40
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

fn decode(text: &str, what: &str) -> Result<String, TargetError> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| {
        refused(format!("{what} in the database URL is not UTF-8 once it is percent-decoded"))
    })?;
    if decoded.contains('\0') {
        return Err(refused(format!("{what} in the database URL has a zero byte in it")));
    }
    Ok(decoded.into_owned())
}

fn system_user() -> String {
    whoami::username().unwrap_or_else(|_| "postgres".to_owned())
}

fn refused(message: impl Into<String>) -> TargetError {
    TargetError::new(ErrorKind::Refused, message)
}

fn unencoded(message: &str) -> TargetError {
    refused(message).help(
        "write it as postgres://user:password@host:5432/database; in a user's name or password \
         the characters : / ? # @ [ ] & % are written percent-encoded (%3A %2F %3F %23 %40 …)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Endpoint, TargetError> {
        Endpoint::parse(url, Duration::from_secs(10))
    }

    #[test]
    fn all_parts_are_read() {
        let e = parse(
            "postgresql://de%40ploy:p%2Fw%3F@db.example.com:6543/my%20app?sslmode=require\
             &application_name=web&connect_timeout=3&options=-c%20search_path%3Dapp",
        )
        .unwrap();
        assert_eq!(e.address, Address::Tcp { host: "db.example.com".into(), port: 6543 });
        assert_eq!(e.user.as_deref(), Some("de@ploy"));
        assert_eq!(e.password.as_deref(), Some("p/w?"));
        assert_eq!(e.database.as_deref(), Some("my app"));
        assert_eq!(e.ssl_mode, SslMode::Require);
        assert_eq!(e.connect_timeout, Duration::from_secs(3));
        assert_eq!(e.options.as_deref(), Some("-c search_path=app"));
        assert_eq!(e.secrets, ["p%2Fw%3F", "p/w?"]);
    }

    #[test]
    fn sockets_and_defaults() {
        let socket = Address::Socket { path: "/run/pg/.s.PGSQL.5433".into() };
        assert_eq!(parse("postgres://%2Frun%2Fpg:5433/db").unwrap().address, socket);
        assert_eq!(parse("postgres:///db?host=/run/pg&port=5433").unwrap().address, socket);
        assert_eq!(parse("postgres:///db?host=%2Frun%2Fpg&port=5433").unwrap().address, socket);
        let six = parse("postgres://[::1]:1/db").unwrap();
        assert_eq!(six.address, Address::Tcp { host: "::1".into(), port: 1 });
        assert_eq!(six.ssl_mode, SslMode::Prefer);
        let user_only = parse("postgres://ann@localhost").unwrap();
        assert_eq!(user_only.database_name(), "ann");
    }

    #[test]
    fn a_remote_host_is_verified_and_the_loopback_is_not() {
        assert_eq!(parse("postgres://db/x").unwrap().ssl_mode, SslMode::VerifyFull);
        assert_eq!(parse("postgres://10.0.0.1/x").unwrap().ssl_mode, SslMode::VerifyFull);
        assert_eq!(parse("postgres://localhost/x").unwrap().ssl_mode, SslMode::Prefer);
        assert_eq!(parse("postgres://127.0.0.2/x").unwrap().ssl_mode, SslMode::Prefer);
    }

    #[test]
    fn a_typo_is_named() {
        let error = parse("postgres://h/db?ssl_mode=require").unwrap_err();
        assert!(error.message.contains("`ssl_mode`"), "{error}");
        assert_eq!(error.help.as_deref(), Some("did you mean `sslmode`?"));
        let error = parse("postgres://h/db?sslmode=verify_full").unwrap_err();
        assert!(error.message.contains("`verify_full`"), "{error}");
    }

    #[test]
    fn a_password_never_leaks() {
        for url in [
            "postgres://u:hunter/2secret@h/db",
            "postgres://u:12?hunter2secret@h/db",
            "postgres://u:hunter2secret@h:port/db",
            "postgres://u:hunter2secret@h:99999/db",
            "postgres://u:hunter2secret@h/a/b",
            "postgres://u:hunter2secret%FF@h/b",
            "postgres://u:12/hunter2secret@h/db",
            "postgres://u:1?hunter2secret=@h/db",
            "postgress://u:hunter2secret@h/db",
            "hunter2secret",
        ] {
            let Err(error) = parse(url) else { panic!("{url} was read") };
            let all = format!("{error:?}");
            assert!(!all.contains("hunter") && !all.contains("secret"), "{all}");
        }
        assert!(!parse("postgres://u:hunter2secret@h/db").unwrap().describe().contains("hunter"));
    }
}
