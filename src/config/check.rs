//! Checks of the settings, including rules between several settings.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::error::{Error, Origin, Warning};
use crate::config::one_shot_table::VERBS;
use crate::config::setting::{Fallback, Group, Kind, Relation, Setting, SettingStatus};
use crate::config::table::{self, ALL};
use crate::config::values::{Entry, Values, missing};

impl Values {
    /// Checks that every setting has a valid value, and that required settings are set. The settings of a
    /// sync are checked by [`Values::check_sync`], those of service mode by [`Values::check_service`], those
    /// of a one-shot change by [`Values::check_change`] and those of a hosted connector by `check_hosted`: a
    /// server that does not use them starts without them.
    ///
    /// # Errors
    /// Every invalid setting.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.check_those(|group| {
            !matches!(group, Group::Sync | Group::Service | Group::Hosted | Group::Change)
        })
    }

    /// Like [`Values::check`], for the settings of service mode.
    ///
    /// # Errors
    /// Every invalid setting.
    pub(super) fn check_service(&self) -> Result<(), Error> {
        self.check_those(|group| group == Group::Service)
    }

    /// Checks the values of the settings of a sync, of service mode and of a one-shot change, for a command
    /// that does not use them: none is required.
    ///
    /// # Errors
    /// Every invalid value.
    pub(super) fn check_unused_values(&self) -> Result<(), Error> {
        let is_unused = |group| matches!(group, Group::Sync | Group::Service | Group::Change);
        let unused = table::every().filter(|setting| is_unused(setting.group));
        let entries = unused.filter_map(|setting| self.get(setting.name));
        Error::all(entries.filter_map(|entry| entry.check().err()).collect())
    }

    /// Like [`Values::check`], for the settings of a hosted connector.
    ///
    /// # Errors
    /// Every invalid setting.
    #[cfg(feature = "lambda")]
    pub(super) fn check_hosted(&self) -> Result<(), Error> {
        self.check_those(|group| group == Group::Hosted)
    }

    /// Like [`Values::check`], for the settings of a sync.
    ///
    /// # Errors
    /// Every invalid setting.
    pub(super) fn check_sync(&self) -> Result<(), Error> {
        self.check_those(|group| group == Group::Sync)
    }

    /// Like [`Values::check`], for the settings of a one-shot change. Only one change may be requested.
    ///
    /// # Errors
    /// Every invalid setting, and refused settings.
    pub(super) fn check_change(&self) -> Result<(), Error> {
        let refused = ALL.iter().find_map(|setting| match setting.status {
            SettingStatus::Refused(why) => Some(Error::Refused {
                name: setting.name,
                origin: self.get(setting.name)?.origin.clone(),
                why,
            }),
            _ => None,
        });
        if let Some(error) = refused {
            return Err(error);
        }
        if let Some(entry) = self.empty_verb() {
            return Err(Error::Empty { name: entry.setting.name, origin: entry.origin.clone() });
        }
        self.check_those(|group| group == Group::Change)?;
        self.check_address()?;
        let mut asked = VERBS.iter().filter_map(|verb| verb.iter().find_map(|name| self.asked(name)));
        match (asked.next(), asked.next()) {
            (Some(one), Some(other)) => Err(Error::Exclusive {
                given: one.setting.name,
                origin: one.origin.clone(),
                other: other.setting.name,
            }),
            _ => Ok(()),
        }
    }

    /// The setting that requests a one-shot change; the first if there are several.
    pub(super) fn verb(&self) -> Option<&Entry> {
        VERBS.iter().flat_map(|verb| verb.iter()).find_map(|name| self.asked(name))
    }

    /// The flag that requests a one-shot change with an empty value. The change could not be made, and a sync
    /// in its place would end with success.
    pub(super) fn empty_verb(&self) -> Option<&Entry> {
        VERBS.iter().flat_map(|verb| verb.iter()).find_map(|name| self.empty_flag(name))
    }

    /// Checks that the address of a new account and its profile do not contradict each other.
    fn check_address(&self) -> Result<(), Error> {
        let (Some(email), Some(profile)) =
            (self.get("create-account-email"), self.get("create-account-profile"))
        else {
            return Ok(());
        };
        let profile: BTreeMap<String, Value> = serde_json::from_str(profile.json()?).unwrap_or_default();
        let plain = |address: &str| address.trim().to_lowercase();
        let is_same = match profile.get("email") {
            None => true,
            Some(Value::String(own)) => plain(own) == plain(email.text()?),
            Some(_) => false,
        };
        if is_same {
            return Ok(());
        }
        Err(Error::Contradiction {
            given: email.setting.name,
            origin: email.origin.clone(),
            other: "email in create-account-profile",
        })
    }

    /// The value of the setting with this name; `None` for a switch that is off.
    fn asked(&self, name: &str) -> Option<&Entry> {
        self.get(name).filter(|entry| entry.setting.kind != Kind::Switch || entry.switch().unwrap_or(true))
    }

    /// Settings that are set without effect, or that another setting replaces.
    pub(super) fn outdated(&self) -> impl Iterator<Item = Warning> {
        ALL.iter().filter_map(|setting| {
            let entry = self.asked(setting.name).filter(|entry| entry.origin != Origin::Default)?;
            let origin = entry.origin.clone();
            match setting.status {
                SettingStatus::Deprecated(instead) => {
                    Some(Warning::Deprecated { name: setting.name, origin, instead })
                }
                // Config files and deployments often contain idle settings. A warning at every start would
                // teach operators to ignore warnings.
                SettingStatus::Idle(why) if matches!(origin, Origin::Flag(_)) => {
                    Some(Warning::Idle { name: setting.name, origin, why })
                }
                _ => None,
            }
        })
    }

    fn check_those(&self, of_group: impl Fn(Group) -> bool) -> Result<(), Error> {
        let those = || table::every().filter(|setting| of_group(setting.group));
        let mut errors = Vec::new();
        for setting in those() {
            match self.get(setting.name) {
                Some(entry) => errors.extend(entry.check().err()),
                None if matches!(setting.fallback, Fallback::Required) => errors.push(missing(setting)),
                None => {}
            }
        }
        errors.extend(those().filter_map(|setting| self.check_relation(setting).err()));
        Error::all(errors)
    }

    fn check_relation(&self, setting: &Setting) -> Result<(), Error> {
        let usable = |name| self.get(name).filter(|entry| entry.is_usable());
        let (Some(entry), Some(relation)) = (usable(setting.name), setting.relation) else {
            return Ok(());
        };
        // A switch that is off requests nothing.
        if self.asked(setting.name).is_none() {
            return Ok(());
        }
        let (given, origin) = (setting.name, entry.origin.clone());
        let other = |name| table::named(name).map(|other| (other.name, other.variable()));
        match relation {
            Relation::GoesWith(name) if self.asked(name).is_none() => match other(name) {
                Some((missing, variable)) => Err(Error::Alone { given, origin, missing, variable }),
                None => Ok(()),
            },
            Relation::Needs(name) if self.asked(name).is_none() => match other(name) {
                Some((missing, variable)) => Err(Error::Without { given, origin, missing, variable }),
                None => Ok(()),
            },
            Relation::Excludes(other) if usable(other).is_some() => {
                Err(Error::Exclusive { given, origin, other })
            }
            Relation::GoesWith(_) | Relation::Needs(_) | Relation::Excludes(_) => Ok(()),
        }
    }
}
