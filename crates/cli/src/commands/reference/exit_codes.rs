//! `exit-codes.md`, from [`Exit`].

use std::fmt::Write as _;

use crate::exit::Exit;

const INTRODUCTION: &str = "# Exit codes

| code | means | for example |
| --- | --- | --- |
";

const END: &str = "
With several databases a command that changes something stops at the first that fails. Commands \
that only look (`status`, `plan`, `check`, `wait`, `--dry-run`) look at all of them. The worst \
code wins: 7, then 1, 2, 6, 5, 4, 3 and 0. `wait` waits for nothing more once one of \
them can't end well.

With `--json` the same number is in `exit_code`. A process that is killed has the shell's code \
(137 for `kill -9`), and is finished by the next run.
";

/// The whole page.
pub(super) fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for exit in Exit::ALL {
        // Writing to a string does not fail.
        let _ = writeln!(page, "| {} | {} | {} |", exit.code(), exit.meaning(), exit.example());
    }
    page + END
}
