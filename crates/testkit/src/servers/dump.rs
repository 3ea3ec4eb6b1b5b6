//! A database's definitions and rows as its own dump tool writes them, made comparable.
//!
//! Left out: our ledger, and what may differ between two databases that went the same way:
//! counters that a rolled back statement advances, and random tokens in the dump itself.

use std::process::Command;

use super::client::{
    Address, ClientError, feed, mysql_command, postgres_command, run_sql, sqlite_file,
};
use super::{Product, binaries};

/// Definitions without rows.
pub(super) fn definitions(url: &str) -> Result<String, ClientError> {
    if sqlite_file(url).is_some() {
        return run_sql(
            url,
            "SELECT sql || ';' FROM sqlite_schema WHERE sql IS NOT NULL \
             AND tbl_name NOT LIKE 'dunlin\\_%' ESCAPE '\\' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
             ORDER BY type, name;\n",
        );
    }
    let dump = if url.starts_with("mysql:") {
        mysql_dump(url, &["--no-data", "--routines", "--triggers", "--events"])?
    } else {
        postgres_dump(url, &["--schema-only"])?
    };
    Ok(dump.lines().map(|line| without_counter(line) + "\n").collect())
}

/// Rows without definitions, sorted.
pub(super) fn rows(url: &str) -> Result<Vec<String>, ClientError> {
    let dump = if sqlite_file(url).is_some() {
        run_sql(url, ".dump\n")?
    } else if url.starts_with("mysql:") {
        let options = ["--no-create-info", "--skip-extended-insert", "--skip-triggers"];
        mysql_dump(url, &options)?
    } else {
        postgres_dump(url, &["--data-only", "--inserts"])?
    };
    let mut rows: Vec<String> = dump
        .lines()
        .filter(|line| line.starts_with("INSERT INTO"))
        .filter(|line| {
            let table = line["INSERT INTO".len()..].trim_start_matches([' ', '"', '`']);
            !table.starts_with("dunlin_") && !table.starts_with("sqlite_sequence")
        })
        .map(str::to_owned)
        .collect();
    rows.sort_unstable();
    Ok(rows)
}

fn postgres_dump(url: &str, options: &[&str]) -> Result<String, ClientError> {
    let address = Address::parse(url)?;
    let program = binaries::find(Product::Postgres, &["pg_dump"])?;
    let mut command = postgres_command(&program, &address);
    command.args(["--no-owner", "--exclude-schema=dunlin"]).args(options);
    let dump = feed(&program, &mut command, "")?;
    // Newer releases fence a dump in with a random word.
    let kept = dump
        .lines()
        .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
    Ok(kept.flat_map(|line| [line, "\n"]).collect())
}

fn mysql_dump(url: &str, options: &[&str]) -> Result<String, ClientError> {
    let address = Address::parse(url)?;
    let ours = run_sql(
        url,
        "SELECT table_name FROM information_schema.tables \
         WHERE table_schema = DATABASE() AND table_name LIKE 'dunlin\\_%'",
    )?;
    let program = binaries::find(Product::Mysql, binaries::DUMP_NAMES)?;
    let mut command: Command = mysql_command(&program, &address);
    command.args(["--skip-comments", "--skip-dump-date", "--single-transaction"]).args(options);
    for table in ours.lines() {
        command.arg(format!("--ignore-table={}.{table}", address.database));
    }
    command.arg(&address.database);
    // A routine's definition names its database in places.
    Ok(feed(&program, &mut command, "")?.replace(&address.database, "DATABASE"))
}

/// A line of a definition without the next number of a counter.
fn without_counter(line: &str) -> String {
    let Some((before, after)) = line.split_once(" AUTO_INCREMENT=") else {
        return line.to_owned();
    };
    format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
}
