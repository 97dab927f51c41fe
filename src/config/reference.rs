//! The settings as documentation.

use crate::config::setting::{Fallback, Group, Kind, Setting};
use crate::config::table::ALL;

/// The settings as a Markdown table for `docs/settings.md`: flag, variable, default, description. Hidden
/// settings and those of one-shot changes are left out. Ends with a newline.
pub(crate) fn markdown_table() -> String {
    let head = "| Flag | Variable | Default | What it does |\n|---|---|---|---|\n";
    ALL.iter().filter_map(row).fold(head.to_owned(), |table, row| table + &row)
}

/// Like [`markdown_table`], with the settings of a hosted connector.
#[cfg(feature = "lambda")]
pub(crate) fn hosted_markdown_table() -> String {
    let head = "| Flag | Variable | Default | What it does |\n|---|---|---|---|\n";
    crate::config::hosted::HOSTED.iter().filter_map(row).fold(head.to_owned(), |table, row| table + &row)
}

/// A row of the table; `None` for a setting that is left out.
pub(super) fn row(setting: &Setting) -> Option<String> {
    if setting.hidden || setting.group == Group::Change {
        return None;
    }
    let short = setting.short.map(|letter| format!("`-{letter}`, ")).unwrap_or_default();
    let fallback = match setting.fallback {
        Fallback::Required => "required".into(),
        Fallback::Unset => "none".into(),
        Fallback::Value(value) => format!("`{value}`"),
        Fallback::Depends { text, .. } => text.into(),
    };
    let accepted = match setting.kind {
        Kind::Whole { .. } | Kind::Choice(_) | Kind::Workers => {
            format!(" Accepts {}.", setting.kind.accepted())
        }
        Kind::Text
        | Kind::Texts
        | Kind::Switch
        | Kind::SocketAddress
        | Kind::HostAndPort
        | Kind::Host
        | Kind::Path
        | Kind::LogTargets
        | Kind::Url
        | Kind::Time
        | Kind::Json => String::new(),
    };
    let secret = if setting.secret { " Secret: never shown or logged." } else { "" };
    let help = setting.help.replace('|', "\\|").replace('<', "&lt;");
    let (name, variable) = (setting.name, setting.variable());
    Some(format!("| {short}`--{name}` | `{variable}` | {fallback} | {help}.{accepted}{secret} |\n"))
}
