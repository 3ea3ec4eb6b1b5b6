//! A server that is not what it says.

use std::time::Duration;

use dunlin_engine::{Connector as _, ErrorKind, Purpose};
use dunlin_mysql::MysqlConnector;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What a MySQL 8 server says first.
fn greeting() -> Vec<u8> {
    let mut greeting = vec![10];
    greeting.extend_from_slice(b"8.0.41\0");
    greeting.extend_from_slice(&7_u32.to_le_bytes());
    greeting.extend_from_slice(b"12345678\0");
    // Protocol 4.1, secure connection, local files, plug-in authentication; no TLS.
    let capabilities: u32 = 0x0008_8280 | 0x0000_0001;
    greeting.extend_from_slice(&capabilities.to_le_bytes()[..2]);
    greeting.push(45);
    greeting.extend_from_slice(&2_u16.to_le_bytes());
    greeting.extend_from_slice(&capabilities.to_le_bytes()[2..]);
    greeting.push(21);
    greeting.extend_from_slice(&[0; 10]);
    greeting.extend_from_slice(b"123456789012\0");
    greeting.extend_from_slice(b"mysql_native_password\0");
    greeting
}

async fn send(stream: &mut TcpStream, number: u8, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("short").to_le_bytes();
    let mut packet = vec![length[0], length[1], length[2], number];
    packet.extend_from_slice(payload);
    stream.write_all(&packet).await.expect("sent");
}

/// The payload of a packet; `None` once the client is gone.
async fn receive(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.ok()?;
    let mut payload = vec![0; usize::from(head[0]) | usize::from(head[1]) << 8];
    stream.read_exact(&mut payload).await.ok()?;
    Some(payload)
}

#[tokio::test]
async fn a_server_that_asks_for_a_local_file_gets_none() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("an address").port();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accepted");
        send(&mut stream, 0, &greeting()).await;
        receive(&mut stream).await.expect("a login");
        send(&mut stream, 2, &[0, 0, 0, 2, 0, 0, 0]).await;
        receive(&mut stream).await.expect("a query");
        send(&mut stream, 1, b"\xfb/etc/passwd").await;
        let mut sent = 0;
        while let Some(payload) = receive(&mut stream).await {
            sent += payload.len();
            send(&mut stream, 3, &[0, 0, 0, 2, 0, 0, 0]).await;
        }
        sent
    });
    let url = format!("mysql://u:canary@127.0.0.1:{port}/app?sslmode=disable");
    let connector = MysqlConnector::new(&url, None, &[], Duration::from_secs(10)).expect("a URL");
    let Err(error) = connector.connect(Purpose::Look).await else { panic!("it connected") };
    assert_eq!(error.kind, ErrorKind::Refused, "{error:?}");
    assert!(!format!("{error:?}").contains("canary"));
    drop(connector);
    assert_eq!(server.await.expect("joined"), 0, "bytes of a file were sent");
}

#[tokio::test]
async fn what_is_no_database_server_is_named_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // The client may be gone already.
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let url = format!("mysql://u:canary@127.0.0.1:{port}/app");
    let connector = MysqlConnector::new(&url, None, &[], Duration::from_secs(10)).expect("a URL");
    let Err(error) = connector.connect(Purpose::Look).await else { panic!("it connected") };
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error:?}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("an address").port();
    let url = format!("mysql://u@127.0.0.1:{port}/app");
    let connector =
        MysqlConnector::new(&url, None, &[], Duration::from_millis(100)).expect("a URL");
    let Err(error) = connector.connect(Purpose::Look).await else { panic!("it connected") };
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error:?}");
}
