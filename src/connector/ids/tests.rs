#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::retool::access::AccessLevel;
use crate::retool::id::{GroupId, OrganizationId, PageId, ResourceId, UserId};
use crate::retool::tables::memberships::Membership;
use crate::retool::tables::organizations::Right;

fn id(resource_type: &str, resource: &str) -> ProtoResourceId {
    ProtoResourceId {
        resource_type: resource_type.to_owned(),
        resource: resource.to_owned(),
        ..Default::default()
    }
}

#[test]
fn stored_ids_never_change() {
    let organization = OrganizationId::try_from(1).unwrap();
    let group = GroupId::try_from(7).unwrap();
    let page = PageId::try_from(12).unwrap();
    let resource = ResourceId::try_from(3).unwrap();
    let user = UserId::try_from(42).unwrap();
    assert_eq!(resource_id(user), id("user", "u42"));
    let member = EntitlementId::Organization(organization, Right::Member);
    assert_eq!(member.to_string(), "entitlement:o1:member");
    let owner = EntitlementId::Organization(organization, Right::QueryLibraryOwn);
    assert_eq!(owner.to_string(), "entitlement:o1:universalQueryLibrary:own");
    for (entitlement, principal, grant) in [
        (
            EntitlementId::Organization(organization, Right::UnpublishedRelease),
            resource_id(user),
            "grant:entitlement:o1:unpublishedRelease:u42",
        ),
        (EntitlementId::Group(group, Membership::Admin), resource_id(user), "group:g7:admin:user:u42"),
        (
            EntitlementId::Page(page, PageFamily::User, AccessLevel::Write),
            resource_id(group),
            "page:p12:user:write:group:g7",
        ),
        (
            EntitlementId::Resource(resource, AccessLevel::Read),
            resource_id(user),
            "grant:entitlement:r3:read:u42",
        ),
    ] {
        assert_eq!(entitlement.grant_id(&entitlement.to_string(), &principal), grant);
    }
}

#[test]
fn only_entitlements_on_groups_and_pages_are_grantable() {
    let group = GroupId::try_from(7).unwrap();
    let page = PageId::try_from(12).unwrap();
    for entitlement in [
        EntitlementId::Group(group, Membership::Member),
        EntitlementId::Page(page, PageFamily::Group, AccessLevel::Own),
    ] {
        assert_eq!(EntitlementId::parse_grantable(&entitlement.to_string()), Some(entitlement));
    }
    for wrong in
        ["", "group:g7", "group:g07:member", "group:p7:member", "page:p12:read", "entitlement:o1:member"]
    {
        assert_eq!(EntitlementId::parse_grantable(wrong), None, "{wrong}");
    }
}

#[test]
fn rejects_ids_that_the_go_connector_accepted() {
    for wrong in [
        "",
        "u",
        "42",
        "z10",
        "u+5",
        "u-5",
        "u05",
        "u0",
        "u 5",
        "u5 ",
        "U5",
        "u2147483648",
        "u٣",
        "uu5",
        "g5",
    ] {
        let error = parse::<UserId>(&id("user", wrong)).unwrap_err().to_string();
        assert!(error.contains("u42"), "{wrong}: {error}");
    }
    assert!(parse::<UserId>(&id("group", "u5")).is_err());
    assert!(parse::<UserId>(&id("", "u5")).is_err());
}

proptest! {
    #[test]
    fn every_id_parses_back_to_its_key(number in 1_i64..=2_147_483_647) {
        let key = GroupId::try_from(number).unwrap();
        prop_assert_eq!(parse::<GroupId>(&resource_id(key)).unwrap(), key);
    }

    #[test]
    fn no_other_text_parses_as_an_id(text in "\\PC{0,14}") {
        if let Ok(key) = parse::<PageId>(&id("page", &text)) {
            prop_assert_eq!(Spelled(key).to_string(), text);
        }
    }
}
