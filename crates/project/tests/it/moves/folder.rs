//! Mappings in their folder.

use std::fs;

use dunlin_project::moves::{list_mappings, read_mapping};

use super::{DESIGN_QUEUE, shown};

#[test]
fn a_mapping_is_read_from_its_file() {
    let root = tempfile::tempdir().expect("a folder");
    let missing = |name: &str| shown(&read_mapping(root.path(), name).expect_err("missing"));

    assert_eq!(list_mappings(root.path()).expect("none"), Vec::<String>::new());
    assert_eq!(
        missing("queue"),
        "moves/queue.toml there is no mapping `queue` [unknown-mapping]\n    \
         there are none yet: `dunlin new move queue`\n"
    );
    fs::create_dir(root.path().join("moves")).expect("made");
    for name in ["design_queue.toml", "archive.toml", ".archive.toml", "readme.md"] {
        fs::write(root.path().join("moves").join(name), DESIGN_QUEUE).expect("written");
    }
    assert_eq!(list_mappings(root.path()).expect("two"), ["archive", "design_queue"]);
    let mapping = read_mapping(root.path(), "design_queue").expect("a mapping");
    assert_eq!(mapping.name, "design_queue");
    assert_eq!(mapping.file.to_str(), Some("moves/design_queue.toml"));
    assert_eq!(
        missing("design-que"),
        "moves/design-que.toml there is no mapping `design-que` [unknown-mapping]\n    \
         did you mean `design_queue`? There are `archive` and `design_queue`\n"
    );
    assert_eq!(
        missing("../dunlin"),
        " `../dunlin` is no name of a mapping [wrong-name]\n    \
         a name has letters, digits, `-` and `_`; its file is moves/NAME.toml\n"
    );
    fs::write(root.path().join("moves/long.toml"), vec![b'#'; 5 * 1024 * 1024]).expect("written");
    let errors = read_mapping(root.path(), "long").expect_err("too long");
    assert_eq!(errors[0].message, "cannot read the file: the file is larger than 4 MiB");
}
