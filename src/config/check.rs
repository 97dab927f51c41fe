//! What can be wrong with the values of the settings, beside what one of them is by itself.

use crate::config::error::{Error, Origin, Warning};
use crate::config::one_shot_table::VERBS;
use crate::config::setting::{Fallback, Group, Kind, Relation, Setting, Standing};
use crate::config::table::{self, ALL};
use crate::config::values::{Entry, Values, missing};

impl Values {
    /// Whether every setting has what its kind accepts, and what is required is there. Those of a sync are left to
    /// [`Values::check_sync`], those of service mode to [`Values::check_service`], those of a one-shot change to
    /// [`Values::check_change`] and those of a hosted connector to `check_hosted`: a server that does not use them starts without them.
    ///
    /// # Errors
    /// Every one that has not.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.check_those(|group| {
            !matches!(group, Group::Sync | Group::Service | Group::Hosted | Group::Change)
        })
    }

    /// As [`Values::check`], for the settings of service mode.
    ///
    /// # Errors
    /// Every one that is wrong.
    pub(super) fn check_service(&self) -> Result<(), Error> {
        self.check_those(|group| group == Group::Service)
    }

    /// As [`Values::check`], for the settings of a hosted connector.
    ///
    /// # Errors
    /// Every one that is wrong.
    #[cfg(feature = "lambda")]
    pub(super) fn check_hosted(&self) -> Result<(), Error> {
        self.check_those(|group| group == Group::Hosted)
    }

    /// As [`Values::check`], for the settings of a sync.
    ///
    /// # Errors
    /// Every one that is wrong.
    pub(super) fn check_sync(&self) -> Result<(), Error> {
        self.check_those(|group| group == Group::Sync)
    }

    /// As [`Values::check`], for the settings of a one-shot change, of which there can be only one.
    ///
    /// # Errors
    /// Every one that is wrong, and those that are refused.
    pub(super) fn check_change(&self) -> Result<(), Error> {
        let refused = ALL.iter().find_map(|setting| match setting.standing {
            Standing::Refused(why) => Some(Error::Refused {
                name: setting.name,
                origin: self.get(setting.name)?.origin.clone(),
                why,
            }),
            _ => None,
        });
        if let Some(error) = refused {
            return Err(error);
        }
        self.check_those(|group| group == Group::Change)?;
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

    /// The setting that asks for a one-shot change, which is the first where there are several.
    pub(super) fn verb(&self) -> Option<&Entry> {
        VERBS.iter().flat_map(|verb| verb.iter()).find_map(|name| self.asked(name))
    }

    /// What is given for the setting of this name; `None` for a switch that is off.
    fn asked(&self, name: &str) -> Option<&Entry> {
        self.get(name).filter(|entry| entry.setting.kind != Kind::Switch || entry.switch().unwrap_or(true))
    }

    /// The settings that somebody gave without effect, or that another one replaces.
    pub(super) fn outdated(&self) -> impl Iterator<Item = Warning> {
        ALL.iter().filter_map(|setting| {
            let entry = self.asked(setting.name).filter(|entry| entry.origin != Origin::Default)?;
            let origin = entry.origin.clone();
            match setting.standing {
                Standing::Deprecated(instead) => {
                    Some(Warning::Deprecated { name: setting.name, origin, instead })
                }
                // Files and deployments carry what is idle, and a warning at every start would teach people to
                // ignore warnings.
                Standing::Idle(why) if matches!(origin, Origin::Flag(_)) => {
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
        let (Some(entry), Some(relation)) = (self.get(setting.name), setting.relation) else {
            return Ok(());
        };
        // A switch that is off asks for nothing.
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
            Relation::Excludes(other) if self.get(other).is_some() => {
                Err(Error::Exclusive { given, origin, other })
            }
            Relation::GoesWith(_) | Relation::Needs(_) | Relation::Excludes(_) => Ok(()),
        }
    }
}
