//! Moves out of folders of files.

use std::fs;
use std::path::{Path, PathBuf};

use dunlin_testkit::servers::{self, run_sql};
use serde_json::Value;

use super::KEY;
use crate::project::{Project, Ran, snapshot, story};

const CONFIGURATION: &str =
    "[databases.old]\nurl = \"files:export\"\n\n[databases.app]\nurl = \"sqlite:new.db\"\n";

const NEW: &str = "
CREATE TABLE people (id integer PRIMARY KEY AUTOINCREMENT, name text NOT NULL, born date);
CREATE TABLE visits (id char(36) PRIMARY KEY, person_id integer NOT NULL REFERENCES people, at timestamp NOT NULL);
";

const MAPPING: &str = r#"source = "old"
target = "app"
id_key = "clinic"

[ids]
person = "keep"
visit  = "derived"

[files]
delimiter = ";"

[from.people]
key   = "id"
types = { id = "int64", born = "date" }

[from.visits]
key   = "file, line"
types = { person = "int64" }

[into.people]
from  = "people"
makes = "person"
set.name = "name"
set.born = "born"

[into.visits]
from  = "visits"
makes = "visit"
set.person_id = { new = "person", of = "person", missing = "leave out" }
set.at        = "CAST(at AS TIMESTAMP)"
"#;

/// An export of an old clinic, and a new one's SQLite file.
struct Clinic {
    project: Project,
}

impl Clinic {
    fn new() -> Self {
        let project = Project::empty();
        project.write("dunlin.toml", CONFIGURATION);
        project.write("moves/clinic.toml", MAPPING);
        let clinic = Self { project };
        clinic.people("id;name;born\n2;Grace;1906-12-09\n1;Ada;1815-12-10\n");
        clinic.project.write("export/visits/2025.csv", "person;at\n1;2025-01-01 10:00\n");
        clinic.project.write("export/visits/2026.csv", "at;person\n2026-01-01;2\n2026-02-01;9\n");
        clinic.new_one(NEW);
        clinic
    }

    fn people(&self, text: &str) {
        self.project.write("export/people.csv", text);
    }

    fn run(&self, words: &str) -> Ran {
        self.project.run_with(words, &[KEY])
    }

    #[track_caller]
    fn new_one(&self, sql: &str) -> String {
        let url = format!("sqlite://{}", self.project.path("new.db").display());
        run_sql(&url, sql).expect("the client can do it").trim_end().to_owned()
    }
}

fn document(run: &Ran) -> Value {
    serde_json::from_str(&run.stdout()).unwrap_or_else(|error| panic!("{error}\n{}", run.all()))
}

#[test]
fn night_after_night_from_files() {
    let clinic = Clinic::new();
    let mut runs = vec![
        clinic.run("move plan clinic").exits(0),
        clinic.run("move sample clinic people 1").exits(0),
        clinic.run("move run clinic --dry-run").exits(0),
        clinic.run("move run clinic").exits(0),
        clinic.run("move run clinic").exits(0),
    ];
    let people = "SELECT id, name, born FROM people ORDER BY id";
    assert_eq!(clinic.new_one(people), "1|Ada|1815-12-10\n2|Grace|1906-12-09");
    assert_eq!(clinic.new_one("SELECT count(*) FROM visits"), "2");

    // A line that can't be read may be any row's: nothing is deleted while there is one.
    clinic.people("id;name;born\n1;Ada;1815-12-10\n3;Alan;1912-06-23\n4;\"Emmy;1882\n2;Grace\n");
    runs.push(clinic.run("move run clinic").exits(6));
    runs.push(clinic.run("move rejects clinic --csv").exits(0));
    assert_eq!(clinic.new_one("SELECT group_concat(id) FROM people"), "1,2,3");
    assert_eq!(clinic.new_one("SELECT count(*) FROM visits"), "2", "what refers to it stays, too");
    // Once all can be read, what is gone is gone.
    clinic.people("id;name;born\n1;Ada;1815-12-10\n3;Alan;1912-06-23\n4;Emmy;1882-03-23\n");
    runs.push(clinic.run("move run clinic").exits(0));
    assert_eq!(clinic.new_one("SELECT group_concat(id) FROM people"), "1,3,4");
    snapshot!("move_files", clinic.project, story(&runs));
}

