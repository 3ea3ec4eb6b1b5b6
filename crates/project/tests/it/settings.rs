//! `dunlin.toml`, as people write it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use dunlin_model::{DataMode, Diagnostic, HistoryTool, OutOfOrder};
use dunlin_project::settings::{Settings, Throttle, check_url, json_schema, parse, read, template};

fn of(text: &str, environment: Option<&str>) -> Result<Settings, Vec<Diagnostic>> {
    let variables: BTreeMap<String, String> =
        [("DATABASE_URL", "postgres://u:hunter2@h/d"), ("EMPTY", "")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    parse(Path::new("dunlin.toml"), Path::new("/srv/app"), text, environment, &variables)
}

const TWO: &str = r#"
data = "skip"
lock_timeout = "1s"

[databases.app]
url = "${DATABASE_URL}"
schema_history = "rails"
lock_timeout = "2s"

[databases.audit]
url = "${AUDIT_URL}"
direct_url = "${EMPTY:-mysql://h/d}"
migrations = "db/audit"
schema_history = "none"

[environments.production]
data = "manual"
protected = true
lock_timeout = "3s"
databases.audit.lock_timeout = "4s"
out_of_order = "error"

[environments.ci]
"#;

#[test]
fn layers_lie_over_one_another() {
    let plain = of(TWO, None).expect("valid");
    let [app, audit] = &plain.databases[..] else { panic!("two databases") };
    assert_eq!((app.name.as_str(), audit.name.as_str()), ("app", "audit"));
    assert_eq!(app.url.as_deref(), Some("postgres://u:hunter2@h/d"));
    assert_eq!(app.lock_timeout, Duration::from_secs(2));
    assert_eq!(audit.lock_timeout, Duration::from_secs(1));
    assert_eq!(app.connect_timeout, Duration::from_secs(10));
    assert_eq!(app.statement_timeout, None);
    assert_eq!((app.data, app.out_of_order), (DataMode::Skip, OutOfOrder::Allow));
    assert!(!plain.protected);
    assert_eq!(plain.environments, ["production", "ci"]);

    let production = of(TWO, Some("production")).expect("valid");
    let [app, audit] = &production.databases[..] else { panic!("two databases") };
    assert_eq!(app.lock_timeout, Duration::from_secs(3));
    assert_eq!(audit.lock_timeout, Duration::from_secs(4));
    assert_eq!((app.data, app.out_of_order), (DataMode::Manual, OutOfOrder::Error));
    assert!(production.protected);
    assert_eq!(production.environment.as_deref(), Some("production"));
}

#[test]
fn backfills_have_settings_of_their_own() {
    let text = r#"
[backfill]
throttle = "off"
workers = 2

[databases.app]
url = "sqlite:a.db"
replica_urls = ["${DATABASE_URL}", "${REPLICA_URL}", "${EMPTY}"]
backfill.chunk_time = "250ms"

[databases.audit]

[environments.production]
databases.audit.backfill.workers = 3
[environments.production.backfill]
throttle = "mild"
"#;
    let plain = of(text, None).expect("valid");
    let [app, audit] = &plain.databases[..] else { panic!("two databases") };
    assert_eq!(app.replica_urls, ["postgres://u:hunter2@h/d"]);
    assert_eq!(app.replica_urls_missing, ["REPLICA_URL"]);
    assert!(audit.replica_urls.is_empty());
    assert_eq!(app.backfill.throttle, Throttle::Off);
    assert_eq!(app.backfill.chunk_time, Some(Duration::from_millis(250)));
    assert_eq!((app.backfill.workers, audit.backfill.workers), (2, 2));
    let production = of(text, Some("production")).expect("valid");
    let [app, audit] = &production.databases[..] else { panic!("two databases") };
    assert_eq!(app.backfill.throttle, Throttle::Mild);
    assert_eq!((app.backfill.workers, audit.backfill.workers), (2, 3));
    let nothing = of("", None).expect("valid").databases.remove(0).backfill;
    assert_eq!((nothing.throttle, nothing.chunk_time, nothing.workers), (Throttle::Mild, None, 1));
    for (wrong, part) in [
        ("[backfill]\nthrottle = \"wild\"", "did you mean `mild`?"),
        ("[backfill]\nworkers = 65", "from 1 to 64"),
        ("[backfill]\nworkers = \"2\"", "from 1 to 64"),
        ("[backfill]\nchunk_time = \"1h\"", "`10min`"),
        ("[backfill]\nchunk-time = \"1s\"", "did you mean `chunk_time`?"),
        ("backfill = 1", "is not a table"),
        ("throttle = \"off\"", "under [backfill]"),
        ("[databases.a]\nreplica_urls = \"x\"", "a list of URLs"),
        ("[databases.a]\nreplica_urls = [1]", "a string"),
    ] {
        let errors = of(wrong, None).expect_err(wrong);
        assert_eq!(errors.len(), 1, "{wrong}: {errors:?}");
        assert!(errors[0].to_string().contains(part), "{wrong}: {}", errors[0]);
    }
}

#[test]
fn folders_and_histories() {
    let two = of(TWO, None).expect("valid");
    let app = two.database("app").expect("there");
    assert_eq!(app.schema_history, Some(HistoryTool::Rails));
    assert_eq!(app.migrations, None, "Rails owns the schema");
    assert_eq!(app.data_migrations.as_deref(), Some(Path::new("/srv/app/data_migrations/app")));
    let audit = two.database("audit").expect("there");
    assert!(audit.ignore_history && audit.migrations_named && !audit.data_migrations_named);
    assert_eq!(audit.migrations.as_deref(), Some(Path::new("/srv/app/db/audit")));
    let one = of("[databases.app]\nurl = \"sqlite:a.db\"", None).expect("valid");
    assert_eq!(one.databases[0].migrations.as_deref(), Some(Path::new("/srv/app/migrations")));
    assert_eq!(one.databases[0].url.as_deref(), Some("sqlite:a.db"));
}

#[test]
fn a_missing_variable_stops_only_its_own_database() {
    let two = of(TWO, None).expect("valid");
    let audit = two.database("audit").expect("there");
    assert_eq!((audit.url.as_deref(), audit.url_missing.as_deref()), (None, Some("AUDIT_URL")));
    assert!(audit.url().is_err_and(|error| error.contains("AUDIT_URL") && error.contains("audit")));
    assert_eq!(audit.direct_url.as_deref(), Some("mysql://h/d"));
    assert!(two.database("app").is_some_and(|app| app.url().is_ok()));
    let unset = of("[databases.app]", None).expect("valid");
    assert!(unset.databases[0].url().is_err_and(|error| error.contains("--database-url")));
}

#[test]
fn no_databases_mean_one() {
    let settings = of("data = \"auto\"", None).expect("valid");
    assert_eq!(settings.databases.len(), 1);
    assert_eq!(settings.databases[0].name, "main");
    assert_eq!(settings.databases[0].url.as_deref(), Some("postgres://u:hunter2@h/d"));
    assert_eq!(settings.databases[0].data, DataMode::Auto);
}

#[test]
fn every_error_has_its_place_and_a_way_out() {
    let text = "\
lock_timout = \"5s\"
url = \"sqlite:a.db\"
data = \"atuo\"
connect_timeout = 5
[databases.app]
url = \"${DATABASE_URL\"
migration = \"m\"
schema_history = \"laravel\"
protected = true
migrations = \"${X}\"
[databases.\"a b\"]
[environments.production]
lock_timeout = \"5\"
databases.ap.url = \"postgres://u:hunter2@h/d\"
";
    let errors = of(text, None).expect_err("many");
    let found: Vec<(usize, String)> = errors
        .iter()
        .map(|error| {
            let place = error.place.as_ref().expect("placed");
            assert!(place.column.is_some() && error.help.is_some(), "{error}");
            (place.line.expect("a line"), error.to_string())
        })
        .collect();
    for (line, part) in [
        (1, "did you mean `lock_timeout`?"),
        (2, "`url` belongs under [databases.NAME]"),
        (3, "did you mean `auto`?"),
        (4, "a string in quotes"),
        (6, "no closing `}`"),
        (7, "did you mean `migrations`?"),
        (8, "`rails`"),
        (9, "under [environments.NAME]"),
        (10, "only in `url`"),
        (11, "no name"),
        (13, "has no unit"),
        (14, "did you mean `app`?"),
    ] {
        assert!(
            found.iter().any(|(at, text)| *at == line && text.contains(part)),
            "{line} {part}: {found:#?}"
        );
    }
    assert_eq!(found.len(), 12, "{found:#?}");
    assert!(!format!("{errors:?}").contains("hunter2"));
}

#[test]
fn syntax_errors_quote_nothing() {
    let errors = of("[databases.app]\nurl = \"postgres://u:hunter2@h/d\n", None).expect_err("open");
    assert_eq!(errors[0].place.as_ref().and_then(|place| place.line), Some(2));
    assert!(!format!("{errors:?}").contains("hunter2"), "{errors:?}");
    let errors = of("databases = 1\nenvironments.a = 2", None).expect_err("no tables");
    assert_eq!(errors.len(), 2, "{errors:?}");
}

#[test]
fn unknown_environments_list_the_known() {
    let errors = of(TWO, Some("prodction")).expect_err("unknown");
    let help = errors[0].help.as_deref().expect("help");
    assert!(help.contains("did you mean `production`?") && help.contains("`ci`"), "{help}");
    let errors = of("", Some("x")).expect_err("unknown");
    assert!(errors[0].help.as_deref().is_some_and(|help| help.contains("[environments.x]")));
}

#[test]
fn the_template_is_valid_and_says_what_init_promises() {
    let text = template("app", "${DATABASE_URL}");
    let development = of(&text, Some("development")).expect("valid");
    assert_eq!(development.databases[0].data, DataMode::Auto);
    assert!(!development.protected);
    let production = of(&text, Some("production")).expect("valid");
    assert_eq!(production.databases[0].data, DataMode::Manual);
    assert!(production.protected);
    assert_eq!(production.databases[0].url.as_deref(), Some("postgres://u:hunter2@h/d"));
    let odd = of(&template("app", "sqlite:C:\\a \"b\".db"), None).expect("valid");
    assert_eq!(odd.databases[0].url.as_deref(), Some("sqlite:C:\\a \"b\".db"));
    // What is commented out must be valid, too, once its comment sign goes.
    let keys: Vec<&str> = text.lines().filter(|line| line.contains(" = ")).collect();
    for line in keys.iter().filter_map(|line| line.strip_prefix("# ")) {
        let table = if line.starts_with("statement") || line.starts_with("out") {
            ""
        } else {
            "[databases.a]\n"
        };
        of(&format!("{table}{line}"), None).unwrap_or_else(|errors| panic!("{line}: {errors:?}"));
    }
}

#[test]
fn a_file_is_read_from_its_own_folder() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let file = root.path().join("dunlin.toml");
    fs::write(&file, "[databases.app]\nurl = \"sqlite:a.db\"\n").expect("fresh");
    let settings = read(&file, None, &BTreeMap::new()).expect("valid");
    assert_eq!(settings.root, root.path());
    let app = &settings.databases[0];
    assert!(app.read_folder(&settings.root).is_ok_and(|folder| folder.files.is_empty()));
    fs::write(&file, "[databases.app]\nmigrations = \"nowhere\"\n").expect("ours");
    let settings = read(&file, None, &BTreeMap::new()).expect("valid");
    let errors = settings.databases[0].read_folder(&settings.root).expect_err("missing");
    assert_eq!(errors[0].rule, "missing-folder");
    let errors =
        read(&root.path().join("nothing.toml"), None, &BTreeMap::new()).expect_err("missing");
    assert_eq!(errors[0].rule, "unreadable-file");
}

#[test]
fn flags_alone_suffice() {
    let root = Path::new("/srv/app");
    let settings =
        Settings::without_file(root, None, Some("sqlite:a.db".into()), Some(Path::new("m")), None);
    let main = &settings.databases[0];
    assert_eq!(main.url(), Ok("sqlite:a.db"));
    assert_eq!(main.migrations.as_deref(), Some(Path::new("/srv/app/m")));
    assert!(main.migrations_named && !main.data_migrations_named);
    assert!(check_url(main.url.as_deref().unwrap_or_default()).is_ok());
}

#[test]
fn the_json_schema_knows_every_key() {
    let schema = json_schema();
    let database = &schema["properties"]["databases"]["patternProperties"];
    let database = database.as_object().and_then(|all| all.values().next()).expect("a pattern");
    assert_eq!(database["additionalProperties"], false);
    for key in [
        "url",
        "direct_url",
        "migrations",
        "data_migrations",
        "schema_history",
        "data",
        "lock_timeout",
    ] {
        assert!(database["properties"][key].is_object(), "{key}");
    }
    assert!(database["properties"]["protected"].is_null());
    assert!(schema["properties"]["environments"].is_object());
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "(?s)(\\[databases\\.a\\]\n|\\[environments\\.b\\]\n|url = |\"|\\$\\{|\\}|data|=|\\[|\\]|\n|é|.){0,30}") {
        let _ = of(&text, Some("b"));
        let _ = check_url(&text);
    }
}
