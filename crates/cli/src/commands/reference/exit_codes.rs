//! `exit-codes.md`, from [`Exit`].

use std::fmt::Write as _;

use crate::exit::Exit;

const INTRODUCTION: &str = "# Exit codes

Every command ends with one of these, so that scripts and deploys need not read its text. With
`--json` the document has it as `exit_code`, too.

| code | means | what to do |
| --- | --- | --- |
";

const RESERVED: &str = "\
| 6 | rows remain: quarantined, or not proved | planned, for backfills and moves: no command uses it yet |
";

const END: &str = "
Held migrations are no failure: `migrate` ends with 0, or with 3 under `--fail-if-held`. Losing a
race is none either: the other runner's work is waited for, and found done.
";

/// The whole page.
pub(super) fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for exit in Exit::ALL {
        if exit == Exit::Stopped {
            page.push_str(RESERVED);
        }
        // Writing to a string does not fail.
        let _ = writeln!(page, "| {} | {} | {} |", exit.code(), exit.meaning(), exit.remedy());
    }
    page + END
}
