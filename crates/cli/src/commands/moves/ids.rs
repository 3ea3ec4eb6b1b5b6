//! `move ids`: which old key became which id.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use dunlin::engine::events::Silent;
use dunlin::engine::moves;

use super::open;
use crate::context::Context;
use crate::exit::{CliError, Exit};
use crate::render;

/// All of a namespace, as CSV.
pub(super) async fn export(
    context: &Context,
    name: &str,
    namespace: &str,
    output: Option<&Path>,
) -> Result<Exit, CliError> {
    let opened = open(context, name, "move ids export", Arc::new(Silent))?;
    // Begun with the first row: an error leaves neither a header nor a file.
    let mut into: Option<Box<dyn Write>> = None;
    let mut broken = None;
    moves::export_ids(&opened.job, namespace, |old, new| {
        if broken.is_none() {
            broken = line(&mut into, output, &[old, new]).err();
        }
    })
    .await
    .map_err(|error| opened.error(error))?;
    let end = |into: &mut Option<Box<dyn Write>>| begun(into, output)?.flush();
    match (broken.or_else(|| end(&mut into).err()), output) {
        (Some(error), Some(path)) => Err(CliError::file("write", path, &error)),
        // `… | head` closes the pipe.
        _ => Ok(Exit::Done),
    }
}

fn line(
    into: &mut Option<Box<dyn Write>>,
    output: Option<&Path>,
    values: &[&str],
) -> std::io::Result<()> {
    writeln!(begun(into, output)?, "{}", csv_line(values))
}

/// Where lines go, with the header in it.
fn begun<'a>(
    into: &'a mut Option<Box<dyn Write>>,
    output: Option<&Path>,
) -> std::io::Result<&'a mut Box<dyn Write>> {
    match into {
        Some(into) => Ok(into),
        None => {
            let mut new: Box<dyn Write> = match output {
                Some(path) => Box::new(BufWriter::new(std::fs::File::create(path)?)),
                None => Box::new(BufWriter::new(std::io::stdout())),
            };
            writeln!(new, "old,new")?;
            Ok(into.insert(new))
        }
    }
}

/// One of them, by either side.
pub(super) async fn show(
    context: &Context,
    name: &str,
    namespace: &str,
    key: &str,
) -> Result<Exit, CliError> {
    let opened = open(context, name, "move ids show", Arc::new(Silent))?;
    let mut found = Vec::new();
    moves::export_ids(&opened.job, namespace, |old, new| {
        if old == key || new.eq_ignore_ascii_case(key) {
            found.push((old.to_owned(), new.to_owned()));
        }
    })
    .await
    .map_err(|error| opened.error(error))?;
    if found.is_empty() {
        return Err(CliError::NoSuch {
            message: format!("{namespace}: nothing was moved with the key or the id {key}"),
            help: format!("`dunlin move rejects {name}` lists rows that were left out"),
        });
    }
    if context.global.json {
        let shown: Vec<_> =
            found.iter().map(|(old, new)| serde_json::json!({ "old": old, "new": new })).collect();
        render::json(&serde_json::json!({ "namespace": namespace, "ids": shown, "exit_code": 0 }));
    } else {
        for (old, new) in &found {
            render::data(&format!("{namespace} {old} is {new}"));
        }
    }
    Ok(Exit::Done)
}

/// Values as one line of CSV.
pub(super) fn csv_line(values: &[&str]) -> String {
    let quoted: Vec<String> = values
        .iter()
        .map(|value| {
            if value.contains([',', '"', '\n', '\r']) {
                format!("\"{}\"", value.replace('"', "\"\""))
            } else {
                (*value).to_owned()
            }
        })
        .collect();
    quoted.join(",")
}
