//! Servers that crash, forget what they said was committed, take no writes, or have no room left.
//! Each server is a private one of the test's, unless it says otherwise.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use dunlin_testkit::servers::{Durability, Product, Server};
use rustix::process::Signal;

use super::super::world::{World, on_each};
use super::{
    IN_CHUNKS, ROWS, accounts, armed, assert_each_once, changed, dies, doubling, fill, halted,
    reset,
};

/// (18) See the functions it calls.
fn a_server_comes_and_goes_under_a_backfill(product: Product) {
    let started = match product {
        Product::Mysql => Server::mysql(Durability::Full, &[]),
        // What is committed without waiting for the disk is lost for certain.
        _ => Server::postgres(Durability::Full, &[("wal_writer_delay", "10s")]),
    };
    let server = started.expect("a server");
    crashed_around_a_chunk(&server);
    crashed_under_two_workers(&server);
}
on_each!(a_server_comes_and_goes_under_a_backfill: postgres, mysql);

/// (13, 18, 19) The server is killed with -9 around a chunk, and comes back. On PostgreSQL chunks
/// don't wait for the disk, so that some that were said to be committed are gone, with their
/// checkpoints: the same run looks at the ledger, and does what is to be done.
fn crashed_around_a_chunk(server: &Server) {
    let world = fill(World::on(server.database("chunk_crash")), ROWS);
    for (failpoint, version) in
        ["chunk.executed@4", "chunk.done@6", "chunk.committed@9", "backfill.walked"]
            .into_iter()
            .zip(1..)
    {
        doubling(&world, version, "");
        let run = halted(&world, failpoint);
        server.crash();
        server.start_again();
        run.signal(Signal::CONT);
        run.until_says("connecting again");
        run.end().exits(0);
        assert_each_once(&world, ROWS, failpoint);
        reset(&world);
    }
    assert!(world.times_up().iter().all(|(_, count)| *count == 1), "{:?}", world.times_up());
}

/// (18) With two workers, and nobody at hand for as long as the server is away.
fn crashed_under_two_workers(server: &Server) {
    const MANY: u32 = 1_000;
    let world = fill(World::on(server.database("chunk_crash_two")), MANY);
    doubling(&world, 1, "-- dunlin: workers 2\n");
    let run = halted(&world, "chunk.executed@11");
    server.crash();
    run.signal(Signal::CONT);
    run.until_says("connecting again");
    server.start_again();
    run.end().exits(0);
    assert_each_once(&world, MANY, "two workers");
}

/// (4, 19) A failover, or a restored backup, lost the last commits: the ledger lost them with the
/// rows, so they are done again.
#[test]
fn commits_that_are_lost_are_made_again() {
    let world = accounts(Product::Sqlite, "chunk_lost", ROWS);
    doubling(&world, 1, "");
    dies(armed(&world, "chunk.committed@3", "kill"), "chunk.committed@3");
    let kept = world.root().join("kept.db");
    world.sql(&format!(".backup '{}'", kept.display()));
    let before = changed(&world);
    dies(armed(&world, "chunk.committed@4", "kill"), "chunk.committed@4");
    assert!(changed(&world) > before);
    world.sql(&format!(".restore '{}'", kept.display()));
    assert_eq!(changed(&world), before, "the last commits are lost");
    world.run("data run").exits(0);
    assert_each_once(&world, ROWS, "done again");
}

/// (19) A database that takes no writes is refused before anything is done, and named so; a backfill
/// under way goes on once it takes them again.
#[test]
fn a_database_that_takes_no_writes_is_named() {
    let world = accounts(Product::Postgres, "chunk_read_only", ROWS);
    doubling(&world, 1, "");
    dies(armed(&world, "chunk.committed@3", "kill"), "chunk.committed@3");
    let before = changed(&world);
    let set = |value: &str| {
        let name = &world.database.name;
        world
            .sql(&format!("ALTER DATABASE \"{name}\" SET default_transaction_read_only = {value}"));
    };
    set("on");
    world.run("data run").exits(1).says("read_only");
    assert_eq!(changed(&world), before);
    world.sql(&format!(
        "SET default_transaction_read_only = off; ALTER DATABASE \"{}\" RESET ALL",
        world.database.name
    ));
    world.run("data run").exits(0);
    assert_each_once(&world, ROWS, "writable again");
}

