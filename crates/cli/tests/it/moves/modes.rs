//! `reload` and `swap`: the same rows as `sync`, on other ways.

use super::Library;
use super::bare::Staff;

/// Every row, by what it says, with its id.
const ALL: &str = "SELECT id, name, boss_id FROM people ORDER BY 1; \
     SELECT id, title, who_id, twin_id FROM jobs ORDER BY 1;";

/// Two that refer to each other, one that changes, one that goes.
const CHANGES: &str = "INSERT INTO jobs VALUES (2001, 'Left', 1, 2002), (2002, 'Right', 2, 2001);
     UPDATE jobs SET title = 'Renamed' WHERE id = 7; DELETE FROM jobs WHERE id = 8;
     UPDATE jobs SET twin = NULL WHERE twin = 8;";

const NAMED: &str = "SELECT count(*) FROM jobs WHERE title IN ('Left', 'Right', 'Renamed')";

fn in_mode(staff: &Staff, mode: &str) {
    let text = staff.project.read("moves/staff.toml");
    let text = text.lines().filter(|line| !line.starts_with("mode")).collect::<Vec<_>>().join("\n");
    staff.project.write("moves/staff.toml", &format!("mode = \"{mode}\"\n{text}\n"));
}

#[test]
fn a_reload_empties_what_is_the_moves_own_and_keeps_ids() {
    let staff = Staff::new("reload");
    let before = staff.dump();
    staff.run("move run staff").exits(0);
    let first = staff.sql(ALL);
    in_mode(&staff, "reload");
    staff.sql("UPDATE jobs SET title = 'Theirs' WHERE title = 'Job 5'");
    staff.sql("UPDATE people SET name = 'Theirs' WHERE name = 'Person 5'");
    let ran = staff.run("move run staff").exits(0);
    assert!(ran.stdout().contains("1,200  1,200"), "jobs are loaded again: {}", ran.all());
    assert_eq!(staff.sql(ALL), first, "ids and rows are those of before, and theirs are gone");
    assert_eq!(staff.dump(), before);
    // The application's own rows are never touched: such a table is written in place.
    let own = "INSERT INTO jobs (id, title, who_id) SELECT gen_random_uuid(), 'Its own', id FROM people WHERE name = 'Person 1'";
    staff.sql(own);
    staff.old.sql(CHANGES).expect("changed");
    staff.run("move run staff").exits(0);
    assert_eq!(staff.sql(NAMED), "3");
    assert_eq!(staff.sql("SELECT count(*) FROM jobs WHERE title = 'Its own'"), "1");
    staff.sql("DELETE FROM jobs WHERE title = 'Its own'");
    // A source that is empty by mistake empties nothing.
    staff.old.sql("DELETE FROM jobs WHERE id > 100").expect("changed");
    assert_ne!(staff.run("move run staff").code(), 0);
    assert_eq!(staff.sql("SELECT count(*) FROM jobs"), "1201");
    assert_eq!(staff.dump(), before);
}

#[test]
fn a_reload_that_dies_is_brought_to_its_end_by_the_next_run() {
    let staff = Staff::new("reload_dies");
    let before = staff.dump();
    staff.run("move run staff").exits(0);
    let first = staff.sql(ALL);
    in_mode(&staff, "reload");
    for place in ["move.kept", "move.stripped", "move.rebuilt@2"] {
        staff.die_at(place).was_killed();
        let own = "INSERT INTO jobs (id, title) VALUES (gen_random_uuid(), 'X')";
        assert!(staff.new.sql(own).is_err(), "nobody else may write at {place}");
        staff.run("move run staff").exits(0);
        assert_eq!(staff.sql(ALL), first);
        assert_eq!(staff.dump(), before);
    }
}

#[test]
fn a_swap_changes_everything_at_once_or_nothing() {
    let staff = Staff::new("swap");
    in_mode(&staff, "swap");
    let before = staff.dump();
    staff.run("move run staff").exits(0);
    let first = staff.sql(ALL);
    staff.old.sql(CHANGES).expect("changed");
    staff.die_at("move.swapping").was_killed();
    assert_eq!(staff.sql(ALL), first, "all was written, and nothing committed");
    let ran = staff.run("move run staff").exits(0);
    assert!(ran.stderr().contains("applying"), "{}", ran.all());
    assert_eq!(staff.sql(NAMED), "3");
    let twins = "SELECT count(*) FROM jobs a JOIN jobs b ON b.id = a.twin_id AND b.twin_id = a.id";
    assert_eq!(staff.sql(twins), "1200", "those of the one that went are alone");
    assert_eq!(staff.dump(), before);
    let again = staff.run("move run staff").exits(0);
    assert!(again.stderr().contains("0 rows written"), "{}", again.all());
}

/// Where nobody can be kept out the ways differ less, and the rows not at all.
#[test]
fn each_mode_writes_the_same_rows_on_sqlite() {
    let outcome = |mode: &str| {
        let library = Library::new();
        library.edit("source = \"old\"", &format!("mode = \"{mode}\"\nsource = \"old\""));
        library.run("move run library").exits(0);
        library.old(
            "INSERT INTO loans VALUES (6, 2, 20, '2024-03-01', NULL);
             UPDATE books SET title = 'Notes' WHERE id = 20;
             DELETE FROM loans WHERE id = 1;",
        );
        library.run("move run library").exits(0);
        let again = library.run("move run library").exits(0);
        assert!(again.stderr().contains("0 rows written"), "{}", again.all());
        library.everything()
    };
    let sync = outcome("sync");
    assert_eq!(outcome("reload"), sync);
    assert_eq!(outcome("swap"), sync);
}
