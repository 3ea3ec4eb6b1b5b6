use super::{CONFIGURATION, KEY, Library, MAPPING};
use crate::project::{Project, Ran, snapshot, story};

#[test]
fn a_wrong_mapping_is_told_with_its_line() {
    let library = Library::new();
    let edits = [
        ("set.title =", "set.titel ="),
        ("lower(email)\"\nset.given", "lower(mail)\"\nset.given"),
        ("{ new = \"book\"", "{ new = \"bock\""),
        ("[ids]\n", "[ids]\ncolour = \"derived\"\n"),
        ("person = \"derived\"", "person = \"derive\""),
        ("id_key = \"library\"", "id_kee = \"library\""),
        ("from = \"loans\"\neach", "from = \"lones\"\neach"),
        ("coalesce(title, 'Untitled')", "coalesce(title, 1"),
        ("set.family = \"split_part(name, ' ', 2)\"\n", ""),
    ];
    let mut runs: Vec<Ran> = Vec::new();
    for (from, to) in edits {
        library.project.write("moves/library.toml", MAPPING);
        library.edit(from, to);
        let run = library.run("move run library").exits(2);
        assert!(run.stderr().contains("moves/library.toml:"), "{}", run.all());
        runs.push(run);
    }
    assert_eq!(library.everything(), "", "nothing was written");
    snapshot!("move_wrong_mapping", library.project, story(&runs));
}

#[test]
fn what_is_not_there_is_told_with_what_to_do() {
    let library = Library::new();
    let mut runs = vec![
        library.run("move run libary").exits(2),
        library.run("move run ../library").exits(2),
        library.run("move ids show library person 1").exits(2),
        library.project.run_with("move run library", &[(KEY.0, "secret")]).exits(2),
    ];
    assert!(!runs.iter().any(|run| run.all().contains("secret")));
    library.run("move run library").exits(0);
    runs.push(library.run("move ids export library --namespace persons").exits(2));
    runs.push(library.run("move ids show library person 99").exits(1));
    let unknown = library.run("move ids show library person 99 --json").exits(1);
    assert_eq!(unknown.stdout().matches("exit_code").count(), 1, "{}", unknown.all());
    let other = [(KEY.0, "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")];
    let before = library.everything();
    runs.push(library.project.run_with("move run library", &other));
    assert_ne!(runs[runs.len() - 1].code(), 0);
    assert_eq!(library.everything(), before, "a wrong key stops before anything is written");
    library.new_one("DROP TABLE loan_days");
    runs.push(library.run("move run library").exits(2));
    library.edit("target = \"app\"", "target = \"apps\"");
    runs.push(library.run("move run library").exits(2));
    snapshot!("move_not_there", library.project, story(&runs));
}

#[test]
fn a_database_that_is_not_there_is_not_made() {
    let project = Project::empty();
    project.write("moves/library.toml", MAPPING);
    let mut runs = vec![project.run("move run library").exits(2)];
    project.write("dunlin.toml", CONFIGURATION);
    for words in ["move plan library", "move run library", "move status library"] {
        let run = project.run(words);
        assert_ne!(run.code(), 0, "{}", run.all());
        runs.push(run);
    }
    assert_eq!(project.list(""), ["dunlin.toml", "moves"]);
    project.write("dunlin.toml", &CONFIGURATION.replace("sqlite:new.db", "${NEW_URL}"));
    runs.push(project.run("move plan library").exits(2));
    snapshot!("move_no_database", project, story(&runs));
}
