//! Servers with settings that matter: certificates, read-only, the format of the binary log.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use dunlin_engine::{Connector as _, ErrorKind, Purpose, TargetError};
use dunlin_mysql::MysqlConnector;
use dunlin_testkit::servers::{Durability, Server};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, OptsBuilder};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::support::{LEDGER_ID, owner};

/// An authority, and a certificate of its for `localhost`.
struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let certificates = Self { folder };
        let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key"))
                .expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(vec!["localhost".to_owned()])
            .and_then(|leaf| leaf.signed_by(&key, &authority))
            .expect("a certificate");
        certificates.write("authority.pem", &authority.pem());
        certificates.write("server.pem", &leaf.pem());
        certificates.write("key.pem", &key.serialize_pem());
        // The server runs as another user.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(certificates.folder.path(), open).expect("opened");
        certificates
    }

    fn write(&self, name: &str, pem: &str) {
        std::fs::write(self.path(name), pem).expect("written");
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }
}

async fn connect(url: &str) -> Result<Box<dyn dunlin_engine::Target>, TargetError> {
    let connector = MysqlConnector::new(url, None, &[], Duration::from_secs(10)).expect("a URL");
    connector.connect(Purpose::Run).await
}

async fn eyes(url: &str) -> Conn {
    let options = Opts::from_url(url).expect("options");
    Conn::new(OptsBuilder::from_opts(options).prefer_socket(false)).await.expect("connected")
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_verified_as_asked() {
    let certificates = Certificates::new();
    let (certificate, key) = (certificates.path("server.pem"), certificates.path("key.pem"));
    let server = tokio::task::spawn_blocking(move || {
        Server::mysql(Durability::Relaxed, &[("ssl-cert", &certificate), ("ssl-key", &key)])
    });
    let server = server.await.expect("joined").expect("a server");
    let by_number = server.url().to_owned();
    let by_name = by_number.replace("127.0.0.1", "localhost");
    let trusted = format!("sslrootcert={}", certificates.path("authority.pem"));

    for url in [
        by_number.clone(),
        format!("{by_number}?sslmode=disable"),
        format!("{by_number}?sslmode=require"),
        format!("{by_number}?ssl-mode=VERIFY_CA&{trusted}"),
        format!("{by_name}?sslmode=verify-ca&{trusted}"),
        format!("{by_name}?sslmode=verify-full&{trusted}"),
    ] {
        connect(&url).await.map(drop).unwrap_or_else(|error| panic!("{url}: {error:?}"));
    }
    for url in [
        format!("{by_number}?sslmode=verify-full&{trusted}"),
        format!("{by_name}?sslmode=verify-full"),
        format!("{by_number}?sslmode=verify-ca"),
        format!("{by_number}?sslmode=verify-ca&sslrootcert={}", certificates.path("server.pem")),
    ] {
        let Err(error) = connect(&url).await else { panic!("{url} connected") };
        assert_eq!(error.kind, ErrorKind::Tls, "{url}: {error:?}");
        assert!(error.help.is_some());
    }
    let mut eyes = eyes(&by_number).await;
    let required = "ALTER USER CURRENT_USER() REQUIRE SSL";
    eyes.query_drop(required).await.expect(required);
    // What prefers TLS has it; without it this login is refused.
    connect(&by_number).await.map(drop).expect("encrypted");
    let Err(error) = connect(&format!("{by_number}?sslmode=disable")).await else {
        panic!("connected in clear")
    };
    assert_eq!(error.kind, ErrorKind::Authentication, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_take_no_safe_writes_are_refused_before_any() {
    let server = tokio::task::spawn_blocking(|| {
        Server::mysql(Durability::Relaxed, &[("log-bin", "bin"), ("server-id", "1")])
    });
    let server = server.await.expect("joined").expect("a server");
    let mut eyes = eyes(server.url()).await;
    eyes.query_drop("CREATE DATABASE app").await.expect("created");
    let url = server.url().replace("/mysql", "/app");
    let mut target = connect(&url).await.expect("connected");
    target.create_ledger(LEDGER_ID).await.expect("a ledger");

    for (on, off, kind) in [
        ("SET GLOBAL read_only = 1", "SET GLOBAL read_only = 0", ErrorKind::ReadOnly),
        (
            "SET GLOBAL binlog_format = 'STATEMENT'",
            "SET GLOBAL binlog_format = 'ROW'",
            ErrorKind::Unsupported,
        ),
    ] {
        eyes.query_drop(on).await.expect(on);
        let mut target = connect(&url).await.expect("connected");
        let probe = target.probe(&[]).await.expect("looking works");
        assert_eq!(probe.server.read_only.is_some(), kind == ErrorKind::ReadOnly);
        let ttl = Duration::from_secs(60);
        let claim = target.claim(&dunlin_model::Resource::Schema, &owner(1), ttl, None).await;
        let error = claim.expect_err(on);
        assert_eq!(error.kind, kind, "{error:?}");
        assert!(error.help.is_some());
        assert_eq!(target.create_ledger(LEDGER_ID).await.expect_err(on).kind, kind);
        eyes.query_drop(off).await.expect(off);
    }
}
