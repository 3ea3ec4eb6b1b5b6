//! Each server starts, answers, gives databases away and is gone afterwards.

use std::path::Path;
use std::process::{Command, Stdio};

use dunlin_testkit::servers::{self, Durability, Server};

#[test]
fn postgres_gives_each_test_its_own_database() {
    let one = servers::postgres().database("Has some/odd name");
    let two = servers::postgres().database("Has some/odd name");
    one.sql("CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2);").unwrap();
    assert_eq!(one.sql("SELECT sum(a), NULL FROM t").unwrap(), "3|\n");
    assert_eq!(two.sql("SELECT count(*) FROM pg_tables WHERE tablename = 't'").unwrap(), "0\n");
    assert!(one.schema_dump().unwrap().contains("CREATE TABLE public.t"));
    let error = one.sql("SELECT nonsense").unwrap_err().to_string();
    assert!(error.contains("nonsense"), "{error}");
}

#[test]
fn a_database_is_dropped_with_its_value_although_somebody_is_connected() {
    let server = servers::pgbouncer();
    let database = server.database("dropped");
    let name = database.name.clone();
    // Through the pooler, which keeps its connection to the database afterwards.
    servers::run_sql(&database.url, "SELECT 1").unwrap();
    drop(database);
    let count = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
    assert_eq!(servers::run_sql(servers::postgres().url(), &count).unwrap(), "0\n");
}

#[test]
fn pgbouncer_pools_transactions() {
    let database = servers::pgbouncer().database("pooled");
    assert_ne!(Some(&database.url), database.direct_url.as_ref());
    assert_eq!(servers::run_sql(&database.url, "SELECT 40 + 2").unwrap(), "42\n");
    let error = servers::run_sql(&database.url, "DECLARE c CURSOR WITH HOLD FOR SELECT 1; x");
    assert!(error.is_err());
}

#[test]
fn mysql_gives_each_test_its_own_database() {
    let one = servers::mysql().database("names");
    let two = servers::mysql().database("names");
    one.sql("CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2);").unwrap();
    assert_eq!(one.sql("SELECT sum(a), 'é' FROM t").unwrap(), "3\té\n");
    assert_eq!(two.sql("SHOW TABLES").unwrap(), "");
    assert!(one.schema_dump().unwrap().contains("CREATE TABLE `t`"));
}

#[test]
fn sqlite_is_a_file_that_is_not_there_yet() {
    let database = servers::sqlite("app");
    assert!(!Path::new(&database.name).exists());
    database.sql("CREATE TABLE t (a int); INSERT INTO t VALUES (1);").unwrap();
    assert_eq!(database.sql("SELECT a, NULL FROM t").unwrap(), "1|\n");
    assert_eq!(database.schema_dump().unwrap(), "CREATE TABLE t (a int);\n");
}

#[test]
fn a_server_of_ones_own_takes_settings_and_goes_with_its_value() {
    let server = Server::postgres(Durability::Full, &[("max_connections", "7")]).unwrap();
    assert_eq!(servers::run_sql(server.url(), "SHOW max_connections").unwrap(), "7\n");
    assert_eq!(servers::run_sql(server.url(), "SHOW fsync").unwrap(), "on\n");
    let folder = server.folder().unwrap();
    let url = server.url().to_owned();
    drop(server);
    assert!(!folder.exists());
    assert!(servers::run_sql(&url, "SELECT 1").is_err());
}

/// Not a test of its own: it is what the next one starts and kills.
#[test]
#[ignore = "started and killed by `a_killed_process_takes_its_server_along`"]
fn start_a_server_and_wait_to_be_killed() {
    let server = Server::postgres(Durability::Relaxed, &[]).unwrap();
    println!("folder {}", server.folder().unwrap().display());
    // The one who started us never writes; it kills us.
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

#[test]
fn a_killed_process_takes_its_server_along() {
    use std::io::BufRead as _;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "servers::start_a_server_and_wait_to_be_killed"])
        .args(["--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let folder = lines
        .map_while(Result::ok)
        .find_map(|line| line.split_once("folder ").map(|(_, folder)| folder.to_owned()))
        .expect("the child says where its server is");
    let folder = Path::new(&folder);
    assert!(folder.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    // The shell that watches over the server removes the folder last of all.
    let gone = "tries=600; while test -e \"$0\" && test $((tries -= 1)) -gt 0; do sleep 0.05; done; \
                test ! -e \"$0\"";
    let status = Command::new("sh").args(["-c", gone]).arg(folder).status().unwrap();
    assert!(status.success(), "{} is still there after 30 s", folder.display());
}
