//! The steps of a random sequence, and how they are sent.

use baton_retool::proto::connector::{
    Entitlement as ProtoEntitlement, Grant, GrantManagerServiceGrantRequest,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tonic::Status;

use crate::support::changes::{Answered, Changes, entitlement_of, principal_of};
use crate::support::client::named;
use crate::support::model::retool::{Change, Name};
use crate::support::model::{Answer, Entitlement, Level, Model, Principal, Rules, Which};

/// A step of a sequence.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Call(Call),
    /// A call about an existing grant; only grants to single users if `of_users` is set.
    Held {
        revokes: bool,
        of_users: bool,
        index: Index,
    },
    /// Grants the access of an existing managed group, in any state of that group.
    Rejoin {
        group: Which,
        user: i32,
    },
    Retool(Change),
    /// A listing in pages of this many rows.
    ListGroup(Which, u32),
    ListPage(i32, u32),
}

#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) revokes: bool,
    pub(super) entitlement: Entitlement,
    pub(super) principal: Principal,
}

/// Two concurrent calls, or a change by Retool.
#[derive(Clone, Debug)]
pub(super) enum Race {
    Calls(Call, Call),
    Retool(Change),
}

fn level() -> impl Strategy<Value = Level> {
    1..=3usize
}

fn user() -> impl Strategy<Value = i32> {
    select(vec![1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 6, 7, 99])
}

/// Mostly visible pages, and mostly those of the first organization.
fn page() -> impl Strategy<Value = i32> {
    select(vec![1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 11, 11, 11, 3, 4, 5, 99])
}

fn managed_page() -> impl Strategy<Value = i32> {
    select(vec![1, 2, 11])
}

fn which() -> impl Strategy<Value = Which> {
    prop_oneof![
        2 => select(vec![1, 2, 3, 3, 3, 4, 4, 4, 4, 4, 5, 6, 7, 10, 99]).prop_map(Which::Key),
        1 => made(),
    ]
}

fn made() -> impl Strategy<Value = Which> {
    any::<Index>().prop_map(Which::Made)
}

fn on_page(page: impl Strategy<Value = i32>) -> impl Strategy<Value = (Entitlement, Principal)> {
    let principal = prop_oneof![
        10 => user().prop_map(Principal::User),
        10 => which().prop_map(Principal::Group),
        1 => select(vec!["page/p1", "org/o1", "banana/u1"]).prop_map(Principal::Other),
    ];
    (page, level(), principal, prop::bool::weighted(0.1)).prop_map(|(page, level, principal, other)| {
        // Usually the family matches the principal: users for a user, groups or both for a group.
        let of_users = matches!(principal, Principal::User(_)) != other;
        (Entitlement::Page { page, of_users, level }, principal)
    })
}

fn on_group(group: impl Strategy<Value = Which>) -> impl Strategy<Value = (Entitlement, Principal)> {
    let principal = prop_oneof![
        12 => user().prop_map(Principal::User),
        1 => select(vec!["group/g4", "page/p1"]).prop_map(Principal::Other),
    ];
    (group, any::<bool>(), principal)
        .prop_map(|(group, admin, principal)| (Entitlement::Group { group, admin }, principal))
}

fn call() -> impl Strategy<Value = Call> {
    let nobodys = select(vec!["entitlement:o1:member", "entitlement:r1:read"]).prop_map(Entitlement::Other);
    let asked = prop_oneof![
        8 => on_group(which()),
        14 => on_page(page()),
        1 => (nobodys, user().prop_map(Principal::User)),
    ];
    call_of(asked)
}

fn call_of(asked: impl Strategy<Value = (Entitlement, Principal)>) -> impl Strategy<Value = Call> {
    (any::<bool>(), asked).prop_map(|(revokes, (entitlement, principal))| Call {
        revokes,
        entitlement,
        principal,
    })
}

