//! (26) No room is left in the new database.

use dunlin_testkit::servers::{Durability, Server};

use super::super::backfill::SmallDisk;
use super::Shop;

/// What is committed stays, it is said what is missing, no row is blamed; and the same run goes on once
/// there is room.
#[test]
fn a_full_disk_is_waited_for() {
    let server = Server::postgres(Durability::Relaxed, &[]).expect("a server");
    let folder = server.folder().expect("it is ours");
    let Some(disk) = SmallDisk::mount("3m", &folder) else {
        eprintln!("skipped: no file system can be mounted here");
        return;
    };
    let mut shop = Shop::on(&server, "move_full");
    // Rows of some size on the small disk, the ledger elsewhere.
    shop.new.sql(&format!(
        "CREATE TABLESPACE small LOCATION '{}'; ALTER TABLE posts SET TABLESPACE small",
        disk.path().display()
    ));
    shop.new.sql("ALTER TABLE posts ALTER title TYPE varchar(4000); DROP INDEX posts_by_title");
    shop.parts = shop.parts_now();
    shop.old("ALTER TABLE posts ALTER title TYPE varchar(4000)");
    shop.old("UPDATE posts SET title = concat(title, ' ', (SELECT string_agg(md5((id * n)::text), '') FROM generate_series(1, 120) n))");
    let run = shop.move_run().start();
    run.until_says("No space left");
    disk.grow("64m");
    let ended = run.end().exits(0);
    shop.assert_moved(&ended.all());
    shop = shop.in_mode("sync");
    shop.a_day_goes_by();
    shop.run().exits(0);
    shop.assert_moved("the night after");
    drop(shop);
    drop(server);
}
