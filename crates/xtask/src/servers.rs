//! Throwaway servers for a test run, or to play with.

use std::process::Command;

use dunlin_testkit::servers::{
    Durability, MYSQL_URL, PGBOUNCER_URL, POSTGRES_URL, Server, ServerError,
};

use crate::{Failure, cargo, install};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Force every commit to the disk, as servers do by themselves.
    #[arg(long)]
    durable: bool,
}

/// The servers of one run, and where to find them.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    /// Kept running.
    _servers: Vec<Server>,
    /// Environment variables with their URLs.
    urls: Vec<(&'static str, String)>,
}

impl Fleet {
    /// Starts what the environment does not name. A server that is not installed is left out,
    /// and said; one that does not start is a failure.
    pub(crate) fn start(durability: Durability) -> Result<Self, Failure> {
        let mut fleet = Self::default();
        if cargo::environment(POSTGRES_URL).is_none()
            && let Some(postgres) = started(Server::postgres(durability, &[]))?
        {
            if cargo::environment(PGBOUNCER_URL).is_none()
                && let Some(pgbouncer) = started(Server::pgbouncer(&postgres))?
            {
                fleet.add(PGBOUNCER_URL, pgbouncer);
            }
            fleet.add(POSTGRES_URL, postgres);
        }
        if cargo::environment(MYSQL_URL).is_none()
            && let Some(mysql) = started(Server::mysql(durability, &[]))?
        {
            fleet.add(MYSQL_URL, mysql);
        }
        Ok(fleet)
    }

    fn add(&mut self, variable: &'static str, server: Server) {
        self.urls.push((variable, server.url().to_owned()));
        self._servers.push(server);
    }

    /// Tells a command where they are.
    pub(crate) fn tell<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.envs(self.urls.iter().map(|(variable, url)| (variable, url)))
    }
}

fn started(server: Result<Server, ServerError>) -> Result<Option<Server>, Failure> {
    match server {
        Ok(server) => Ok(Some(server)),
        Err(ServerError::Missing(missing)) => {
            eprintln!("{missing}");
            Ok(None)
        }
        Err(error) => Err(Failure::because("no test server", &error)),
    }
}

/// `cargo xtask servers`
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    install::missing_servers()?;
    let durability = if options.durable { Durability::Full } else { Durability::Relaxed };
    let fleet = Fleet::start(durability)?;
    for (variable, url) in &fleet.urls {
        println!("export {variable}='{url}'");
    }
    eprintln!("Ctrl-C stops them and removes their folders.");
    runtime()?
        .block_on(tokio::signal::ctrl_c())
        .map_err(|error| Failure::because("cannot wait for Ctrl-C", &error))
}

/// Something to run async code on.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        // Commands here wait for child processes; looks through database clients block threads.
        .worker_threads(4)
        .enable_all()
        .build()
        .map_err(|error| Failure::because("cannot start tasks", &error))
}
