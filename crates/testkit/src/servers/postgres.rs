//! A throwaway PostgreSQL.

use std::sync::Arc;

use super::supervised::{Login, Start, Supervised, command, new_folder, run};
use super::{Durability, PASSWORD, Product, Server, ServerError, USER, binaries, free_port};

const WHAT: &str = "postgres";

pub(super) fn start(
    durability: Durability,
    settings: &[(&str, &str)],
) -> Result<Server, ServerError> {
    let initdb = binaries::find(Product::Postgres, &["initdb"])?;
    let login = Login::instead_of_root(LOGINS);
    let folder = new_folder(WHAT, login)?;
    let path = folder.path();
    let io = |source| ServerError::Io { what: WHAT, path: path.to_owned(), source };

    let password = path.join("password");
    std::fs::write(&password, PASSWORD).map_err(io)?;
    let mut init = command(&initdb, path, login);
    init.args(["--no-sync", "--encoding=UTF8", "--no-locale", "--auth=scram-sha-256"])
        .arg(format!("--username={USER}"))
        .arg(format!("--pwfile={}", password.display()))
        .arg(format!("--pgdata={}", path.join("data").display()));
    run(WHAT, init)?;
    serve(folder, login, durability, settings)
}

/// Starts a streaming standby of a server that we started.
pub(super) fn standby(primary: &Server, durability: Durability) -> Result<Server, ServerError> {
    let basebackup = binaries::find(Product::Postgres, &["pg_basebackup"])?;
    let login = Login::instead_of_root(LOGINS);
    let folder = new_folder(WHAT, login)?;
    let mut copy = command(&basebackup, folder.path(), login);
    // It also writes how the standby finds its primary.
    copy.args(["--no-sync", "--write-recovery-conf", "--checkpoint=fast", "--wal-method=stream"])
        .arg(format!("--pgdata={}", folder.path().join("data").display()))
        .arg(format!("--dbname={}", primary.url));
    run(WHAT, copy)?;
    serve(folder, login, durability, &[])
}

/// Whom a server runs as where we are root.
const LOGINS: &[&str] = &["postgres", "nobody"];

/// Starts a server on the data in a folder.
fn serve(
    folder: tempfile::TempDir,
    login: Option<Login>,
    durability: Durability,
    settings: &[(&str, &str)],
) -> Result<Server, ServerError> {
    let postgres = binaries::find(Product::Postgres, &["postgres"])?;
    let psql = binaries::find(Product::Postgres, &["psql"])?;
    let path = folder.path();
    let io = |source| ServerError::Io { what: WHAT, path: path.to_owned(), source };
    let port = free_port().map_err(io)?;
    let mut server =
        vec![postgres.display().to_string(), "-D".into(), path.join("data").display().to_string()];
    for (name, value) in own_settings(durability, port, &path.display().to_string())
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .chain(settings.iter().copied())
    {
        server.extend(["-c".to_owned(), format!("{name}={value}")]);
    }
    let answers = format!(
        "'{}' -X -q -h 127.0.0.1 -p {port} -U {USER} -d postgres -c 'SELECT 1'",
        psql.display()
    );
    let process = Supervised::start(
        folder,
        &Start {
            what: WHAT,
            server: &server,
            answers: &answers,
            // An immediate shutdown: there is nothing worth a checkpoint.
            signal: "QUIT",
            login,
            environment: &[("PGPASSWORD", PASSWORD), ("PGCONNECT_TIMEOUT", "5")],
        },
    )?;
    Ok(Server {
        product: Product::Postgres,
        url: format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{port}/postgres"),
        direct_url: None,
        processes: vec![Arc::new(process)],
    })
}

fn own_settings(durability: Durability, port: u16, folder: &str) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("listen_addresses", "127.0.0.1".to_owned()),
        ("port", port.to_string()),
        ("unix_socket_directories", folder.to_owned()),
        // Test binaries run beside each other, some with sixteen runners of several connections.
        ("max_connections", "300".to_owned()),
        ("log_line_prefix", "%m [%p] %a ".to_owned()),
    ];
    if durability == Durability::Relaxed {
        settings.extend([
            ("fsync", "off".to_owned()),
            ("synchronous_commit", "off".to_owned()),
            ("full_page_writes", "off".to_owned()),
            ("autovacuum", "off".to_owned()),
        ]);
    }
    settings
}
