//! A throwaway pgbouncer in transaction mode.

use std::sync::Arc;

use super::supervised::{Login, Start, Supervised, new_folder};
use super::{Product, Server, ServerError, binaries, client, free_port};

const WHAT: &str = "pgbouncer";

pub(super) fn start(behind: &Server) -> Result<Server, ServerError> {
    let pgbouncer = binaries::find(Product::Pgbouncer, &["pgbouncer"])?;
    let psql = binaries::find(Product::Postgres, &["psql"])?;
    let login = Login::instead_of_root(&["postgres", "nobody"]);
    let folder = new_folder(WHAT, login)?;
    let path = folder.path();
    let io = |source| ServerError::Io { what: WHAT, path: path.to_owned(), source };

    let target = client::Address::parse(&behind.url)?;
    let port = free_port().map_err(io)?;
    let users = path.join("users.txt");
    std::fs::write(&users, format!("\"{}\" \"{}\"\n", target.user, target.password)).map_err(io)?;
    // Only what is needed is set: tests are to meet pgbouncer as it comes.
    let settings = format!(
        "[databases]\n* = host={} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
         listen_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\n\
         pool_mode = transaction\nmax_client_conn = 500\ndefault_pool_size = 40\n\
         logfile =\npidfile =\n",
        target.host,
        target.port,
        users.display()
    );
    let file = path.join("pgbouncer.ini");
    std::fs::write(&file, settings).map_err(io)?;
    let answers = format!(
        "'{}' -X -q -h 127.0.0.1 -p {port} -U {} -d postgres -c 'SELECT 1'",
        psql.display(),
        target.user
    );
    let server = [pgbouncer.display().to_string(), file.display().to_string()];
    let process = Supervised::start(
        folder,
        &Start {
            what: WHAT,
            server: &server,
            answers: &answers,
            signal: "KILL",
            login,
            environment: &[("PGPASSWORD", &target.password), ("PGCONNECT_TIMEOUT", "5")],
        },
    )?;
    let mut processes = vec![Arc::new(process)];
    processes.extend(behind.processes.iter().cloned());
    Ok(Server {
        product: Product::Pgbouncer,
        url: target.at(port).url(),
        direct_url: Some(behind.url.clone()),
        processes,
    })
}
