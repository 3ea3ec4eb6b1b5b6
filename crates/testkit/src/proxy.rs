//! A TCP proxy that makes the network fail on purpose, in ways that can be repeated.
//!
//! It knows no protocol: it counts and searches bytes. A [`Weather`] holds for every connection
//! until it is changed; a [`Trap`] springs once, on whichever connection meets it first.
//! Invariant: bytes are delayed, sliced or never forwarded, but never changed or reordered.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The way that bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// How the network is, for all connections, both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weather {
    /// Connections stay open and nothing passes; what was held back passes when it ends.
    pub blackhole: bool,
    /// Every read is forwarded that much later.
    pub latency: Option<Duration>,
    /// What is read is forwarded in segments of at most that many bytes.
    pub slice: Option<usize>,
}

/// A failure that happens once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trap {
    /// The connection is cut when that many bytes, counted over all connections from now, have
    /// passed that way: not one more.
    CutAfter {
        /// Which bytes are counted.
        way: Way,
        /// How many pass.
        bytes: u64,
    },
    /// The client's bytes with the n-th match (from 1) are not forwarded, and the connection is
    /// cut: "COMMIT not delivered".
    NotDelivered {
        /// What to look for, in any case of its ASCII letters.
        pattern: String,
        /// Which match, over all connections from now.
        nth: usize,
    },
    /// The client's bytes with the n-th match (from 1) are forwarded, and what the server answers
    /// from then on is not: "COMMIT delivered, reply lost". The client sees the end of the
    /// connection when the first answer is lost; the server, only when the client has closed it,
    /// so the server finishes what it was given. It springs with that first answer.
    ReplyLost {
        /// What to look for, in any case of its ASCII letters.
        pattern: String,
        /// Which match, over all connections from now.
        nth: usize,
    },
}

/// The proxy. Dropping it cuts everything.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    weather: watch::Sender<Weather>,
    /// Grows with every order to cut what is open.
    cuts: watch::Sender<u64>,
    /// How many traps have sprung.
    sprung: watch::Sender<u64>,
    trap: Mutex<Option<Armed>>,
    accepted: AtomicUsize,
}

#[derive(Debug)]
struct Armed {
    trap: Trap,
    /// What is left of its count: bytes, or matches.
    left: u64,
}

/// What becomes of bytes that were read.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// All are forwarded.
    Pass,
    /// So many are forwarded, then the connection is cut.
    CutAt(usize),
    /// All are forwarded, and answers are lost from here on.
    LoseReplies,
}

impl Proxy {
    /// Starts a proxy on a free port of the loopback interface to `host:port`.
    pub async fn start(upstream: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            weather: watch::Sender::new(Weather::default()),
            cuts: watch::Sender::new(0),
            sprung: watch::Sender::new(0),
            trap: Mutex::new(None),
            accepted: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { port, shared, accepting })
    }

    /// Starts a proxy in front of the server of a database URL.
    pub async fn in_front_of(url: &str) -> io::Result<Self> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "the URL has no host");
        let url = url::Url::parse(url).map_err(|_| invalid())?;
        let default_port = if url.scheme() == "mysql" { 3306 } else { 5432 };
        let host = url.host_str().ok_or_else(invalid)?;
        Self::start(&format!("{host}:{}", url.port().unwrap_or(default_port))).await
    }

    /// The port that it listens on, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A database URL with this proxy in place of its server.
    #[must_use]
    pub fn through(&self, url: &str) -> String {
        let Ok(mut parsed) = url::Url::parse(url) else { return url.to_owned() };
        let replaced =
            parsed.set_host(Some("127.0.0.1")).is_ok() && parsed.set_port(Some(self.port)).is_ok();
        if replaced { parsed.into() } else { url.to_owned() }
    }

    /// How many connections it has accepted.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Changes the weather, for open connections too.
    pub fn weather(&self, weather: Weather) {
        self.shared.weather.send_replace(weather);
    }

    /// Sets a trap in place of one that has not sprung.
    pub fn arm(&self, trap: Trap) {
        let left = match &trap {
            Trap::CutAfter { bytes, .. } => *bytes,
            Trap::NotDelivered { nth, .. } | Trap::ReplyLost { nth, .. } => *nth as u64,
        };
        *self.shared.armed() = Some(Armed { trap, left });
    }

    /// Takes a trap away that has not sprung. Returns whether there was one.
    pub fn disarm(&self) -> bool {
        self.shared.armed().take().is_some()
    }

    /// How many traps have sprung.
    #[must_use]
    pub fn sprung(&self) -> u64 {
        *self.shared.sprung.borrow()
    }

    /// Waits until that many traps have sprung.
    pub async fn until_sprung(&self, count: u64) {
        let mut sprung = self.shared.sprung.subscribe();
        // The sender lives as long as we do.
        let _ = sprung.wait_for(|&so_far| so_far >= count).await;
    }

    /// Cuts every open connection, both sides.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

