//! `cli.md`, from the definition of the command line.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command, CommandFactory};

use crate::args::Cli;

const INTRODUCTION: &str = "# Commands

What is data goes to stdout, what happens to stderr. Colour and spinners appear on a terminal only,
and not with `NO_COLOR`. Options that every command takes are listed once, first.
";

/// The whole page.
pub(super) fn page() -> String {
    let mut root = Cli::command();
    root.build();
    let mut page = INTRODUCTION.to_owned();
    page.push_str("\n## Options of every command\n\n");
    options(&mut page, &root, true);
    for command in root.get_subcommands() {
        section(&mut page, command, "dunlin", 2);
    }
    page
}

fn section(page: &mut String, command: &Command, above: &str, depth: usize) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let path = format!("{above} {}", command.get_name());
    // Writing to a string does not fail.
    let _ = writeln!(page, "\n{} `{path}`", "#".repeat(depth));
    if let Some(about) = command.get_about() {
        let _ = writeln!(page, "\n{about}.");
    }
    let has_commands = command.get_subcommands().any(|inner| inner.get_name() != "help");
    if !has_commands {
        let _ = writeln!(page, "\n```\n{}\n```", usage(command, &path));
        let arguments = command.get_positionals().any(|argument| !argument.is_hide_set());
        if arguments || command.get_opts().any(is_own) || flags(command).next().is_some() {
            page.push('\n');
        }
        options(page, command, false);
    }
    for inner in command.get_subcommands() {
        section(page, inner, &path, depth + 1);
    }
}

fn flags(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|argument| {
        !argument.is_positional() && !argument.get_action().takes_values() && is_own(argument)
    })
}

fn is_own(argument: &Arg) -> bool {
    !argument.is_global_set()
        && !argument.is_hide_set()
        && !matches!(
            argument.get_action(),
            ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
        )
}

fn usage(command: &Command, path: &str) -> String {
    let mut line = path.to_owned();
    for option in
        command.get_arguments().filter(|argument| !argument.is_positional() && is_own(argument))
    {
        let written = long(option);
        let _ = if option.is_required_set() {
            write!(line, " {written}")
        } else {
            write!(line, " [{written}]")
        };
    }
    for argument in command.get_positionals() {
        let name = value_name(argument);
        let many = if argument.get_num_args().is_some_and(|range| range.max_values() > 1) {
            "..."
        } else {
            ""
        };
        let _ = if argument.is_required_set() {
            write!(line, " <{name}>{many}")
        } else {
            write!(line, " [{name}]{many}")
        };
    }
    line
}

fn options(page: &mut String, command: &Command, global: bool) {
    let wanted = |argument: &&Arg| {
        if global { argument.is_global_set() } else { is_own(argument) }
    };
    for argument in command.get_positionals().filter(wanted) {
        item(page, argument, &format!("<{}>", value_name(argument)));
    }
    for argument in
        command.get_arguments().filter(|argument| !argument.is_positional()).filter(wanted)
    {
        let short = argument.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
        item(page, argument, &format!("{short}{}", long(argument)));
    }
}

fn item(page: &mut String, argument: &Arg, written: &str) {
    let _ = write!(page, "- `{written}`");
    if let Some(help) = argument.get_help() {
        let _ = write!(page, ": {help}");
    }
    let values: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|_| argument.get_action().takes_values())
        .map(|value| match value.get_help() {
            Some(help) => format!("`{}` ({help})", value.get_name()),
            None => format!("`{}`", value.get_name()),
        })
        .collect();
    if !values.is_empty() {
        let _ = write!(page, ". One of {}", values.join(", "));
    }
    let defaults: Vec<String> = argument
        .get_default_values()
        .iter()
        .filter(|_| argument.get_action().takes_values())
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    if !defaults.is_empty() {
        let _ = write!(page, ". Default: {}", defaults.join(", "));
    }
    if let Some(variable) = argument.get_env() {
        let _ = write!(page, ". Variable: `{}`", variable.to_string_lossy());
    }
    page.push('\n');
}

fn long(argument: &Arg) -> String {
    let name = argument.get_long().unwrap_or(argument.get_id().as_str());
    if argument.get_action().takes_values() {
        format!("--{name} <{}>", value_name(argument))
    } else {
        format!("--{name}")
    }
}

fn value_name(argument: &Arg) -> String {
    match argument.get_value_names() {
        Some([name, ..]) => name.to_string(),
        _ => argument.get_id().as_str().to_uppercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_option_is_on_the_page() {
        let page = page();
        for text in
            ["## `dunlin migrate`", "### `dunlin data run`", "--lease-wait <TIME>", "`DUNLIN_ENV`"]
        {
            assert!(page.contains(text), "{text}");
        }
        assert!(!page.contains("dunlin reference"), "it is hidden");
    }
}