/// A value that can't be read is its row's error where something uses it, and no other's: what the row
/// became stays, and what is gone from the file is deleted all the same.
#[test]
fn one_bad_value_is_its_rows_error_where_it_is_used() {
    let clinic = Clinic::new();
    let typed = MAPPING
        .replace("born = \"date\" }", "born = \"date\", age = \"int32\" }\nunused = [\"age\"]");
    assert_ne!(typed, MAPPING);
    clinic.project.write("moves/clinic.toml", &typed);
    clinic.people(
        "id;name;born;age\n1;Ada;1815-12-10;x\n2;Grace;1906-12-09;1\n3;Alan;1912-06-23;2\n",
    );
    clinic.run("move run clinic").exits(0);
    assert_eq!(clinic.new_one("SELECT group_concat(name) FROM people"), "Ada,Grace,Alan");
    clinic.people("id;name;born;age\n1;Augusta;1815-12-32;1\n2;Grace H.;1906-12-09;y\n");
    let run = clinic.run("move run clinic").exits(6);
    let rejects = clinic.run("move rejects clinic --csv").exits(0).stdout();
    assert!(
        rejects.contains("people,1,rejected,") && rejects.contains("holds no day"),
        "{rejects}"
    );
    assert_eq!(
        clinic.new_one("SELECT name, born FROM people ORDER BY id"),
        "Ada|1815-12-10\nGrace H.|1906-12-09",
        "{}",
        run.all()
    );
    for mode in ["reload", "swap"] {
        clinic.project.write("moves/clinic.toml", &format!("mode = \"{mode}\"\n{typed}"));
        clinic.run("move run clinic").exits(6);
        assert_eq!(clinic.new_one("SELECT group_concat(name) FROM people"), "Ada,Grace H.");
    }
    clinic.project.write("moves/clinic.toml", &typed);
    clinic.people("id;name;born;age\n1;Augusta;1815-12-10;1\n2;Grace H.;1906-12-09;y\n");
    clinic.run("move run clinic").exits(0);
    assert_eq!(clinic.new_one("SELECT group_concat(name) FROM people"), "Augusta,Grace H.");
}

#[test]
fn what_files_can_not_be_is_said() {
    let clinic = Clinic::new();
    let mut runs = Vec::new();
    for (old, new) in [
        ("key   = \"id\"", "key   = \"number\""),
        ("[from.people]\nkey   = \"id\"", "[from.people]\n"),
        ("id = \"int64\"", "id = \"integer\""),
        ("born = \"date\" }", "birn = \"date\" }"),
        ("delimiter = \";\"", "delimiter = \"tab\""),
        ("delimiter = \";\"", "encoding = \"latin-2\""),
        ("delimiter = \";\"", ""),
        ("source = \"old\"", "source = \"app\""),
        ("target = \"app\"", "target = \"old\""),
    ] {
        let edited = MAPPING.replacen(old, new, 1);
        assert_ne!(edited, MAPPING, "{old}");
        clinic.project.write("moves/clinic.toml", &edited);
        runs.push(clinic.run("move plan clinic").exits(2));
    }
    clinic.project.write("moves/clinic.toml", MAPPING);
    clinic.project.write("dunlin.toml", &CONFIGURATION.replace("files:export", "files:exports"));
    runs.push(clinic.run("move plan clinic").exits(1));
    // Everything else leaves the folder alone.
    clinic.project.write("dunlin.toml", CONFIGURATION);
    runs.push(clinic.run("status").exits(0));
    runs.push(clinic.run("status --database old").exits(2));
    snapshot!("move_files_mistakes", clinic.project, story(&runs));
}

#[test]
fn a_first_mapping_is_made_of_files() {
    let clinic = Clinic::new();
    clinic.run("new move first --source old --target app").exits(0);
    snapshot!("new_move_files", clinic.project, clinic.project.read("moves/first.toml"));
}

fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/csv_export").join(file)
}

