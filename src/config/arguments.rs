//! The settings as command line flags.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ValueHint};

use crate::config::setting::{DefaultValue, Fallback, Group, Kind, Setting, SettingStatus};
use crate::config::table::ALL;

/// One flag per setting, for the root command.
///
/// The flags are global, so a sub-command accepts them before and after its name: the parent of a child
/// process repeats its own flags and puts the sub-command last. clap checks no value and sets no default;
/// [`load`](crate::config::load) does both in the same way for every source.
pub(crate) fn arguments() -> Vec<Arg> {
    ALL.iter().map(argument).collect()
}

/// How many settings the help of a command shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// The most important settings.
    Usual,
    /// Every setting that the command uses.
    Everything,
    /// Every setting that the command uses. Hidden settings are omitted, for completions and manual pages.
    Documented,
}

/// Like [`arguments`], for the help of one command: `usual` are its most important settings, in this order,
/// and `groups` are those that it uses. The other settings are accepted but hidden.
pub(crate) fn arguments_for(usual: &[&str], groups: &[Group], detail: Detail) -> Vec<Arg> {
    let shown = |setting: &Setting| {
        let place = usual.iter().position(|name| *name == setting.name);
        let is_used = place.is_some() || (groups.contains(&setting.group) && !setting.hidden);
        let flag = argument(setting);
        match (detail, place) {
            (Detail::Usual, Some(place)) => Some(
                flag.hide(false).help(short_help(setting)).help_heading("Main settings").display_order(place),
            ),
            (Detail::Everything, _) if is_used => Some(flag.hide(false)),
            (Detail::Documented, _) => is_used.then(|| with_values(flag.hide(false), setting)),
            _ => Some(flag.hide(true)),
        }
    };
    ALL.iter().filter_map(shown).collect()
}

/// One flag per setting of a hosted connector, for the command `lambda`.
#[cfg(feature = "lambda")]
pub(crate) fn hosted_arguments() -> Vec<Arg> {
    crate::config::hosted::HOSTED.iter().map(|setting| argument(setting).global(false)).collect()
}

/// The flag with the values that shells complete. Only for completions and documentation: the command line
/// accepts any other value, and each setting interprets its own value.
fn with_values(flag: Arg, setting: &Setting) -> Arg {
    let values = match setting.kind {
        Kind::Choice(words) => words,
        _ => setting.suggested,
    };
    if values.is_empty() {
        flag
    } else {
        flag.value_parser(PossibleValuesParser::new(values.iter().copied()))
    }
}

/// What a shell completes where there are no known values: files only for settings that name one.
fn value_hint(setting: &Setting) -> ValueHint {
    match setting.kind {
        Kind::Path if setting.value_name == "FOLDER" => ValueHint::DirPath,
        Kind::Path | Kind::LogTargets => ValueHint::FilePath,
        _ => ValueHint::Other,
    }
}

/// The flag of one setting.
pub(super) fn argument(setting: &Setting) -> Arg {
    let argument = Arg::new(setting.name)
        .long(setting.name)
        .global(true)
        .value_name(setting.value_name)
        .value_hint(value_hint(setting))
        .help(help(setting))
        .help_heading(setting.group.heading())
        .hide(setting.hidden);
    let argument = match setting.short {
        Some(letter) => argument.short(letter),
        None => argument,
    };
    let argument = match setting.kind {
        // All values count, but values before the command's name count only if none follow it.
        Kind::LogTargets | Kind::Texts => argument.action(ArgAction::Append),
        // The last value of a repeated flag counts, as in the Go connector.
        _ => argument.overrides_with(setting.name),
    };
    match setting.kind {
        // Every form of the Go connector is accepted, because the error is the same.
        _ if matches!(setting.status, SettingStatus::Refused(_)) => {
            argument.num_args(0..=1).default_missing_value("true")
        }
        // The flag of the Go connector takes a separate value: `--event-feed true`.
        Kind::Switch if setting.name == "event-feed" => {
            argument.num_args(0..=1).default_missing_value("true")
        }
        // A value needs the equals sign, because `sync` in `--skip-pages sync` is a command.
        Kind::Switch => argument.num_args(0..=1).require_equals(true).default_missing_value("true"),
        // Tokens may start with a dash.
        _ => argument.num_args(1).allow_hyphen_values(true),
    }
}

/// The help text without the variable, whose name follows from the flag, and for most switches without the
/// default.
fn short_help(setting: &Setting) -> String {
    let fallback = match setting.fallback {
        Fallback::Required => " [required]".to_owned(),
        Fallback::Value(DefaultValue::Switch(false)) | Fallback::Unset => String::new(),
        Fallback::Value(value) => format!(" [default: {value}]"),
        Fallback::Depends { text, .. } => format!(" [default: {text}]"),
    };
    format!("{}{fallback}", setting.help)
}

/// The help text: the description of the setting, its variable, and its default.
fn help(setting: &Setting) -> String {
    let fallback = match setting.fallback {
        Fallback::Required => " [required]".into(),
        Fallback::Unset => String::new(),
        Fallback::Value(value) => format!(" [default: {value}]"),
        Fallback::Depends { text, .. } => format!(" [default: {text}]"),
    };
    format!("{} [env: {}]{fallback}", setting.help, setting.variable())
}
