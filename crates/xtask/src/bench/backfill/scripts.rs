//! What people write by hand in Python, and our row code for the same.

/// SELECT and UPDATE row by row, with a COMMIT every thousand rows.
pub(super) const ONE_BY_ONE: &str = r#"
import sys, psycopg2
old = psycopg2.connect(sys.argv[1]); new = psycopg2.connect(sys.argv[1])
read = old.cursor("rows"); read.itersize = 10000; write = new.cursor()
read.execute("SELECT id, title FROM posts ORDER BY id LIMIT %s", (int(sys.argv[2]),))
for count, (id, title) in enumerate(read, 1):
    write.execute("SELECT title FROM posts WHERE id = %s", (id,))
    title = write.fetchone()[0]
    write.execute("UPDATE posts SET title = %s WHERE id = %s", (title.upper(), id))
    if count % 1000 == 0:
        new.commit()
new.commit()
"#;

/// Ten thousand rows at a time, by execute_values.
pub(super) const BATCHES: &str = r#"
import sys, psycopg2
from psycopg2.extras import execute_values
database = psycopg2.connect(sys.argv[1]); cursor = database.cursor(); last = -2**62
while True:
    cursor.execute("SELECT id, title FROM posts WHERE id > %s ORDER BY id LIMIT 10000", (last,))
    rows = cursor.fetchall()
    if not rows:
        break
    last = rows[-1][0]
    execute_values(cursor, "UPDATE posts p SET title = v.title FROM (VALUES %s) AS v (id, title) "
        "WHERE p.id = v.id", [(id, title.upper()) for id, title in rows], page_size=10000)
    database.commit()
"#;

/// The same as row code.
pub(super) const ROW_CODE: &str = r#"
import json, sys
for line in sys.stdin:
    given = json.loads(line)
    if "row" in given:
        print(json.dumps({"key": given["key"], "set": {"title": given["row"]["title"].upper()}}))
    elif "chunk" in given:
        print(line, end="", flush=True)
"#;
