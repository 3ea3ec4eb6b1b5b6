//! From an endpoint to an open connection, within its connect timeout.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dunlin_engine::{ErrorKind, TargetError};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::backend::announced_pid;
use crate::error::{connect_error, unreachable_error};
use crate::tls::client_config;
use crate::url::{Address, ChannelBinding, Endpoint, SslMode};

/// A peer that is gone is noticed after about 30 s of silence (15 + 3 × 5): well below the minute
/// or more that a lease lasts.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// How long sent bytes may stay without acknowledgement; the same 30 s.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

/// An open connection.
pub(crate) struct Link {
    /// To send with.
    pub(crate) client: Client,
    /// Drives the socket; aborting it closes the socket at once.
    pub(crate) driver: JoinHandle<()>,
    /// The process that the handshake announced; `None` if it cannot be told.
    pub(crate) announced_pid: Option<i32>,
}

/// How often a connection that was closed in the middle of logging in is tried again, and how long
/// in between: a server or pooler that is out of processes does so without a word.
const CLOSED_TRIES: usize = 3;
const CLOSED_PAUSE: Duration = Duration::from_millis(200);

/// Connects.
pub(crate) async fn connect(endpoint: &Endpoint, name: &str) -> Result<Link, TargetError> {
    let trying = async {
        for _ in 1..CLOSED_TRIES {
            match attempts(endpoint, name).await {
                Err(error) if error.kind == ErrorKind::Lost => {}
                other => return other,
            }
            tokio::time::sleep(CLOSED_PAUSE).await;
        }
        attempts(endpoint, name).await
    };
    match tokio::time::timeout(endpoint.connect_timeout, trying).await {
        Ok(Err(error)) if error.kind == ErrorKind::Lost => {
            // Nothing was under way that could be lost.
            Err(TargetError { kind: ErrorKind::Unreachable, ..error })
        }
        Ok(result) => result,
        Err(_) => Err(unreachable_error(
            endpoint,
            &format!("no answer within {} s", endpoint.connect_timeout.as_secs_f32()),
        )),
    }
}

/// One attempt, or the two that `allow` and `prefer` stand for.
async fn attempts(endpoint: &Endpoint, name: &str) -> Result<Link, TargetError> {
    let socket = matches!(endpoint.address, Address::Socket { .. });
    match endpoint.ssl_mode {
        // As in libpq, a Unix socket never speaks TLS.
        _ if socket => attempt(endpoint, name, Encryption::Never).await,
        SslMode::Disable => attempt(endpoint, name, Encryption::Never).await,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
            attempt(endpoint, name, Encryption::Always).await
        }
        SslMode::Allow => match attempt(endpoint, name, Encryption::Never).await {
            Err(error) if not_let_in(&error) => {
                // The refusal without TLS is the one to report if TLS cannot be had either.
                attempt(endpoint, name, Encryption::Always).await.map_err(|_| error)
            }
            other => other,
        },
        SslMode::Prefer => match attempt(endpoint, name, Encryption::IfOffered).await {
            Err(error) if error.kind == ErrorKind::Tls || not_let_in(&error) => {
                attempt(endpoint, name, Encryption::Never).await.map_err(|_| error)
            }
            other => other,
        },
    }
}

/// pg_hba.conf has no line for this login with (or without) TLS. A wrong password is another code.
fn not_let_in(error: &TargetError) -> bool {
    error.code.as_deref() == Some("28000")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    Never,
    IfOffered,
    Always,
}

async fn attempt(
    endpoint: &Endpoint,
    name: &str,
    encryption: Encryption,
) -> Result<Link, TargetError> {
    match &endpoint.address {
        Address::Socket { path } => {
            let stream = UnixStream::connect(path)
                .await
                .map_err(|error| unreachable_error(endpoint, &error.to_string()))?;
            shake_hands(endpoint, name, stream, encryption).await
        }
        Address::Tcp { host, port } => {
            let stream = dial(endpoint, host, *port).await?;
            shake_hands(endpoint, name, stream, encryption).await
        }
    }
}

/// Tries each address of a host in turn.
async fn dial(endpoint: &Endpoint, host: &str, port: u16) -> Result<TcpStream, TargetError> {
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port))
        .await
        .map_err(|error| {
            unreachable_error(endpoint, &format!("the name `{host}` is not known ({error})"))
        })?
        .collect();
    let mut last = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                watch(&stream).map_err(|error| unreachable_error(endpoint, &error.to_string()))?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    let reason = last.map_or_else(|| "it has no address".to_owned(), |error| error.to_string());
    Err(unreachable_error(endpoint, &reason))
}

/// Makes the system notice a peer that is gone, also in the middle of a statement of hours.
fn watch(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    Ok(())
}

async fn shake_hands<S>(
    endpoint: &Endpoint,
    name: &str,
    stream: S,
    encryption: Encryption,
) -> Result<Link, TargetError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut config = Config::new();
    config.user(endpoint.user_name()).application_name(name).dbname(endpoint.database_name());
    if let Some(password) = &endpoint.password {
        config.password(password);
    }
    if let Some(options) = &endpoint.options {
        config.options(options);
    }
    config.channel_binding(match endpoint.channel_binding {
        ChannelBinding::Disable => tokio_postgres::config::ChannelBinding::Disable,
        ChannelBinding::Prefer => tokio_postgres::config::ChannelBinding::Prefer,
        ChannelBinding::Require => tokio_postgres::config::ChannelBinding::Require,
    });
    if encryption == Encryption::Never {
        config.ssl_mode(tokio_postgres::config::SslMode::Disable);
        let opened = config.connect_raw(stream, NoTls).await;
        let (client, connection) = opened.map_err(|error| connect_error(endpoint, &error))?;
        return Ok(link(client, connection).await);
    }
    config.ssl_mode(match encryption {
        Encryption::Always => tokio_postgres::config::SslMode::Require,
        _ => tokio_postgres::config::SslMode::Prefer,
    });
    let mut tls = MakeRustlsConnect::new(client_config(endpoint)?);
    let host = match &endpoint.address {
        Address::Tcp { host, .. } => host.as_str(),
        Address::Socket { .. } => "localhost",
    };
    let connect = <MakeRustlsConnect as MakeTlsConnect<S>>::make_tls_connect(&mut tls, host)
        .map_err(|error| TargetError::new(ErrorKind::Tls, error.to_string()))?;
    let opened = config.connect_raw(stream, connect).await;
    let (client, connection) = opened.map_err(|error| connect_error(endpoint, &error))?;
    Ok(link(client, connection).await)
}

async fn link<S, T>(client: Client, connection: tokio_postgres::Connection<S, T>) -> Link
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let announced_pid = announced_pid(&client).await;
    let driver = tokio::spawn(async move {
        // How it ended is told to whoever waits for an answer; with nobody waiting there is
        // nobody to tell. Notices of the server are not shown: they may quote values.
        let _ = connection.await;
    });
    Link { client, driver, announced_pid }
}

/// An endpoint that is shared by all connections to one database.
pub(crate) type SharedEndpoint = Arc<Endpoint>;
