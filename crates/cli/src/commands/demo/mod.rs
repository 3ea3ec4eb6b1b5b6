//! `demo`: the whole story on SQLite, in seconds.
//!
//! Nothing of it is staged: it runs this program's own commands, ends one by `kill -9` while it is
//! inside a data migration, and compares every row itself.

mod child;
mod project;
mod rows;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use self::child::{Ended, Shell};
use self::rows::{Proof, compare};
use crate::args::{DemoArgs, Global};
use crate::exit::{CliError, Exit};
use crate::render::{self, BAD, BOLD, FAINT, GOOD, duration, styled};

/// What the program of the project says when it waits in its middle.
const IN_THE_MIDDLE: &str = "out of stamps";

/// Makes the project and tells the story.
pub(crate) async fn run(global: &Global, args: &DemoArgs) -> Result<Exit, CliError> {
    if global.json {
        return Err(CliError::usage(
            "`demo` is told for people, and has no --json",
            "every other command has: `dunlin status --json`",
        ));
    }
    let began = Instant::now();
    let folder = &args.folder;
    project::make(folder)?;
    let shell = Shell::new(folder)?;
    shell.quietly(&["migrate", "--to", project::BEFORE_THE_RELEASE]).await?;
    let before = rows::read(folder, &["name", "points"]).await?;
    say(&format!(
        "{}/ is a small shop with {} customers, and a release that is about to go out:",
        folder.display(),
        before.len()
    ));
    command(&shell, &["status"]).await?;

    say("Migrate. In the middle of the last data migration the power goes: kill -9.");
    let ended = shell_aloud(&shell, &["migrate"], Some(IN_THE_MIDDLE)).await?;
    if ended != Ended::Killed {
        return Err(CliError::File {
            message: "the demo's migration ended before it could be killed".to_owned(),
        });
    }
    let sent = project::letters_sent(folder)?.len();
    render::data(&format!("  {}", styled(BAD, &format!("killed, with {sent} of {} letters sent", project::OFFICES))));

    say("Start it again. Nobody has to clean up: the ledger knows what is done.");
    project::bring_stamps(folder)?;
    shell_aloud(&shell, &["migrate"], None).await?;
    command(&shell, &["status"]).await?;

    let after = rows::read(folder, &["first_name", "last_name", "points"]).await?;
    let proof = compare(&before, &after);
    let letters = project::letters_sent(folder)?;
    let right = prove(&proof, &letters);
    play(folder, began);
    Ok(if right { Exit::Done } else { Exit::Failed })
}

fn say(text: &str) {
    render::data("");
    render::data(&styled(BOLD, text));
}

async fn command(shell: &Shell, words: &[&str]) -> Result<(), CliError> {
    shell_aloud(shell, words, None).await.map(|_| ())
}

async fn shell_aloud(
    shell: &Shell,
    words: &[&str],
    until: Option<&str>,
) -> Result<Ended, CliError> {
    render::data(&styled(FAINT, &format!("  $ dunlin {}", words.join(" "))));
    shell.aloud(words, until).await
}

/// Shows what was found by comparing every row. Whether all of it is right.
fn prove(proof: &Proof, letters: &[String]) -> bool {
    let different = letters.iter().collect::<BTreeSet<_>>().len();
    let letters_right = letters.len() == project::OFFICES && different == letters.len();
    say("Every row, compared with what it was:");
    verdict(
        proof.holds(),
        &format!(
            "{} names split and {} points doubled exactly once; {} wrong, {} lost",
            proof.right, proof.right, proof.wrong, proof.lost_or_new
        ),
    );
    verdict(
        letters_right,
        &format!("{} letters sent, {} of them twice", letters.len(), letters.len() - different),
    );
    verdict(true, "the old column was dropped last: it waited until the data was out of it");
    proof.holds() && letters_right
}

fn verdict(right: bool, text: &str) {
    let word = if right { styled(GOOD, "right") } else { styled(BAD, "WRONG") };
    render::data(&format!("  {word}  {text}"));
}

fn play(folder: &Path, began: Instant) {
    say(&format!("That took {}. The folder is yours to play in:", duration(began.elapsed())));
    render::data(&format!("  cd {}", folder.display()));
    for (words, why) in [
        ("rollback --step 1", "undo the drop, and see which data migrations it takes along"),
        ("data rerun 20260112102000", "double the points once more: a second pass, on record"),
        ("new data thank_everybody --program sh", "write your own, then: dunlin migrate"),
    ] {
        let line = format!("dunlin {words}");
        render::data(&format!("  {line:<45} {}", styled(FAINT, &format!("# {why}"))));
    }
    if let Some(program) = not_on_the_path() {
        render::data(&styled(FAINT, &format!("  where `dunlin` is {program}")));
    }
}

/// This program's path, if it was not started by its bare name.
fn not_on_the_path() -> Option<String> {
    let called = std::env::args_os().next()?;
    let called = Path::new(&called);
    (called.components().count() > 1)
        .then(std::env::current_exe)
        .and_then(Result::ok)
        .map(|path| path.display().to_string())
}
