//! Servers that crash, run out of connections, or take another password for a while. Each
//! product's server is a private one of the test's.

use dunlin_testkit::servers::{Durability, Product, Server, Visitor};
use rustix::process::Signal;

use super::world::{DOUBLE, ONE_NUMBER, PAUSE, World, doubled, on_each, pausing, pausing_now};

/// Few, so that a test can take them all.
const CONNECTIONS: &str = "14";

fn private(product: Product) -> Server {
    let started = match product {
        Product::Mysql => Server::mysql(Durability::Full, &[("max-connections", CONNECTIONS)]),
        _ => Server::postgres(
            Durability::Full,
            &[("max_connections", CONNECTIONS), ("superuser_reserved_connections", "0")],
        ),
    };
    started.expect("a server")
}

fn world_on(server: &Server, name: &str) -> World {
    let world = World::on(server.database(name));
    world.schema(1, &format!("{ONE_NUMBER}{PAUSE}"));
    world.run("migrate").exits(0);
    world
}

/// (18, 21) See the functions it calls.
fn a_server_comes_and_goes(product: Product) {
    let server = private(product);
    crashed_inside_a_statement(&server);
    crashed_around_a_commit(&server);
    no_connection_left(&server);
    another_password_for_a_while(&server);
}
on_each!(a_server_comes_and_goes: postgres, mysql);

/// (18) The server is killed with -9 while a migration runs, and comes back: the same run connects
/// again, finds that nothing of it was committed, and does it.
fn crashed_inside_a_statement(server: &Server) {
    let world = world_on(server, "crashed");
    world.data(2, &format!("{DOUBLE}{}", pausing(world.product)));
    let run = world.command("migrate").start();
    world.until(pausing_now(world.product), "1");
    // The statement has read that it is to last long; its next try won't.
    world.sql("UPDATE pause SET seconds = 0");
    server.crash();
    run.until_says("connecting again");
    server.start_again();
    run.end().exits(0);
    assert_eq!(world.sql("SELECT n FROM t"), doubled(1));
}

/// (13, 18) The server is killed right after a COMMIT was sent to it: what became of it is looked
/// up once the server is back.
fn crashed_around_a_commit(server: &Server) {
    let world = world_on(server, "crashed_commit");
    world.data(2, DOUBLE);
    let run = world
        .command("migrate")
        .variable("DUNLIN_FAILPOINT", "commit.sent")
        .variable("DUNLIN_FAILPOINT_ACTION", "stop")
        .start();
    run.until_stopped();
    server.crash();
    server.start_again();
    run.signal(Signal::CONT);
    run.end().exits(0);
    assert_eq!(world.sql("SELECT n FROM t"), doubled(1));
    assert!(world.times_up().iter().all(|(_, count)| *count == 1), "{:?}", world.times_up());
}

/// (21) All connections are taken for a while: the run waits for one.
fn no_connection_left(server: &Server) {
    let world = world_on(server, "exhausted");
    world.data(2, DOUBLE);
    let mut taken = Vec::new();
    loop {
        let mut one = world.visitor();
        if one.ask("SELECT 1;").is_none() {
            break;
        }
        taken.push(one);
    }
    let run = world.command("migrate").start();
    run.until_says("connecting again");
    drop(taken);
    run.end().exits(0);
    assert_eq!(world.sql("SELECT n FROM t"), doubled(1));
}

/// (21) The password is changed under a running migration, whose connection breaks: it waits until
/// its password is right again. At the start a wrong password is an error, at once.
fn another_password_for_a_while(server: &Server) {
    let mut world = world_on(server, "rotated");
    world.data(2, &format!("{DOUBLE}{}", pausing(world.product)));
    let (create, change, end, restore) = match world.product {
        Product::Mysql => (
            "CREATE USER rotor@'%' IDENTIFIED BY 'first-word'; GRANT ALL ON *.* TO rotor@'%'",
            "ALTER USER rotor@'%' IDENTIFIED BY 'other-word'",
            "KILL USER rotor",
            "ALTER USER rotor@'%' IDENTIFIED BY 'first-word'",
        ),
        _ => (
            "CREATE ROLE rotor LOGIN SUPERUSER PASSWORD 'first-word'",
            "ALTER ROLE rotor PASSWORD 'other-word'",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'rotor'",
            "ALTER ROLE rotor PASSWORD 'first-word'",
        ),
    };
    world.sql(create);
    let (scheme, rest) = world.database.url.split_once("://").expect("a URL");
    let (_, host) = rest.split_once('@').expect("a login");
    let url = format!("{scheme}://rotor:first-word@{host}");
    world.url = url.replace("first-word", "wrong-word");
    let refused = world.run("migrate").exits(1);
    assert!(!refused.all().contains("wrong-word"), "{}", refused.all());
    assert!(!refused.stderr.contains("connecting again"), "{}", refused.all());
    world.url = url;
    let run = world.command("migrate").start();
    world.until(pausing_now(world.product), "1");
    world.sql("UPDATE pause SET seconds = 0");
    world.sql(change);
    world.sql(end);
    run.until_says("password");
    world.sql(restore);
    run.end().exits(0);
    assert_eq!(world.sql("SELECT n FROM t"), doubled(1));
    // Somebody else's session is not disturbed by any of it.
    assert!(Visitor::at(&world.database.url).ask("SELECT 1;").is_some());
}
