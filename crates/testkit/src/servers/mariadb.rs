//! A throwaway MariaDB, or MySQL where that is what is installed.

use std::path::Path;
use std::sync::Arc;

use super::supervised::{Login, Start, Supervised, command, new_folder, run};
use super::{Durability, PASSWORD, Product, Server, ServerError, USER, binaries, free_port};

const WHAT: &str = "mariadb";

pub(super) fn start(
    durability: Durability,
    settings: &[(&str, &str)],
) -> Result<Server, ServerError> {
    let mariadbd = binaries::find(Product::Mysql, binaries::SERVER_NAMES)?;
    let admin = binaries::find(Product::Mysql, binaries::ADMIN_NAMES)?;
    let login = Login::instead_of_root(&["mysql", "nobody"]);
    let folder = new_folder(WHAT, login)?;
    let path = folder.path();
    let io = |source| ServerError::Io { what: WHAT, path: path.to_owned(), source };

    initialize(&mariadbd, path, login)?;
    let setup = path.join("setup.sql");
    let create = format!(
        "CREATE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';\n\
         GRANT ALL ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n"
    );
    std::fs::write(&setup, create).map_err(io)?;

    let port = free_port().map_err(io)?;
    let mut server = vec![mariadbd.display().to_string(), "--no-defaults".to_owned()];
    server.extend(
        own_settings(durability, port, &path.display().to_string())
            .into_iter()
            .map(|(name, value)| format!("--{name}={value}"))
            .chain(settings.iter().map(|(name, value)| format!("--{name}={value}"))),
    );
    let answers = format!(
        "'{}' --no-defaults --protocol=tcp --host=127.0.0.1 --port={port} --user={USER} \
         --password={PASSWORD} processlist",
        admin.display()
    );
    let process = Supervised::start(
        folder,
        &Start {
            what: WHAT,
            server: &server,
            answers: &answers,
            // InnoDB recovers from its log; there is nothing here worth a clean shutdown.
            signal: "KILL",
            login,
            environment: &[],
        },
    )?;
    Ok(Server {
        product: Product::Mysql,
        url: format!("mysql://{USER}:{PASSWORD}@127.0.0.1:{port}/mysql"),
        direct_url: None,
        processes: vec![Arc::new(process)],
    })
}

fn initialize(mariadbd: &Path, folder: &Path, login: Option<Login>) -> Result<(), ServerError> {
    let data = format!("--datadir={}", folder.join("data").display());
    let script = binaries::find(Product::Mysql, &["mariadb-install-db", "mysql_install_db"]);
    let mut init = match &script {
        Ok(script) => {
            let mut init = command(script, folder, login);
            init.args(["--no-defaults", "--auth-root-authentication-method=normal"])
                .args(["--skip-test-db", "--skip-name-resolve", "--skip-log-bin"])
                .arg(format!("--tmpdir={}", folder.display()));
            init
        }
        Err(_) => {
            let mut init = command(mariadbd, folder, login);
            init.args(["--no-defaults", "--initialize-insecure"]);
            init
        }
    };
    init.arg(data);
    run(WHAT, init)
}

fn own_settings(durability: Durability, port: u16, folder: &str) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("datadir", format!("{folder}/data")),
        ("tmpdir", folder.to_owned()),
        ("socket", format!("{folder}/s")),
        ("pid-file", format!("{folder}/pid")),
        ("init-file", format!("{folder}/setup.sql")),
        ("bind-address", "127.0.0.1".to_owned()),
        ("port", port.to_string()),
        ("skip-name-resolve", "1".to_owned()),
        ("skip-log-bin", "1".to_owned()),
        // Test binaries run beside each other, some with sixteen runners of several connections.
        ("max-connections", "300".to_owned()),
    ];
    if durability == Durability::Relaxed {
        settings.extend([
            ("innodb-flush-log-at-trx-commit", "0".to_owned()),
            ("innodb-doublewrite", "0".to_owned()),
            ("innodb-flush-method", "nosync".to_owned()),
            ("sync-frm", "0".to_owned()),
        ]);
    }
    settings
}