impl Shared {
    fn armed(&self) -> MutexGuard<'_, Option<Armed>> {
        self.trap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges bytes that were read, `before` being the end of what went before them.
    fn judge(&self, way: Way, before: &[u8], bytes: &[u8]) -> Verdict {
        let mut guard = self.armed();
        let Some(armed) = guard.as_mut() else { return Verdict::Pass };
        let verdict = match &armed.trap {
            Trap::CutAfter { way: counted, .. } if *counted == way => {
                let length = bytes.len() as u64;
                if length < armed.left {
                    armed.left -= length;
                    return Verdict::Pass;
                }
                Verdict::CutAt(usize::try_from(armed.left).unwrap_or(bytes.len()))
            }
            Trap::NotDelivered { pattern, .. } | Trap::ReplyLost { pattern, .. }
                if way == Way::ToServer =>
            {
                let found = matches(pattern.as_bytes(), before, bytes);
                if found < armed.left {
                    armed.left -= found;
                    return Verdict::Pass;
                }
                match armed.trap {
                    Trap::NotDelivered { .. } => Verdict::CutAt(0),
                    _ => Verdict::LoseReplies,
                }
            }
            _ => return Verdict::Pass,
        };
        *guard = None;
        verdict
    }

    fn spring(&self) {
        self.sprung.send_modify(|count| *count += 1);
    }
}

/// How many times a pattern ends within `bytes`, if `before` went before them.
fn matches(pattern: &[u8], before: &[u8], bytes: &[u8]) -> u64 {
    if pattern.is_empty() {
        return 0;
    }
    let kept = &before[before.len().saturating_sub(pattern.len() - 1)..];
    let all = [kept, bytes].concat();
    all.windows(pattern.len()).filter(|window| window.eq_ignore_ascii_case(pattern)).count() as u64
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // A listener that fails accepts nothing more; clients then see a closed port.
    while let Ok((client, _)) = listener.accept().await {
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(connection(client, Arc::clone(&shared)));
    }
}

/// One connection, until it ends or is cut.
async fn connection(client: TcpStream, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    let Ok(server) = TcpStream::connect(&shared.upstream).await else { return };
    // Slices must be segments; without this the kernel joins them again. Where it cannot be set
    // the weather is only milder.
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let lost = AtomicBool::new(false);
    let pump = |way| Pump { way, shared: &shared, lost: &lost };
    let pumps = async {
        tokio::try_join!(
            pump(Way::ToServer).run(client_read, server_write),
            pump(Way::ToClient).run(server_read, client_write),
        )
    };
    tokio::select! {
        _ = cuts.changed() => {}
        // Both ways have ended, or a trap cut the connection: either way it is dropped.
        _ = pumps => {}
    }
}

/// The connection is to be dropped, both sides.
struct Cut;

/// One way of one connection.
struct Pump<'a> {
    way: Way,
    shared: &'a Shared,
    /// Set once this connection's answers are to be lost.
    lost: &'a AtomicBool,
}

impl Pump<'_> {
    /// Forwards until the reading side ends, which is passed on.
    async fn run(self, mut from: OwnedReadHalf, to: OwnedWriteHalf) -> Result<(), Cut> {
        let mut to = Some(to);
        let mut weather = self.shared.weather.subscribe();
        let mut buffer = vec![0; 16 * 1024];
        let mut before = Vec::new();
        loop {
            let length = from.read(&mut buffer).await.unwrap_or(0);
            if length == 0 {
                // Dropping the writing half passes the end on.
                return Ok(());
            }
            // The sender outlives every connection.
            let _ = weather.wait_for(|weather| !weather.blackhole).await;
            let now = *weather.borrow_and_update();
            if let Some(latency) = now.latency {
                tokio::time::sleep(latency).await;
            }
            let bytes = &buffer[..length];
            if self.way == Way::ToClient && self.lost.load(Ordering::SeqCst) {
                // Cut the client at the first lost answer, and read on: a server that cannot
                // write would stop before it has read all that was delivered.
                if to.take().is_some() {
                    self.shared.spring();
                }
                continue;
            }
            let Some(to) = to.as_mut() else { continue };
            match self.shared.judge(self.way, &before, bytes) {
                Verdict::Pass => forward(to, bytes, now.slice).await?,
                Verdict::CutAt(length) => {
                    // It is cut in any case.
                    let _ = forward(to, &bytes[..length], now.slice).await;
                    self.shared.spring();
                    return Err(Cut);
                }
                Verdict::LoseReplies => {
                    self.lost.store(true, Ordering::SeqCst);
                    forward(to, bytes, now.slice).await?;
                }
            }
            before.extend_from_slice(bytes);
            // Patterns are words: 256 bytes are more than any needs.
            before.drain(..before.len().saturating_sub(256));
        }
    }
}

async fn forward(to: &mut OwnedWriteHalf, bytes: &[u8], slice: Option<usize>) -> Result<(), Cut> {
    for piece in bytes.chunks(slice.unwrap_or(usize::MAX).max(1)) {
        to.write_all(piece).await.map_err(|_| Cut)?;
        if slice.is_some() {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}
