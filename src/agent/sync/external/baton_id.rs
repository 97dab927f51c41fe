//! Baton ids of resources and entitlements.

use crate::proto::connector::Resource;

/// The parts of a resource in a baton id: its type and id, after the type and id of its parent if it has one.
/// `None` for a resource without an id.
pub(super) fn parts(resource: &Resource) -> Option<Vec<String>> {
    let ids = resource.parent_resource_id.iter().chain(resource.id.iter());
    let parts: Vec<String> = ids.flat_map(|id| [id.resource_type.clone(), id.resource.clone()]).collect();
    (resource.id.is_some() && parts.iter().all(|part| !part.is_empty())).then_some(parts)
}

/// Parses `bid:e:type/id:slug` into the parts of the resource and the slug. `None` for any other text.
pub(super) fn entitlement(text: &str) -> Option<(Vec<String>, String)> {
    let rest = text.strip_prefix("bid:e:")?;
    let mut parts = vec![String::new()];
    let mut slug: Option<String> = None;
    let mut characters = rest.chars();
    while let Some(character) = characters.next() {
        let plain = match character {
            '\\' => characters.next().filter(|escaped| matches!(escaped, '/' | ':' | '\\'))?,
            ':' if slug.is_none() => {
                slug = Some(String::new());
                continue;
            }
            '/' if slug.is_none() => {
                parts.push(String::new());
                continue;
            }
            ':' | '/' => return None,
            plain => plain,
        };
        match &mut slug {
            Some(slug) => slug.push(plain),
            None => parts.last_mut()?.push(plain),
        }
    }
    let slug = slug.filter(|slug| !slug.is_empty())?;
    (matches!(parts.len(), 2 | 4) && parts.iter().all(|part| !part.is_empty())).then_some((parts, slug))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_an_entitlement_id_into_resource_parts_and_slug() {
        let read = |text| entitlement(text).map(|(parts, slug)| (parts.join("|"), slug));
        assert_eq!(read("bid:e:group/g1:member"), Some(("group|g1".to_owned(), "member".to_owned())));
        assert_eq!(
            read(r"bid:e:org/o1/group/g\/1\:x:m\\n"),
            Some(("org|o1|group|g/1:x".to_owned(), r"m\n".to_owned()))
        );
        for wrong in [
            "group:g1:member",
            "bid:r:group/g1",
            "bid:e:group/g1",
            "bid:e:group/g1:",
            "bid:e:a/b/c:d",
            r"bid:e:a/b:c\d",
            "bid:e:a/b:c:d",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
