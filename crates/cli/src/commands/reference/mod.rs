//! `reference`: the generated pages of `docs/reference`.

mod cli;
mod exit_codes;

use std::fs;
use std::path::Path;

use dunlin::project::{directive, settings};

use crate::exit::{CliError, Exit};
use crate::render;

/// The first line of the pages that are made here.
const GENERATED: &str = "<!-- Generated from the program by `cargo xtask docs`. Change the program, not this page. -->\n";

/// Writes each page into a folder, over what is there.
pub(crate) fn run(folder: &Path) -> Result<Exit, CliError> {
    fs::create_dir_all(folder).map_err(|error| CliError::file("make", folder, &error))?;
    let pages = [
        ("cli.md", format!("{GENERATED}\n{}", cli::page())),
        ("exit-codes.md", format!("{GENERATED}\n{}", exit_codes::page())),
        // These say of themselves where they come from.
        ("configuration.md", settings::reference()),
        ("directives.md", directive::reference()),
        ("dunlin.schema.json", format!("{:#}\n", settings::json_schema())),
    ];
    for (name, text) in pages {
        let file = folder.join(name);
        fs::write(&file, text).map_err(|error| CliError::file("write", &file, &error))?;
        render::line(&format!("wrote {}", file.display()));
    }
    Ok(Exit::Done)
}
