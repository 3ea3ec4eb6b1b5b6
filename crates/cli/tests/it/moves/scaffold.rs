use super::Library;
use crate::project::{snapshot, story};

#[test]
fn a_first_mapping_is_made_of_both_databases() {
    let library = Library::new();
    let made = library.run("new move first-try --source old --target app").exits(0);
    assert_eq!(made.stdout(), "moves/first_try.toml\n");
    let before = library.project.read("moves/first_try.toml");
    snapshot!("new_move_file", library.project, before);
    // It parses, and says what is still to be said.
    let planned = library.run("move plan first_try").exits(2);
    assert!(planned.stderr().contains("moves/first_try.toml:"), "{}", planned.all());
    let runs = [
        made,
        library.run("new move first_try --source old --target app").exits(2),
        library.run("new move second --source olt --target app").exits(2),
        library.run("new move First/Try --source old --target app").exits(2),
        library.run("new move third --source old --target app --json").exits(0),
    ];
    assert_eq!(library.project.read("moves/first_try.toml"), before);
    assert_eq!(library.project.list("moves"), ["first_try.toml", "library.toml", "third.toml"]);
    snapshot!("new_move", library.project, story(&runs));
}
