//! A password that must be nowhere, and connections that must not be made without TLS.

use std::fs;

use dunlin_testkit::servers::{Product, free_port};

use super::world::{ONE_NUMBER, World, on_each};

/// Part of every password here, in every encoding.
const CANARY: &str = "c4nary";

/// As it is typed, and as it stands in a URL.
const PASSWORD: &str = "c4nary/p@ss:w%rd\"x";
const ENCODED: &str = "c4nary%2Fp%40ss%3Aw%25rd%22x";

/// A world whose login has that password.
fn world_with_a_canary(product: Product) -> (World, String) {
    let mut world = World::new(product, "canary");
    let login = world.database.name.replace("t_canary_", "bird");
    let create = match product {
        Product::Mysql => format!(
            "CREATE USER {login}@'%' IDENTIFIED BY '{PASSWORD}'; \
             GRANT ALL ON `{}`.* TO {login}@'%'",
            world.database.name
        ),
        _ => format!(
            "CREATE ROLE {login} LOGIN PASSWORD '{PASSWORD}'; \
             GRANT CREATE ON DATABASE \"{0}\" TO {login}; GRANT CREATE ON SCHEMA public TO {login}",
            world.database.name
        ),
    };
    world.sql(&create);
    let (scheme, rest) = world.database.url.split_once("://").expect("a URL");
    let (_, place) = rest.split_once('@').expect("a login");
    world.url = format!("{scheme}://{login}:{ENCODED}@{place}");
    (world, login)
}

/// Programs that tell everything they know.
fn tell_everything(world: &World) {
    world.schema(1, ONE_NUMBER);
    let tell = format!(
        "# dunlin: keep-output\necho \"url $DUNLIN_DATABASE_URL\"\n\
         echo 'password {PASSWORD}' >&2\n\
         cat /proc/$PPID/cmdline /proc/$$/cmdline | tr '\\0' ' ' >> cmdlines\n"
    );
    world.program(2, &tell);
    world.program(3, &format!("{tell}exit 3\n"));
    world.data(4, "-- dunlin: after data 2\nUPDATE nowhere SET n = 1;\n");
}

/// (71) Commands that succeed and fail, as text and as JSON, programs that print their whole
/// environment, addresses that are wrong in every part: the password is not in any output, not in
/// the ledger, and on no command line.
fn the_password_is_nowhere(product: Product) {
    let (mut world, login) = world_with_a_canary(product);
    tell_everything(&world);
    let mut said = String::new();
    for words in [
        "status",
        "plan",
        "migrate",
        "migrate --json",
        "data run 3",
        "data rerun 2",
        "status --json",
        "data status",
        "check",
        "check --json",
        "wait --timeout 5s",
    ] {
        said.push_str(&world.run(words).all());
    }
    assert!(said.contains("url ") && said.contains("***"), "the programs were heard:\n{said}");
    let good = world.url.clone();
    let port = free_port().expect("a port").to_string();
    let own_port = good.rsplit_once(':').and_then(|(_, rest)| rest.split_once('/')).expect("one").0;
    for wrong in [
        good.replace(ENCODED, &format!("{CANARY}-wrong")),
        good.replace(&format!(":{own_port}/"), &format!(":{port}/")),
        good.replace(&format!(":{own_port}/"), ":many/"),
        format!("{good}_missing"),
        format!("{good}?sslmode=no-such-mode"),
        format!("{good}?password={CANARY}&no_such_parameter={CANARY}"),
        good.replace("://", ":/"),
        good.replace("@127.0.0.1", "@no-such-host.invalid"),
        good.replacen("//", &format!("//{CANARY}@"), 1),
    ] {
        world.url = wrong;
        for words in ["migrate", "status --json", "create"] {
            let ended = world.run(words);
            assert_ne!(ended.code, Some(0), "{words} with {}", world.url);
            said.push_str(&ended.all());
        }
    }
    world.url = good;
    let (leaks, ledger) = (lines_with_canary(&said), ledger_text(&world));
    assert!(leaks.is_empty(), "{leaks:#?}");
    assert!(ledger.contains("***"), "output is kept: {ledger}");
    assert!(lines_with_canary(&ledger).is_empty(), "{ledger}");
    let cmdlines = fs::read_to_string(world.root().join("cmdlines")).expect("they were written");
    assert!(cmdlines.contains("migrate") && !cmdlines.contains(CANARY), "{cmdlines}");
    drop_login(&world, &login);
}
on_each!(the_password_is_nowhere: postgres, mysql);

fn lines_with_canary(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.contains(CANARY)).collect()
}

/// Every row of the ledger, but the files' own texts, which are the user's.
fn ledger_text(world: &World) -> String {
    let mut text = String::new();
    for table in ["meta", "migrations", "history", "steps", "leases", "segments", "runs"] {
        let name = world.ledger(table);
        if table == "migrations" {
            world.sql(&format!("UPDATE {name} SET text = ''"));
        }
        text.push_str(&world.sql(&match world.product {
            Product::Mysql => format!("SELECT * FROM {name}"),
            _ => format!("SELECT x::text FROM {name} x"),
        }));
    }
    text
}

/// Logins belong to the whole server.
fn drop_login(world: &World, login: &str) {
    world.sql(&match world.product {
        Product::Mysql => format!("DROP USER {login}@'%'"),
        _ => format!("DROP OWNED BY {login} CASCADE; DROP ROLE {login}"),
    });
}

/// (72) A server without TLS, or something in between that takes it away: where TLS is asked for
/// nothing is sent without it. Certificates are tested with each driver.
fn tls_that_is_asked_for_is_not_done_without(product: Product) {
    let mut world = World::new(product, "tls");
    world.schema(1, ONE_NUMBER);
    let plain = world.url.clone();
    for mode in ["require", "verify-ca", "verify-full"] {
        world.url = format!("{plain}?sslmode={mode}");
        world.run("migrate").exits(1).says("TLS");
    }
    world.url = format!("{plain}?sslmode=prefer");
    world.run("migrate").exits(0);
}
on_each!(tls_that_is_asked_for_is_not_done_without: postgres, mysql);
