//! TLS as libpq's `sslmode` means it, against a server with a certificate of a private authority.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::time::Duration;

use dunlin_engine::{Connector, ErrorKind, Purpose};
use dunlin_postgres::PostgresConnector;
use dunlin_testkit::servers::{Durability, Server};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// A server whose certificate is for `name` only.
fn start(name: &str) -> Server {
    let server = Server::postgres(Durability::Relaxed, &[]).expect("a server");
    let folder = server.folder().expect("its folder");
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "test authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key");
    let root = authority.self_signed(&authority_key).expect("a root");
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new([name.to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    write(&folder, "root.crt", &root.pem());
    write(&folder.join("data"), "server.crt", &certificate.pem());
    write(&folder.join("data"), "server.key", &key.serialize_pem());
    let sql = "ALTER SYSTEM SET ssl = on";
    dunlin_testkit::servers::run_sql(server.url(), sql).expect("a setting");
    dunlin_testkit::servers::run_sql(server.url(), "SELECT pg_reload_conf()").expect("a reload");
    server
}

/// Writes a file that the server's own user may read, and nobody else.
fn write(folder: &Path, name: &str, text: &str) {
    let file = folder.join(name);
    std::fs::write(&file, text).expect("a file");
    let owner = std::fs::metadata(folder).expect("a folder");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("rights");
    chown(&file, Some(owner.uid()), Some(owner.gid())).expect("an owner");
}

async fn connect(url: &str, parameters: &str) -> Result<(), dunlin_engine::TargetError> {
    let url = format!("{url}?{parameters}");
    let connector = PostgresConnector::new(&url, None, Duration::from_secs(10))?;
    let mut target = connector.connect(Purpose::Look).await?;
    target.probe(&[]).await.map(|facts| assert!(!facts.server.pooled))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_verifies_what_it_says() {
    let server = tokio::task::spawn_blocking(|| start("db.example.com")).await.expect("a server");
    let (url, folder) = (server.url(), server.folder().expect("its folder"));
    let root = format!("sslrootcert={}", folder.join("root.crt").display());
    // The reload reaches new sessions a moment later.
    let reloaded = async {
        while connect(url, "sslmode=require").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reloaded).await.expect("TLS is on");
    connect(url, "sslmode=prefer").await.expect("any certificate will do");
    connect(url, &format!("sslmode=verify-ca&{root}")).await.expect("the chain is good");
    connect(url, &format!("sslmode=require&{root}")).await.expect("the chain is good");
    for (parameters, part) in [
        (format!("sslmode=verify-full&{root}"), "sslmode=verify-ca checks all but the name"),
        ("sslmode=verify-ca".to_owned(), "sslrootcert="),
        ("sslmode=verify-full".to_owned(), "sslrootcert="),
        ("sslmode=verify-full&sslrootcert=/no/such/file".to_owned(), "/no/such/file"),
    ] {
        let error = connect(url, &parameters).await.expect_err(&parameters);
        let all = format!("{} {}", error.message, error.help.clone().unwrap_or_default());
        assert_eq!(error.kind, ErrorKind::Tls, "{parameters}: {error:?}");
        assert!(all.contains(part), "{parameters}: {all}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_name_is_accepted_and_plain_text_is_not() {
    let server = tokio::task::spawn_blocking(|| start("127.0.0.1")).await.expect("a server");
    let root = server.folder().expect("its folder").join("root.crt");
    let full = format!("sslmode=verify-full&sslrootcert={}", root.display());
    let reloaded = async {
        while connect(server.url(), &full).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reloaded).await.expect("TLS is on");
    connect(server.url(), "sslmode=disable").await.expect("without TLS");
    let plain =
        tokio::task::spawn_blocking(|| dunlin_testkit::servers::postgres().url().to_owned());
    let plain = plain.await.expect("a server without TLS");
    let error = connect(&plain, "sslmode=require").await.expect_err("it has none");
    assert_eq!(error.kind, ErrorKind::Tls);
    connect(&plain, "sslmode=prefer").await.expect("it goes without");
}