fn change() -> impl Strategy<Value = Change> {
    let which = || prop_oneof![which(), made()];
    let name = prop_oneof![
        Just(Name::Plain),
        Just(Name::AllUsers),
        Just(Name::Admin),
        (managed_page(), level()).prop_map(|(page, level)| Name::Managed(page, level)),
        (managed_page(), level()).prop_map(|(page, level)| Name::Former(page, level)),
    ];
    let right = select(vec![
        ("universalAccess", "read"),
        ("universalAccess", "own"),
        ("universalAccess", "none"),
        ("universalAccess", "none"),
        ("universalResourceAccess", "read"),
        ("universalResourceAccess", "none"),
        ("universalQueryLibraryAccess", "write"),
        ("universalQueryLibraryAccess", "none"),
        ("userListAccess", "true"),
        ("userListAccess", "false"),
        ("auditLogAccess", "true"),
        ("auditLogAccess", "false"),
        ("unpublishedReleaseAccess", "true"),
        ("unpublishedReleaseAccess", "false"),
    ]);
    let default = prop::option::of(0..=3usize);
    prop_oneof![
        4 => (which(), user(), any::<bool>()).prop_map(|(group, user, admin)| Change::Join { group, user, admin }),
        3 => (which(), user()).prop_map(|(group, user)| Change::Leave { group, user }),
        4 => (which(), page(), 0..=3usize).prop_map(|(group, page, level)| Change::Row { group, page, level }),
        2 => (which(), 1..=3, default).prop_map(|(group, folder, level)| Change::Default { group, folder, level }),
        2 => (which(), any::<bool>()).prop_map(|(group, archived)| Change::Archive { group, archived }),
        2 => (which(), name).prop_map(|(group, name)| Change::Rename { group, name }),
        3 => (which(), right).prop_map(|(group, (column, value))| Change::Right { group, column, value }),
        1 => (page(), any::<bool>()).prop_map(|(page, deleted)| Change::Delete { page, deleted }),
        1 => (page(), 1..=2).prop_map(|(page, folder)| Change::Move { page, folder }),
        1 => page().prop_map(|page| Change::RenamePage { page }),
        2 => (user(), any::<bool>()).prop_map(|(user, enabled)| Change::Enable { user, enabled }),
    ]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => call().prop_map(Step::Call),
        6 => (prop::bool::weighted(0.8), any::<bool>(), any::<Index>())
            .prop_map(|(revokes, of_users, index)| Step::Held { revokes, of_users, index }),
        3 => (made(), user()).prop_map(|(group, user)| Step::Rejoin { group, user }),
        8 => change().prop_map(Step::Retool),
        1 => (which(), 1..=3u32).prop_map(|(group, size)| Step::ListGroup(group, size)),
        1 => (page(), 1..=9u32).prop_map(|(page, size)| Step::ListPage(page, size)),
    ]
}

/// Two calls about the members of one group or the access to one page.
pub(super) fn race() -> impl Strategy<Value = Race> {
    let about_group =
        which().prop_flat_map(|group| (call_of(on_group(Just(group))), call_of(on_group(Just(group)))));
    let about_page =
        page().prop_flat_map(|page| (call_of(on_page(Just(page))), call_of(on_page(Just(page)))));
    prop_oneof![
        2 => about_group.prop_map(|(one, other)| Race::Calls(one, other)),
        3 => about_page.prop_map(|(one, other)| Race::Calls(one, other)),
        6 => same_pair(),
        2 => change().prop_map(Race::Retool),
    ]
}

/// Two calls about the same pair of principal and resource, which can affect each other.
fn same_pair() -> impl Strategy<Value = Race> {
    let group = select(vec![2, 4, 7]).prop_map(Which::Key);
    let either =
        || prop_oneof![select(vec![1, 2, 3, 3]).prop_map(Principal::User), made().prop_map(Principal::Group)];
    let on_group =
        (group, select(vec![1, 2, 3, 6, 7]), any::<[bool; 2]>()).prop_map(|(group, user, admins)| {
            (admins.map(|admin| Entitlement::Group { group, admin }), Principal::User(user))
        });
    let on_page =
        (select(vec![1, 2, 11]), either(), [level(), level()]).prop_map(|(page, principal, levels)| {
            (levels.map(|level| Entitlement::Page { page, of_users: true, level }), principal)
        });
    let asked = prop_oneof![1 => on_group, 2 => on_page];
    (asked, any::<[bool; 2]>()).prop_map(|(([first, second], principal), revokes)| {
        Race::Calls(
            Call { revokes: revokes[0], entitlement: first, principal },
            Call { revokes: revokes[1], entitlement: second, principal },
        )
    })
}

impl Call {
    /// The call with fixed groups: the groups that it refers to in the current state of the model.
    pub(super) fn meant(&self, model: &Model) -> Self {
        let key = |which| Which::Key(model.key(which));
        let entitlement = match self.entitlement {
            Entitlement::Group { group, admin } => Entitlement::Group { group: key(group), admin },
            other => other,
        };
        let principal = match self.principal {
            Principal::Group(group) => Principal::Group(key(group)),
            other => other,
        };
        Self { entitlement, principal, ..*self }
    }

    pub(super) fn spelled(&self, model: &Model) -> (String, String) {
        (model.entitlement_id(&self.entitlement), model.principal_path(&self.principal))
    }

    pub(super) async fn send(&self, caller: &Changes, model: &Model) -> Result<Answered, Status> {
        let (id, path) = self.spelled(model);
        let entitlement = match self.entitlement {
            Entitlement::Other(id) => {
                let on = id.split(':').nth(1).unwrap();
                let type_id = if on.starts_with('o') { "org" } else { "resource" };
                ProtoEntitlement {
                    id: id.to_owned(),
                    resource: Some(named(type_id, on)),
                    ..Default::default()
                }
            }
            _ => entitlement_of(&id),
        };
        let (entitlement, principal) = (Some(entitlement), Some(principal_of(&path)));
        if self.revokes {
            let id = format!("{id}:{}", path.replace('/', ":"));
            caller.send_revoke(Grant { id, entitlement, principal, ..Default::default() }).await
        } else {
            let annotations = Vec::new();
            caller.send_grant(GrantManagerServiceGrantRequest { entitlement, principal, annotations }).await
        }
    }

    pub(super) fn decide(&self, model: &mut Model, rules: Rules) -> Answer {
        if self.revokes {
            model.revoke(&self.entitlement, &self.principal)
        } else {
            model.grant(&self.entitlement, &self.principal, rules)
        }
    }
}
