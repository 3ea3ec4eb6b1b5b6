//! Mappings of moves, as people write them.

mod catalogues;
mod checked;
mod folder;
mod read;
mod scaffolded;

/// A mapping for the whole design queue.
const DESIGN_QUEUE: &str = include_str!("design_queue.toml");

/// Findings as people see them, without the name of the file.
fn shown(findings: &[dunlin_model::Diagnostic]) -> String {
    let mut lines = String::new();
    for finding in findings {
        let weight = match finding.severity {
            dunlin_model::Severity::Error => "",
            dunlin_model::Severity::Warning => "warning: ",
            dunlin_model::Severity::Notice => "notice: ",
        };
        let at = finding.place.as_ref().map(ToString::to_string).unwrap_or_default();
        let at = at.strip_prefix("moves/m.toml").unwrap_or(&at);
        lines.push_str(&format!("{at} {weight}{} [{}]\n", finding.message, finding.rule));
        // What TOML's own parser says helps by itself.
        match &finding.help {
            Some(help) => lines.push_str(&format!("    {help}\n")),
            None => assert_eq!(finding.rule, "malformed-toml"),
        }
    }
    lines
}
