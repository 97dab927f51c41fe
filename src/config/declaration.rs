//! Constructors for the declarations of settings.

use std::time::Duration;

use crate::config::setting::{DefaultValue, Fallback, Group, Kind, Setting, SettingStatus};

/// An optional text, the basis of most declarations.
pub(super) const fn text(name: &'static str, group: Group, help: &'static str) -> Setting {
    Setting {
        name,
        short: None,
        kind: Kind::Text,
        fallback: Fallback::Unset,
        help,
        value_name: "TEXT",
        suggested: &[],
        secret: false,
        protects: false,
        hidden: false,
        group,
        relation: None,
        overruled_by: None,
        status: SettingStatus::Used,
    }
}

/// Several optional texts.
pub(super) const fn texts(name: &'static str, group: Group, help: &'static str) -> Setting {
    Setting { kind: Kind::Texts, ..text(name, group, help) }
}

/// A switch with its default.
pub(super) const fn switch(name: &'static str, group: Group, default: bool, help: &'static str) -> Setting {
    Setting {
        kind: Kind::Switch,
        fallback: Fallback::Value(DefaultValue::Switch(default)),
        value_name: "BOOL",
        ..text(name, group, help)
    }
}

/// The path of an optional file.
pub(super) const fn path(name: &'static str, group: Group, help: &'static str) -> Setting {
    Setting { kind: Kind::Path, value_name: "FILE", ..text(name, group, help) }
}

/// A whole number with its minimum, maximum and default.
pub(super) const fn whole(
    name: &'static str,
    group: Group,
    (min, max): (u32, u32),
    default: usize,
    value_name: &'static str,
    help: &'static str,
) -> Setting {
    // A default out of range is a compile error.
    assert!(min as usize <= default && default <= max as usize);
    Setting {
        kind: Kind::Whole { min, max },
        fallback: Fallback::Value(DefaultValue::Whole(default as u32)),
        value_name,
        ..text(name, group, help)
    }
}

/// A duration in seconds.
pub(super) const fn seconds(
    name: &'static str,
    group: Group,
    bounds: (u32, u32),
    default: Duration,
    help: &'static str,
) -> Setting {
    whole(name, group, bounds, default.as_secs() as usize, "SECONDS", help)
}

/// A setting of the Go connector that is accepted without effect.
pub(super) const fn idle(setting: Setting, why: &'static str) -> Setting {
    Setting { hidden: true, status: SettingStatus::Idle(why), ..setting }
}

/// A flag of the Go connector that is refused.
pub(super) const fn refused(name: &'static str, why: &'static str) -> Setting {
    Setting { hidden: true, status: SettingStatus::Refused(why), ..text(name, Group::Change, why) }
}
