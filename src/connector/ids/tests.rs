#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn id(resource_type: &str, resource: &str) -> ProtoResourceId {
    ProtoResourceId {
        resource_type: resource_type.to_owned(),
        resource: resource.to_owned(),
        ..Default::default()
    }
}

#[test]
fn stored_spellings_never_change() {
    let organization = OrganizationId::try_from(1).unwrap();
    let group = GroupId::try_from(7).unwrap();
    let page = PageId::try_from(12).unwrap();
    let resource = ResourceId::try_from(3).unwrap();
    let user = UserId::try_from(42).unwrap();
    assert_eq!(resource_id(user), id("user", "u42"));
    assert_eq!(organization_entitlement(organization, Right::Member), "entitlement:o1:member");
    assert_eq!(
        organization_entitlement(organization, Right::QueryLibraryOwn),
        "entitlement:o1:universalQueryLibrary:own"
    );
    assert_eq!(
        bare_grant(&organization_entitlement(organization, Right::UnpublishedRelease), user),
        "grant:entitlement:o1:unpublishedRelease:u42"
    );
    assert_eq!(typed_grant(&group_entitlement(group, GroupRole::Admin), user), "group:g7:admin:user:u42");
    assert_eq!(
        typed_grant(&page_entitlement(page, PageFamily::User, AccessLevel::Write), group),
        "page:p12:user:write:group:g7"
    );
    assert_eq!(
        bare_grant(&resource_entitlement(resource, AccessLevel::Read), user),
        "grant:entitlement:r3:read:u42"
    );
}

#[test]
fn what_the_former_program_let_pass_is_refused() {
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
    fn every_key_reads_back(number in 1_i64..=2_147_483_647) {
        let key = GroupId::try_from(number).unwrap();
        prop_assert_eq!(parse::<GroupId>(&resource_id(key)).unwrap(), key);
    }

    #[test]
    fn nothing_else_reads(text in "\\PC{0,14}") {
        if let Ok(key) = parse::<PageId>(&id("page", &text)) {
            prop_assert_eq!(Spelled(key).to_string(), text);
        }
    }
}
