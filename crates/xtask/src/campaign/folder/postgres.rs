//! What only PostgreSQL has: concurrent indexes, enums, DO blocks, partitions, COPY.

use super::Folder;

/// `direct`: no pooler stands between. Through one there is no COPY, and no step that would do harm if
/// a runner that was stopped sent it late: nor does a file drop what such a step made.
pub(super) fn add(folder: &mut Folder, direct: bool) {
    let beside = if direct { "CONCURRENTLY " } else { "" };
    folder.schema(
        "concurrent_indexes",
        &format!(
            "-- dunlin: no-transaction\n\
             CREATE INDEX CONCURRENTLY entries_account ON entries (account_id);\n\
             CREATE UNIQUE INDEX CONCURRENTLY entries_both ON entries (account_id, id);\n\
             CREATE INDEX {beside}entries_amount ON entries ((amount % 10)) WHERE amount > 0;\n"
        ),
    );
    folder.schema(
        "mood",
        "CREATE TYPE mood AS ENUM ('calm', 'wild');\n\
         ALTER TABLE accounts ADD COLUMN mood mood NOT NULL DEFAULT 'calm';\n",
    );
    folder.schema(
        "odd_mood",
        "-- dunlin: no-transaction\nALTER TYPE mood ADD VALUE 'odd' BEFORE 'wild';\n\
         VACUUM accounts;\n",
    );
    folder.data(
        "use_odd_mood",
        "UPDATE accounts SET mood = 'odd', balance = balance * 2 + 1 WHERE id % 3 = 0;\n",
    );
    folder.schema(
        "nested_quotes",
        "DO $outer$\nBEGIN\n  EXECUTE $inner$\n    CREATE FUNCTION answer() RETURNS integer \
         LANGUAGE sql AS $$ SELECT 42; $$;\n  $inner$;\n  \
         EXECUTE 'CREATE TABLE \"made; by do\" (id integer PRIMARY KEY)';\nEND\n$outer$;\n",
    );
    folder.data(
        "own_transaction",
        "BEGIN;\nINSERT INTO \"made; by do\" SELECT answer() + id FROM accounts;\n\
         UPDATE accounts SET balance = balance + answer();\nCOMMIT;\n",
    );
    folder.program("tell_outside_of_moods");
    folder.schema(
        "partitions",
        "CREATE TABLE visits (day date NOT NULL, account_id integer) PARTITION BY RANGE (day);\n\
         CREATE TABLE visits_1 PARTITION OF visits FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');\n\
         CREATE TABLE visits_2 PARTITION OF visits FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');\n\
         CREATE INDEX visits_day ON visits (day);\n",
    );
    folder.data(
        "fill_visits",
        "INSERT INTO visits SELECT date '2026-01-01' + id % 59, id FROM accounts;\n\
         INSERT INTO visits SELECT day, account_id FROM visits WHERE account_id % 2 = 1;\n",
    );
    if direct {
        folder.data(
            "copied",
            "COPY entries (id, account_id, amount) FROM stdin;\n\
             5001\t1\t10\n5002\t2\t\\N\n5003\t3\t30\n\\.\n\
             UPDATE entries SET amount = amount * 2 + 1 WHERE id > 5000;\n",
        );
    }
    folder.schema(
        "other_indexes",
        &format!(
            "-- dunlin: no-transaction\nDROP INDEX {beside}entries_amount;\n\
             REINDEX INDEX CONCURRENTLY entries_account;\n\
             CREATE INDEX CONCURRENTLY audit_account ON audit (account_id);\n"
        ),
    );
    folder.schema(
        "constraints",
        "ALTER TABLE entries ADD CONSTRAINT entries_account_fk FOREIGN KEY (account_id)\n  \
         REFERENCES accounts (id) NOT VALID;\n\
         ALTER TABLE entries VALIDATE CONSTRAINT entries_account_fk;\n\
         ALTER TABLE accounts ADD CHECK (balance >= 0);\n\
         COMMENT ON TABLE accounts IS 'it''s; \"quoted\"';\n",
    );
}
