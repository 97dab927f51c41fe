use proptest::prelude::*;

use super::*;
use crate::retool::access::AccessLevel::{Own, Read, Write};
use crate::retool::access::ExplicitAccess;

fn level() -> impl Strategy<Value = AccessLevel> {
    prop_oneof![Just(Read), Just(Write), Just(Own)]
}

fn access() -> impl Strategy<Value = Access> {
    let some = || proptest::option::of(level());
    let explicit = prop_oneof![
        Just(ExplicitAccess::NoRow),
        Just(ExplicitAccess::Nothing),
        level().prop_map(ExplicitAccess::Level),
    ];
    (some(), explicit, some()).prop_map(|(universal, explicit, folder)| Access {
        universal,
        explicit,
        folder,
    })
}

fn after(access: Access, change: Option<RowChange>) -> Access {
    change.map_or(access, |change| access.with(change))
}

proptest! {
    #[test]
    fn a_grant_gives_the_level_and_lowers_nothing(access in access(), level in level()) {
        let after = after(access, access.to_grant(level)).effective();
        prop_assert!(after >= Some(level));
        prop_assert!(after >= access.effective());
    }

    #[test]
    fn a_grant_of_an_existing_level_changes_nothing(access in access(), level in level()) {
        prop_assert_eq!(access.to_grant(level).is_none(), access.effective() >= Some(level));
    }

    #[test]
    fn a_revoke_removes_the_level_and_raises_nothing_or_is_refused(access in access(), level in level()) {
        match access.to_revoke(level) {
            Ok(change) => {
                let after = after(access, change).effective();
                prop_assert!(after < Some(level));
                prop_assert!(after <= access.effective());
            }
            Err(remains) => {
                prop_assert!(remains.ways(level).next().is_some());
                prop_assert!(access.effective() >= Some(level));
            }
        }
    }

    #[test]
    fn a_revoke_removes_no_more_than_necessary(access in access(), level in level()) {
        if let Ok(Some(change)) = access.to_revoke(level) {
            let left = Access { folder: None, universal: None, ..after(access, Some(change)) }.effective();
            prop_assert_eq!(left, level.below());
        }
    }
}

#[test]
fn a_row_that_overrides_a_higher_folder_default_stays() {
    let hiding = Access { explicit: ExplicitAccess::Level(Read), folder: Some(Write), universal: None };
    assert_eq!(hiding.to_revoke(Read).map_err(Access::effective), Err(Some(Write)));
}

#[test]
fn sources_past_the_fifth_are_counted() {
    let group = GroupId::try_from(7).ok();
    let source = |group| Source { group, name: "team".into(), way: Way::Universal, level: Own };
    let many: Vec<Source> = group.into_iter().cycle().take(7).map(source).collect();
    let text = listed(&many);
    assert!(text.starts_with("group 7 \"...\" has own by its universal access, group 7"), "{text}");
    assert!(text.ends_with(" and 2 more"), "{text}");
}