/// (19) The same with MySQL's switch, for a login that it applies to.
#[test]
fn a_mysql_that_takes_no_writes_is_named() {
    let server = Server::mysql(Durability::Relaxed, &[]).expect("a server");
    let mut world = fill(World::on(server.database("chunk_read_only")), ROWS);
    world.sql(&format!(
        "CREATE USER plain@'%' IDENTIFIED BY 'plain-word'; GRANT ALL ON {}.* TO plain@'%'",
        world.database.name
    ));
    let (scheme, rest) = world.database.url.split_once("://").expect("a URL");
    let (_, host) = rest.split_once('@').expect("a login");
    world.url = format!("{scheme}://plain:plain-word@{host}");
    doubling(&world, 1, "");
    let run = halted(&world, "chunk.sending@4");
    let before = changed(&world);
    world.sql("SET GLOBAL read_only = 1");
    run.signal(Signal::CONT);
    run.end().exits(1).says("read");
    assert_eq!(changed(&world), before);
    world.run("data run").exits(1).says("read");
    world.sql("SET GLOBAL read_only = 0");
    world.run("data run").exits(0);
    assert_each_once(&world, ROWS, "writable again");
}

/// A small file system in memory. Dropped, it is unmounted.
pub(crate) struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// For whoever owns that folder. `None`: this system lets us mount nothing.
    pub(crate) fn mount(size: &str, like: &Path) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        // Its owner must be able to go through it.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("set");
        let owner = fs::metadata(like).expect("it is there");
        let options = format!("size={size},mode=0700,uid={},gid={}", owner.uid(), owner.gid());
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(folder.path())
            .output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn grow(&self, size: &str) {
        let remount = format!("remount,size={size}");
        let grown = Command::new("mount").args(["-o", &remount]).arg(self.path()).status();
        assert!(grown.expect("it could mount").success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A lazy one: the server may have files open. What is left goes with the machine.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// (26) No room is left for the rows: what is committed stays, the message says it, and the same run
/// goes on there once there is room. No row is blamed.
#[test]
fn a_full_disk_is_survived() {
    const MANY: u32 = 40_000;
    let server = Server::postgres(Durability::Relaxed, &[]).expect("a server");
    let folder = server.folder().expect("it is ours");
    let Some(disk) = SmallDisk::mount("3m", &folder) else {
        eprintln!("skipped: no file system can be mounted here");
        return;
    };
    // Rows of some size on the small disk, the ledger elsewhere.
    let small = World::on(server.database("chunk_full"));
    small.sql(&format!("CREATE TABLESPACE small LOCATION '{}'", disk.path().display()));
    small.sql(&format!(
        "CREATE TABLE accounts (id integer PRIMARY KEY, balance bigint NOT NULL, was bigint NOT NULL) \
         TABLESPACE small; INSERT INTO accounts SELECT n, n % 97, n % 97 FROM {}",
        super::numbers(small.product, MANY)
    ));
    small.data(1, &format!("{}{}", IN_CHUNKS.replace("10\n", "500\n"), super::DOUBLE_EACH));
    let run = super::data_run(&small).start();
    run.until_says("No space left");
    let before = changed(&small);
    assert!(before > 0 && before < MANY, "{before} rows");
    disk.grow("64m");
    let ended = run.end().exits(0);
    assert!(!ended.stderr.contains("died"), "{}", ended.all());
    assert_each_once(&small, MANY, "with room again");
    drop(small);
    drop(server);
}
