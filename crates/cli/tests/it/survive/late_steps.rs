//! Statements that are sent alone, by runners that were stopped before they sent them and wake up
//! too late: no fence stands before such a statement, so whoever takes over ends their session.

use dunlin_testkit::servers::Product;
use rustix::process::Signal;

use super::world::{DOUBLE, ONE_NUMBER, Run, World, doubled, on_each};

/// What the files of these tests call where the server knows procedures that commit.
const CHANGE: &str = "CREATE PROCEDURE change() LANGUAGE plpgsql AS $$ BEGIN \
     UPDATE t SET n = (n * 2 + 1) % 1000003; COMMIT; END $$;\n";

/// A world whose file 1 is there.
fn world(product: Product, name: &str) -> World {
    let world = World::new(product, name);
    let change = if product == Product::Mysql { "" } else { CHANGE };
    world.schema(1, &format!("{ONE_NUMBER}{change}"));
    world.run("migrate").exits(0);
    world
}

/// A file whose statement does harm when it is sent once more. What the session is called is what
/// an heir knows it by, so the file takes the name away as well.
fn harmful(product: Product) -> &'static str {
    match product {
        Product::Mysql => "TRUNCATE TABLE t;\n",
        _ => "-- dunlin: no-transaction\nRESET ALL;\nCALL change();\n",
    }
}

/// A run that stopped itself right before it sends a step.
fn stopped_before_sending(world: &World) -> Run {
    let sleeper = world
        .command("migrate")
        .lease(700)
        .variable("DUNLIN_FAILPOINT", "step.sending")
        .variable("DUNLIN_FAILPOINT_ACTION", "stop")
        .start();
    sleeper.until_stopped();
    sleeper
}

/// What the table is filled with once the heir is done, and what it then holds.
fn filled(world: &World) -> String {
    match world.product {
        Product::Mysql => {
            world.sql("INSERT INTO t VALUES (7, 7)");
            "7".to_owned()
        }
        _ => doubled(1),
    }
}

/// (30) A person settles a step whose runner is stopped before it sends it; the next run sends it.
/// Once the stopped one wakes up, it sends nothing.
fn what_a_person_settled_is_not_sent_late(product: Product) {
    let world = world(product, "late_settled");
    world.schema(2, harmful(product));
    let sleeper = stopped_before_sending(&world);
    world.run("settle 2 did-not").exits(0);
    world.run("migrate").exits(0);
    let expected = filled(&world);
    sleeper.signal(Signal::CONT);
    sleeper.end().exits(0);
    assert_eq!(world.sql("SELECT n FROM t"), expected);
}
on_each!(what_a_person_settled_is_not_sent_late: postgres, mysql);

/// (30) The same where a person skips the migration and has it run again after all.
fn what_a_person_skipped_is_not_sent_late(product: Product) {
    let world = world(product, "late_skipped");
    world.data(2, harmful(product));
    let sleeper = stopped_before_sending(&world);
    world.command("data skip 2 --because later").start().end().exits(0);
    world.run("data rerun 2").exits(0);
    world.run("migrate --lease-wait 60s").exits(0);
    let expected = filled(&world);
    sleeper.signal(Signal::CONT);
    sleeper.end().exits(0);
    assert_eq!(world.sql("SELECT n FROM t"), expected);
}
on_each!(what_a_person_skipped_is_not_sent_late: postgres, mysql);

/// (30) A rollback makes a data migration pending again whose runner is stopped before its step.
fn what_a_rollback_made_pending_is_not_sent_late(product: Product) {
    let world = world(product, "late_reset");
    world.write("migrations/2_change.up.sql", "CREATE TABLE u (id integer);\n");
    world.write("migrations/2_change.down.sql", "DROP TABLE u;\n");
    world.run("migrate").exits(0);
    world.data(3, &format!("{}{DOUBLE}", harmful(product).replace("RESET ALL;\n", "")));
    let sleeper = stopped_before_sending(&world);
    world.run("rollback --database app --through 2 --yes").exits(0);
    world.run("migrate --lease-wait 60s").exits(0);
    let expected = match product {
        Product::Mysql => filled(&world),
        _ => doubled(2),
    };
    sleeper.signal(Signal::CONT);
    sleeper.end().exits(0);
    assert_eq!(world.sql("SELECT n FROM t"), expected);
}
on_each!(what_a_rollback_made_pending_is_not_sent_late: postgres, mysql);

