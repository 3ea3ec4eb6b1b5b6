//! The fault proxy in front of a server that echoes, and of a real PostgreSQL.

use std::time::Duration;

use dunlin_testkit::proxy::{Proxy, Trap, Way, Weather};
use dunlin_testkit::servers;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// A server that sends everything back, and reports what it got.
async fn echo() -> (String, mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                loop {
                    let length = socket.read(&mut buffer).await.unwrap_or(0);
                    sender.send(buffer[..length].to_vec()).ok();
                    if length == 0 || socket.write_all(&buffer[..length]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, receiver)
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap()
}

async fn ask(socket: &mut TcpStream, text: &str) -> String {
    socket.write_all(text.as_bytes()).await.unwrap();
    let mut answer = vec![0; text.len()];
    socket.read_exact(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// Everything until the end; a reset counts as one.
async fn rest(socket: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match socket.read(&mut buffer).await {
            Ok(0) | Err(_) => return all,
            Ok(length) => all.extend_from_slice(&buffer[..length]),
        }
    }
}

#[tokio::test]
async fn forwards_and_passes_the_end_on() {
    let (upstream, _got) = echo().await;
    let proxy = Proxy::start(&upstream).await.unwrap();
    let mut socket = connect(&proxy).await;
    assert_eq!(ask(&mut socket, "hello").await, "hello");
    socket.shutdown().await.unwrap();
    assert_eq!(rest(&mut socket).await, b"");
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn cuts_now_and_lets_the_next_connection_in() {
    let (upstream, _got) = echo().await;
    let proxy = Proxy::start(&upstream).await.unwrap();
    let mut socket = connect(&proxy).await;
    assert_eq!(ask(&mut socket, "hello").await, "hello");
    proxy.cut();
    assert_eq!(rest(&mut socket).await, b"");
    assert_eq!(ask(&mut connect(&proxy).await, "again").await, "again");
}

#[tokio::test]
async fn cuts_at_every_byte_of_an_answer() {
    let (upstream, _got) = echo().await;
    let proxy = Proxy::start(&upstream).await.unwrap();
    for bytes in 0..=5_u64 {
        proxy.arm(Trap::CutAfter { way: Way::ToClient, bytes });
        let mut socket = connect(&proxy).await;
        socket.write_all(b"hello").await.unwrap();
        let length = usize::try_from(bytes).unwrap();
        assert_eq!(rest(&mut socket).await, b"hello"[..length].to_vec());
        assert_eq!(proxy.sprung(), bytes + 1);
    }
    assert_eq!(ask(&mut connect(&proxy).await, "whole").await, "whole");
}

#[tokio::test]
async fn counts_bytes_over_several_connections() {
    let (upstream, mut got) = echo().await;
    let proxy = Proxy::start(&upstream).await.unwrap();
    proxy.arm(Trap::CutAfter { way: Way::ToServer, bytes: 8 });
    assert_eq!(ask(&mut connect(&proxy).await, "hello").await, "hello");
    let mut second = connect(&proxy).await;
    second.write_all(b"hello").await.unwrap();
    proxy.until_sprung(1).await;
    let mut all = Vec::new();
    while all.len() < 8 {
        all.extend(got.recv().await.unwrap());
    }
    assert_eq!(all, b"hellohel");
}

#[tokio::test]
async fn a_blackhole_holds_everything_back_until_it_ends() {
    let (upstream, mut got) = echo().await;
    let proxy = Proxy::start(&upstream).await.unwrap();
    let mut socket = connect(&proxy).await;
    assert_eq!(ask(&mut socket, "one").await, "one");
    assert_eq!(got.recv().await.unwrap(), b"one");
    proxy.weather(Weather { blackhole: true, ..Weather::default() });
    socket.write_all(b"two").await.unwrap();
    let silence = tokio::time::timeout(Duration::from_millis(50), got.recv()).await;
    assert!(silence.is_err(), "nothing passes");
    proxy.weather(Weather::default());
    let mut answer = [0; 3];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"two");
}

#[tokio::test]
async fn slices_and_delays_change_no_byte() {
    let (upstream, _got) = echo().await;
    let proxy = Proxy::start(&upstream).await.unwrap();
    proxy.weather(Weather {
        slice: Some(1),
        latency: Some(Duration::from_millis(1)),
        ..Weather::default()
    });
    let text = "a longer text than one segment".repeat(20);
    assert_eq!(ask(&mut connect(&proxy).await, &text).await, text);
}

#[tokio::test]
async fn a_match_over_two_segments_is_not_delivered() {
    let (upstream, mut got) = echo().await;
    let proxy = Proxy::start(&upstream).await.unwrap();
    proxy.arm(Trap::NotDelivered { pattern: "COMMIT".into(), nth: 2 });
    let mut socket = connect(&proxy).await;
    assert_eq!(ask(&mut socket, "commit; com").await, "commit; com");
    socket.write_all(b"mit;").await.unwrap();
    assert_eq!(rest(&mut socket).await, b"");
    assert_eq!(proxy.sprung(), 1);
    assert_eq!(got.recv().await.unwrap(), b"commit; com");
    assert_eq!(got.recv().await.unwrap(), b"", "the server sees the end, not the rest");
}

#[tokio::test]
async fn a_match_is_delivered_and_its_answer_lost() {
    let (upstream, mut got) = echo().await;
    let proxy = Proxy::start(&upstream).await.unwrap();
    proxy.arm(Trap::ReplyLost { pattern: "COMMIT".into(), nth: 1 });
    let mut socket = connect(&proxy).await;
    assert_eq!(ask(&mut socket, "insert").await, "insert");
    socket.write_all(b"commit").await.unwrap();
    assert_eq!(rest(&mut socket).await, b"");
    assert_eq!(proxy.sprung(), 1);
    assert_eq!(got.recv().await.unwrap(), b"insert");
    assert_eq!(got.recv().await.unwrap(), b"commit");
    assert!(!proxy.disarm(), "a trap springs once");
}

/// The client reports an error and the row is there, or the client reports an error and it is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_commit_is_lost_on_either_side() {
    let database = servers::postgres().database("proxy");
    let proxy = Proxy::in_front_of(&database.url).await.unwrap();
    let url = proxy.through(&database.url);
    database.sql("CREATE TABLE t (a int)").unwrap();
    let insert = |url: String, row: i32| {
        tokio::task::spawn_blocking(move || {
            servers::run_sql(&url, &format!("BEGIN;\nINSERT INTO t VALUES ({row});\nCOMMIT;\n"))
        })
    };
    proxy.arm(Trap::NotDelivered { pattern: "COMMIT".into(), nth: 1 });
    assert!(insert(url.clone(), 1).await.unwrap().is_err());
    assert_eq!(database.sql("SELECT a FROM t").unwrap(), "");
    proxy.arm(Trap::ReplyLost { pattern: "COMMIT".into(), nth: 1 });
    assert!(insert(url.clone(), 2).await.unwrap().is_err());
    assert_eq!(database.sql("SELECT a FROM t").unwrap(), "2\n");
    insert(url, 3).await.unwrap().unwrap();
    assert_eq!(proxy.sprung(), 2);
}