/// `examples/csv_export`, on PostgreSQL.
#[test]
fn the_example_of_files_does_what_its_readme_says() {
    let project = Project::empty();
    for file in ["dunlin.toml", "moves/shop.toml", "export/customers.csv", "export/orders.ndjson"] {
        let path = project.path(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::copy(example(file), path).expect("a file");
    }
    let new = servers::postgres().database("csv_export");
    new.sql(&fs::read_to_string(example("new.sql")).expect("a file")).expect("the tables");
    let run = |words: &str| project.run_with(words, &[("APP_URL", &new.url), KEY]);
    let ran = run("move run shop").exits(6);
    let rejects = run("move rejects shop --csv").exits(0);
    let readme = fs::read_to_string(example("README.md")).expect("a file");
    let told = ran.stdout() + &rejects.stdout();
    for line in told.lines() {
        assert!(readme.contains(line), "{line}\n{}{}", ran.all(), rejects.all());
    }
    let select = |sql: &str| new.sql(sql).expect("the client can do it").trim_end().to_owned();
    assert_eq!(
        select("SELECT id, name, email, born, balance FROM customers ORDER BY id"),
        "1|Zoë Größer|zoe@example.org||0.00\n\
         2|Anna \"Anni\" Weiß|anna@example.org||-12.50\n\
         3|Müller, Jürgen|juergen@example.org|1975-02-28|1234.50\n\
         4|Gebr. Schäfer\r\nGmbH & Co. KG||1999-01-01|99.00\n\
         9|Renée Dupré|renee@example.org|1955-05-05|7.25"
    );
    assert_eq!(
        select("SELECT customer_id, total, note FROM orders ORDER BY ordered_at"),
        "3|49.90|für Opa\n9|5.00|\n2|12.50|"
    );
    assert_eq!(select("SELECT count(*) FROM order_tags"), "3");
    let again = document(&run("move run shop --json").exits(6));
    let written =
        |rule: &Value| rule["inserted"].as_u64().unwrap() + rule["updated"].as_u64().unwrap();
    assert_eq!(again["rules"].as_array().unwrap().iter().map(written).sum::<u64>(), 0);
    assert_eq!(again["sources"][0]["unread"], 3);
}

/// One record whose value is of another kind: it is converted, or rejected, and no other changes.
#[test]
fn an_odd_record_changes_no_other() {
    let project = Project::empty();
    project.write("dunlin.toml", CONFIGURATION);
    project.write(
        "moves/m.toml",
        "source = \"old\"\ntarget = \"app\"\n[ids]\nx = \"derived\"\n[from.a]\nkey = \"id\"\n\
         [into.t]\nfrom = \"a\"\nmakes = \"x\"\nset.old = \"id\"\nset.v = \"v\"\n",
    );
    let url = format!("sqlite://{}", project.path("new.db").display());
    let sql = |sql: &str| run_sql(&url, sql).expect("the client can do it").trim_end().to_owned();
    sql("CREATE TABLE t (id text PRIMARY KEY, old integer, v text)");
    let five: String = (1..6).map(|id| format!("{{\"id\":{id},\"v\":\"name {id}\"}}\n")).collect();
    let night = |odd: &str, code: i32| {
        project.write("export/a.ndjson", &(five.clone() + odd));
        document(&project.run_with("move run m --json", &[KEY]).exits(code))
    };
    night("", 0);
    let before = sql("SELECT * FROM t ORDER BY old");
    for (odd, code, inserted) in [
        ("{\"id\":6,\"v\":6.50}\n", 0, 1),
        ("{\"id\":\"7\",\"v\":\"x\"}\n{\"id\":6,\"v\":6.50}\n", 6, 0),
        ("{\"id\":8,\"v\":{\"a\":1}}\n{\"id\":6,\"v\":6.50}\n", 6, 0),
        ("{\"id\":9,\"v\":true}\n{\"id\":6,\"v\":6.50}\n", 0, 1),
    ] {
        let rule = &night(odd, code)["rules"][0];
        assert_eq!((&rule["inserted"], &rule["updated"]), (&inserted.into(), &0.into()), "{odd}");
        assert_eq!(sql("SELECT * FROM t WHERE old < 6 ORDER BY old"), before, "{odd}");
    }
    assert_eq!(sql("SELECT v FROM t WHERE old > 5 ORDER BY old"), "6.50\ntrue");
}

/// What a column holds is settled by the first run: a night whose records have something else for the
/// most part, or nothing at all, changes no row and no key.
#[test]
fn what_columns_hold_stays_from_night_to_night() {
    let project = Project::empty();
    project.write("dunlin.toml", CONFIGURATION);
    let mapping = "source = \"old\"\ntarget = \"app\"\n[ids]\nx = \"derived\"\n\
         [from.a]\nkey = \"id\"\n[into.t]\nfrom = \"a\"\nmakes = \"x\"\n\
         set.old = \"CAST(id AS TEXT)\"\nset.half = \"CAST(n / 2 AS TEXT)\"\nset.w = \"w\"\n";
    project.write("moves/m.toml", mapping);
    let url = format!("sqlite://{}", project.path("new.db").display());
    let sql = |sql: &str| run_sql(&url, sql).expect("the client can do it").trim_end().to_owned();
    sql("CREATE TABLE t (id text PRIMARY KEY, old text, half text, w text)");
    let night = |records: &str, code: i32| {
        project.write("export/a.ndjson", records);
        project.run_with("move run m", &[KEY]).exits(code)
    };
    let all = "SELECT old, half, w FROM t ORDER BY old";
    night("{\"id\":1,\"n\":3,\"w\":\"a\"}\n{\"id\":2,\"n\":5,\"w\":\"b\"}\n", 0);
    assert_eq!(sql(all), "1|1|a\n2|2|b");
    let ids = sql("SELECT id FROM t ORDER BY old");
    // Most are fractions now, or texts, or lists; and one number is larger than floating point is exact.
    let odd = "{\"id\":1,\"n\":3,\"w\":1}\n{\"id\":2,\"n\":5.5,\"w\":2.50}\n\
               {\"id\":3,\"n\":7.5,\"w\":3}\n{\"id\":9007199254740993,\"n\":9007199254740993}\n\
               {\"id\":\"x\",\"n\":2}\n{\"id\":1.0,\"n\":2}\n{\"id\":2.0,\"n\":2}\n";
    let ran = night(odd, 6);
    let rejects = project.run_with("move rejects m --csv", &[KEY]).exits(0).stdout();
    assert_eq!(sql(all), "1|1|1\n2|2|b\n9007199254740993|4503599627370496|", "{}", ran.all());
    for word in ["t,2,rejected", "t,3,rejected", "a.ndjson:5,rejected", "a.ndjson:6,rejected"] {
        assert!(rejects.contains(word), "{word}: {rejects}");
    }
    // Nobody has `w` tonight: that is NULL, and no unknown column.
    night("{\"id\":1,\"n\":3}\n{\"id\":2,\"n\":5}\n", 0);
    assert_eq!(sql(all), "1|1|\n2|2|");
    assert_eq!(sql("SELECT id FROM t ORDER BY old"), ids);
    // The mapping goes before it.
    project.write("moves/m.toml", &mapping.replace("[into", "types = { n = \"decimal\" }\n[into"));
    night(odd, 6);
    assert_eq!(sql("SELECT round(half, 2) FROM t WHERE old = '2'"), "2.75");
}

/// A run speaks with two databases: which one an error is about is told, and a file by its name.
#[test]
fn errors_of_files_name_the_source() {
    let clinic = Clinic::new();
    clinic.run("move run clinic").exits(0);
    // Looked at, and read.
    for (file, bytes) in
        [("people.csv", &b"id;id;born\n"[..]), ("people.csv.gz", b"no gzip at all")]
    {
        fs::remove_file(clinic.project.path("export/people.csv")).ok();
        fs::write(clinic.project.path("export").join(file), bytes).expect("a file");
        for words in [
            "move run clinic",
            "move verify clinic",
            "move plan clinic",
            "move sample clinic people 1",
        ] {
            let told = clinic.run(words).exits(2).all();
            assert!(told.contains("old:") && told.contains(file), "{words}: {told}");
            assert!(!told.contains("app:"), "{words}: {told}");
        }
    }
}

/// What a record says that can't be read tonight is not gone, in whatever mode.
#[test]
fn a_reload_keeps_rows_whose_record_cannot_be_read() {
    let project = Project::empty();
    let new = servers::postgres().database("files_reload");
    new.sql("CREATE TABLE people (id integer PRIMARY KEY, name text NOT NULL)").expect("a table");
    project.write(
        "dunlin.toml",
        "[databases.old]\nurl = \"files:export\"\n\n[databases.app]\nurl = \"${APP_URL}\"\n",
    );
    project.write(
        "moves/all.toml",
        "source = \"old\"\ntarget = \"app\"\nmode = \"reload\"\n\n[ids]\nperson = \"keep\"\n\n\
         [from.people]\nkey = \"id\"\ntypes = { id = \"int64\" }\n\n\
         [into.people]\nfrom = \"people\"\nmakes = \"person\"\nset.name = \"name\"\n",
    );
    let run = |words: &str| project.run_with(words, &[("APP_URL", &new.url), KEY]);
    let names = || {
        let names = "SELECT string_agg(name, ' ' ORDER BY id) FROM people";
        new.sql(names).expect("the client can do it").trim_end().to_owned()
    };
    project.write("export/people.csv", "id,name\n1,Ada\n2,Grace\n3,Alan\n");
    run("move run all").exits(0);
    project.write("export/people.csv", "id,name\n1,Ada L.\n2,Grace,too much\n3,Alan\n");
    run("move run all").exits(6);
    assert_eq!(names(), "Ada L. Grace Alan");
    project.write("export/people.csv", "id,name\n1,Ada L.\n3,Alan\n");
    run("move run all").exits(0);
    assert_eq!(names(), "Ada L. Alan");
}
