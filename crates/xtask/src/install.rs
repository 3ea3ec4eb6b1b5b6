//! Installing the servers that tests need, where that can be done without asking.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use dunlin_testkit::servers::{Product, missing};

use crate::{Failure, cargo};

/// Debian asks this program whether a package may start its service. 101: no.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs what is missing on Debian as root; elsewhere says what is missing and goes on, so
/// that the tests that need it fail with the command that installs it.
pub(crate) fn missing_servers() -> Result<(), Failure> {
    let missing = missing(&Product::ALL);
    if missing.is_empty() {
        return Ok(());
    }
    let root = rustix::process::geteuid().is_root();
    if !root || !Path::new("/usr/bin/apt-get").exists() {
        for program in missing {
            eprintln!("{} is not installed: {}", program.program, program.install);
        }
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|missing| missing.program.as_str()).collect();
    eprintln!("installing what is missing: {}", names.join(", "));
    let policy = NoServices::declare()?;
    let installed = apt(&["update", "-q"]).and_then(|()| {
        apt(&["install", "-q", "-y", "--no-install-recommends"]
            .into_iter()
            .chain(["postgresql", "mariadb-server", "pgbouncer", "sqlite3"])
            .collect::<Vec<_>>())
    });
    drop(policy);
    installed
}

fn apt(arguments: &[&str]) -> Result<(), Failure> {
    cargo::run(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// While it lives, no package starts its service: the servers for tests are our own.
struct NoServices {
    ours: bool,
}

impl NoServices {
    fn declare() -> Result<Self, Failure> {
        if Path::new(POLICY).exists() {
            // Somebody else's decision stays.
            return Ok(Self { ours: false });
        }
        let failed =
            |error: std::io::Error| Failure::because(format!("cannot write {POLICY}"), &error);
        std::fs::write(POLICY, "#!/bin/sh\nexit 101\n").map_err(failed)?;
        let this = Self { ours: true };
        std::fs::set_permissions(POLICY, std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
        Ok(this)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = std::fs::remove_file(POLICY)
        {
            eprintln!("cannot remove {POLICY}, which keeps services from starting: {error}");
        }
    }
}
