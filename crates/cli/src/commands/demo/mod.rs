//! `demo`: the whole story on SQLite, in seconds.
//!
//! Nothing of it is staged: it runs this program's own commands, ends one by `kill -9` while it is
//! inside a data migration, and compares every row itself. Of what they print it shows what the
//! story needs.

mod child;
#[cfg(feature = "move")]
mod moves;
mod project;
mod rows;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use self::child::{Ended, Shell, Show};
use self::rows::{Proof, compare};
#[cfg(feature = "move")]
use crate::args::DemoCommand;
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
    match &args.what {
        #[cfg(feature = "move")]
        Some(DemoCommand::Move { folder }) => moves::run(folder).await,
        _ => release(&args.folder).await,
    }
}

async fn release(folder: &Path) -> Result<Exit, CliError> {
    let began = Instant::now();
    project::make(folder)?;
    let shell = Shell::new(folder)?;
    shell.quietly(&["migrate", "--to", project::BEFORE_THE_RELEASE]).await?;
    let before = rows::read(folder, &["name", "points"]).await?;
    render::data(&styled(
        BOLD,
        &format!(
            "{}/ is a small shop with {}, and a release that is about to go out:",
            folder.display(),
            render::count(before.len(), "customer")
        ),
    ));
    command(&shell, &["status"], Show::Table).await?;

    say("Migrate, and be killed in the middle of the last data migration: kill -9.");
    let ended = shell_aloud(&shell, &["migrate"], Show::Steps, Some(IN_THE_MIDDLE)).await?;
    if ended != Ended::Killed {
        return Err(CliError::File {
            message: "the demo's migration ended before it could be killed".to_owned(),
        });
    }
    let middle = Middle {
        letters: project::letters_sent(folder)?.len(),
        old_column: rows::has_column(folder, "name").await?,
    };
    let at = format!("killed: {} of {} letters are sent", middle.letters, project::OFFICES);
    render::data(&format!("  {}", styled(BAD, &at)));

    say("Start it again. Nobody has to clean up: the ledger knows what is done.");
    project::bring_stamps(folder)?;
    command(&shell, &["migrate"], Show::Steps).await?;
    command(&shell, &["status"], Show::Table).await?;

    let after = rows::read(folder, &["first_name", "last_name", "points"]).await?;
    let dropped = !rows::has_column(folder, "name").await?;
    let right = prove(&[
        rows_line(&compare(&before, &after)),
        letters_line(&project::letters_sent(folder)?, middle.letters),
        column_line(middle.old_column && dropped),
    ]);
    play(
        folder,
        began,
        &[
            ("data rerun 20260112102000", "double the points again: a second pass, on record"),
            ("new data thank_you --program sh", "write your own, then: dunlin migrate"),
        ],
    );
    Ok(if right { Exit::Done } else { Exit::Failed })
}

/// What was there right after the kill.
struct Middle {
    letters: usize,
    /// The column that the release drops.
    old_column: bool,
}

fn say(text: &str) {
    render::data(&styled(BOLD, text));
}

async fn command(shell: &Shell, words: &[&str], show: Show) -> Result<(), CliError> {
    shell_aloud(shell, words, show, None).await.map(|_| ())
}

async fn shell_aloud(
    shell: &Shell,
    words: &[&str],
    show: Show,
    until: Option<&str>,
) -> Result<Ended, CliError> {
    render::data(&styled(FAINT, &format!("  $ dunlin {}", words.join(" "))));
    shell.aloud(words, show, until).await
}

/// Whether something is as it should be, and what was found.
type Verdict = (bool, String);

fn rows_line(proof: &Proof) -> Verdict {
    let right = render::backfill::grouped(proof.right as u64);
    let text = format!(
        "{right} names split and {right} points doubled, exactly once; {} wrong, {} lost",
        proof.wrong, proof.lost_or_new
    );
    (proof.holds(), text)
}

fn letters_line(letters: &[String], in_the_middle: usize) -> Verdict {
    let different = letters.iter().collect::<BTreeSet<_>>().len();
    let twice = letters.len() - different;
    let text = format!(
        "{} letters sent, {in_the_middle} before the kill and {} after it; {twice} sent twice",
        letters.len(),
        letters.len() - in_the_middle
    );
    (different == project::OFFICES && twice == 0 && in_the_middle > 0, text)
}

/// Told only if it is not as it should be: its step has told the rest.
fn column_line(waited: bool) -> Verdict {
    let text = "the old column was dropped before its data was out";
    (waited, if waited { String::new() } else { text.to_owned() })
}

/// Shows the verdicts. Whether all of them are right.
fn prove(verdicts: &[Verdict]) -> bool {
    say("Looked at every row, before and after:");
    for (right, text) in verdicts.iter().filter(|(_, text)| !text.is_empty()) {
        let word = if *right { styled(GOOD, "right") } else { styled(BAD, "WRONG") };
        render::data(&format!("  {word}  {text}"));
    }
    verdicts.iter().all(|(right, _)| *right)
}

/// What to try next: words after `dunlin`, and why.
fn play(folder: &Path, began: Instant, ideas: &[(&str, &str)]) {
    let took = duration(began.elapsed());
    let mut enter = format!("cd {}", folder.display());
    if let Some(program) = not_on_the_path() {
        enter.push_str(&format!("; alias dunlin='{program}'"));
    }
    say(&format!("That took {took}. The folder is yours to play in: {enter}"));
    for (words, why) in ideas {
        let line = format!("dunlin {words}");
        render::data(&format!("  {line:<46} {}", styled(FAINT, &format!("# {why}"))));
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