/// (30) A runner is stopped between the two commits of a claim. Its heir is in the middle of a
/// transaction when it wakes up and waits for what that holds: it ends nothing of its heir's.
fn who_slept_within_a_claim_ends_nothing_of_its_heirs(product: Product) {
    let world = world(product, "late_claim");
    world.data(2, &format!("-- dunlin: lock-timeout 4min\n{DOUBLE}"));
    let sleeper = world
        .command("data run --lease-wait 0s")
        .lease(700)
        .variable("DUNLIN_FAILPOINT", "claim.raised")
        .variable("DUNLIN_FAILPOINT_ACTION", "stop")
        .start();
    sleeper.until_stopped();
    let mut visitor = world.visitor();
    visitor.ask("BEGIN; UPDATE t SET n = n;").expect("a lock");
    let heir = world.command("data run --lease-wait 60s").start();
    let waiting = match product {
        Product::Mysql => {
            "SELECT count(*) FROM information_schema.processlist \
             WHERE db = DATABASE() AND info LIKE 'UPDATE t SET n = (n%'"
        }
        _ => {
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND wait_event_type = 'Lock' AND query LIKE 'UPDATE t SET n = (n%'"
        }
    };
    world.until(waiting, "1");
    sleeper.signal(Signal::CONT);
    sleeper.end().exits(5);
    visitor.ask("COMMIT;").expect("committed");
    let ended = heir.end().exits(0);
    assert!(!ended.stderr.contains("again"), "it was disturbed:\n{}", ended.all());
    assert_eq!(world.sql("SELECT n FROM t"), doubled(1));
}
on_each!(who_slept_within_a_claim_ends_nothing_of_its_heirs: postgres, mysql);

/// (30) Behind a pooler nobody can end a stopped runner's session, so a statement that would do
/// harm once it wakes up is refused before anything of its file is done; with the server's own
/// address it runs.
#[test]
fn through_a_pooler_no_harmful_step_is_sent() {
    let world = World::new(Product::Pgbouncer, "late_pooled");
    world.schema(1, "CREATE TABLE t (n integer);\nCREATE INDEX t_n ON t (n);\n");
    world.run("migrate").exits(0);
    let text = "-- dunlin: no-transaction\nINSERT INTO t VALUES (1);\n\
         DROP INDEX CONCURRENTLY t_n;\nCREATE INDEX CONCURRENTLY t_n ON t (n);\n";
    world.schema(2, text);
    world.run("migrate").exits(1).says("direct_url");
    assert_eq!(world.sql("SELECT count(*) FROM t"), "0");
    let direct = world.database.direct_url.clone().expect("the server's own");
    world.write(
        "dunlin.toml",
        &format!("[databases.app]\nurl = \"${{DATABASE_URL}}\"\ndirect_url = \"{direct}\"\n"),
    );
    world.run("migrate").exits(0);
    assert_eq!(world.sql("SELECT count(*) FROM t"), "1");
}

/// (30) Behind a pooler, too, a runner that was stopped before it sent a step does not send it once
/// its lease is over: what a later migration of its heir's dropped does not come back.
#[test]
fn through_a_pooler_a_dropped_index_does_not_come_back() {
    let world = World::new(Product::Pgbouncer, "late_index");
    world.schema(1, "CREATE TABLE t (n integer);\n");
    world.run("migrate").exits(0);
    world.schema(2, "-- dunlin: no-transaction\nCREATE INDEX CONCURRENTLY t_n ON t (n);\n");
    world.schema(3, "DROP INDEX t_n;\n");
    let sleeper = stopped_before_sending(&world);
    world.run("migrate --lease-wait 60s").exits(0);
    sleeper.signal(Signal::CONT);
    sleeper.end().exits(0).says("stood still");
    assert_eq!(world.sql("SELECT count(*) FROM pg_indexes WHERE indexname = 't_n'"), "0");
}

/// (7) Somebody else changes the table after a step was journalled, whose runner died before it
/// sent it: that is not taken for the step's own effect.
fn what_others_change_is_no_effect_of_a_step(product: Product) {
    let world = world(product, "others_change");
    world.schema(
        2,
        match product {
            Product::Mysql => "ALTER TABLE t ADD COLUMN c integer;\n",
            _ => "-- dunlin: no-transaction\nCREATE INDEX CONCURRENTLY t_c ON t (n);\n",
        },
    );
    world.die_at("step.opened");
    world.sql("CREATE INDEX other ON t (n)");
    world.run("migrate").exits(0);
    let there = match product {
        Product::Mysql => {
            "SELECT count(*) FROM information_schema.columns \
             WHERE table_schema = DATABASE() AND table_name = 't' AND column_name = 'c'"
        }
        _ => "SELECT count(*) FROM pg_indexes WHERE indexname = 't_c'",
    };
    assert_eq!(world.sql(there), "1");
}
on_each!(what_others_change_is_no_effect_of_a_step: postgres, pgbouncer, mysql);
