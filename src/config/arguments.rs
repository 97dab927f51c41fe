//! The table as flags.

use clap::{Arg, ArgAction};

use crate::config::setting::{DefaultValue, Fallback, Group, Kind, Setting, Standing};
use crate::config::table::ALL;

/// One flag per setting, for the root command.
///
/// They are global, so a sub-command accepts them before and after its name: the parent of a child
/// process repeats its own flags and puts the sub-command last. clap checks no value and fills in no default;
/// [`load`](crate::config::load) does both alike for every source.
pub(crate) fn arguments() -> Vec<Arg> {
    ALL.iter().map(argument).collect()
}

/// How much the help of a command shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// The settings that matter most.
    Usual,
    /// Every setting that the command uses.
    Everything,
    /// The same, and those that are not shown are not there at all: for completions and manual pages.
    Documented,
}

/// As [`arguments`], for the help of one command: `usual` are the settings that matter to it most, in this order, and
/// `groups` those that it uses. The others are accepted and not shown.
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
            (Detail::Documented, _) => is_used.then(|| flag.hide(false)),
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

/// The flag of one setting.
pub(super) fn argument(setting: &Setting) -> Arg {
    let argument = Arg::new(setting.name)
        .long(setting.name)
        .global(true)
        .value_name(setting.value_name)
        .help(help(setting))
        .help_heading(setting.group.heading())
        .hide(setting.hidden);
    let argument = match setting.short {
        Some(letter) => argument.short(letter),
        None => argument,
    };
    let argument = match setting.kind {
        // All of them count, but those before the command's name only where none follow it.
        Kind::LogTargets | Kind::Texts => argument.action(ArgAction::Append),
        // The last of a repeated flag counts, as it does in the program this one replaces.
        _ => argument.overrides_with(setting.name),
    };
    match setting.kind {
        // Whatever form the former program had: the answer is the same.
        _ if matches!(setting.standing, Standing::Refused(_)) => {
            argument.num_args(0..=1).default_missing_value("true")
        }
        // The former program's flag has a value of its own, `--event-feed true`.
        Kind::Switch if setting.name == "event-feed" => {
            argument.num_args(0..=1).default_missing_value("true")
        }
        // `--skip-pages sync` must leave `sync` alone, so a value needs the equals sign.
        Kind::Switch => argument.num_args(0..=1).require_equals(true).default_missing_value("true"),
        // Tokens may begin with a dash.
        _ => argument.num_args(1).allow_hyphen_values(true),
    }
}

/// The help text without the variable, whose name follows from the flag's, and without the default of most switches.
fn short_help(setting: &Setting) -> String {
    let fallback = match setting.fallback {
        Fallback::Required => " [required]".to_owned(),
        Fallback::Value(DefaultValue::Switch(false)) | Fallback::Unset => String::new(),
        Fallback::Value(value) => format!(" [default: {value}]"),
        Fallback::Depends { text, .. } => format!(" [default: {text}]"),
    };
    format!("{}{fallback}", setting.help)
}

/// The help text: what the setting does, its variable, and what holds without it.
fn help(setting: &Setting) -> String {
    let fallback = match setting.fallback {
        Fallback::Required => " [required]".into(),
        Fallback::Unset => String::new(),
        Fallback::Value(value) => format!(" [default: {value}]"),
        Fallback::Depends { text, .. } => format!(" [default: {text}]"),
    };
    format!("{} [env: {}]{fallback}", setting.help, setting.variable())
}
