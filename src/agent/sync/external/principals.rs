//! The principals of the external file, indexed for the searches of grants.

use std::collections::HashMap;

use prost_types::value::Kind;
use prost_types::{Struct, Value};

use crate::agent::sync::annotation::carries;
use crate::agent::sync::types::annotation_of;
use crate::proto::connector::resource_type::Trait;
use crate::proto::connector::{GroupTrait, Resource, UserTrait};
use crate::proto::find_annotation;

/// The principals of the external file.
#[derive(Debug)]
pub(super) struct Principals {
    principals: Vec<Resource>,
    by_id: HashMap<String, usize>,
    profiles: Vec<Option<Struct>>,
    by_email: HashMap<String, Vec<usize>>,
}

impl Principals {
    pub(super) fn new(principals: Vec<Resource>) -> Self {
        let mut by_id = HashMap::new();
        let mut by_email: HashMap<String, Vec<usize>> = HashMap::new();
        let mut profiles = Vec::with_capacity(principals.len());
        for (index, principal) in principals.iter().enumerate() {
            if let Some(id) = &principal.id {
                by_id.insert(id.resource.clone(), index);
            }
            let user = find_annotation::<UserTrait>(&principal.annotations).and_then(Result::ok);
            for email in user.iter().flat_map(|user| &user.emails) {
                let same = by_email.entry(folded(&email.address)).or_default();
                if same.last() != Some(&index) {
                    same.push(index);
                }
            }
            profiles.push(profile(principal, user));
        }
        Self { principals, by_id, profiles, by_email }
    }

    /// The principals that have a trait.
    pub(super) fn of_trait(&self, kind: Trait) -> impl Iterator<Item = &Resource> {
        self.principals.iter().filter(move |principal| has(principal, kind))
    }

    /// The principal with this id, of any type.
    pub(super) fn by_id(&self, id: &str) -> Option<&Resource> {
        self.by_id.get(id).and_then(|&index| self.principals.get(index))
    }

    /// Users or groups with a value in their profile, compared without case. An email address also matches a
    /// user by any of the user's addresses.
    pub(super) fn matching(&self, kind: Trait, key: &str, value: &str) -> Vec<&Resource> {
        if !matches!(kind, Trait::User | Trait::Group) {
            tracing::warn!(
                trait_name = kind.as_str_name(),
                "a grant requests principals that are neither users nor groups"
            );
            return Vec::new();
        }
        let value = folded(value);
        let by_email = (kind == Trait::User && key == "email").then(|| self.by_email.get(&value)).flatten();
        let said = |profile: &Option<Struct>| match profile.as_ref()?.fields.get(key) {
            Some(Value { kind: Some(Kind::StringValue(text)) }) => Some(folded(text)),
            _ => None,
        };
        let found = self.principals.iter().zip(&self.profiles).enumerate().filter(
            |&(index, (principal, profile))| {
                has(principal, kind)
                    && (by_email.is_some_and(|same| same.contains(&index))
                        || said(profile).as_ref() == Some(&value))
            },
        );
        found.map(|(_, (principal, _))| principal).collect()
    }
}

fn has(principal: &Resource, kind: Trait) -> bool {
    annotation_of(kind).is_some_and(|name| carries(&principal.annotations, name))
}

/// The profile of a resource, or else the profile of its trait, where connectors of older SDKs put it.
#[allow(deprecated)]
fn profile(principal: &Resource, user: Option<UserTrait>) -> Option<Struct> {
    let of_group = || find_annotation::<GroupTrait>(&principal.annotations)?.ok()?.profile;
    principal.profile.clone().or_else(|| user?.profile).or_else(of_group)
}

/// Folds the case of text: texts that are equal under Unicode's simple case folding give equal results.
fn folded(text: &str) -> String {
    text.chars().map(fold).collect()
}

fn fold(character: char) -> char {
    // The dotless i is a separate letter; its upper case would turn it into an i.
    if character == 'ı' {
        return character;
    }
    let single = |mut mapped: Box<dyn Iterator<Item = char>>| match (mapped.next(), mapped.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    };
    let upper = single(Box::new(character.to_uppercase())).unwrap_or(character);
    single(Box::new(upper.to_lowercase())).unwrap_or(upper)
}

#[cfg(test)]
mod tests {
    use super::folded;

    #[test]
    fn ignores_case_in_any_script() {
        for (one, other) in
            [("Ada@Example.COM", "ada@example.com"), ("ΣΑΣ", "σας"), ("ſtraße", "STRAẞE"), ("ЖЁ", "жё")]
        {
            assert_eq!(folded(one), folded(other));
        }
        for (one, other) in [("i", "ı"), ("i", "İ"), ("ss", "ß"), ("a", "á")] {
            assert_ne!(folded(one), folded(other));
        }
    }
}
