//! Grants to users and groups of an external file.

use std::path::Path;

use baton_retool::agent::c1z::{Store, StoreOptions};
use baton_retool::agent::sync::{External, Options, Outcome, Syncer};
use baton_retool::proto::connector::resource_type::Trait;
use baton_retool::proto::connector::user_trait::Email;
use baton_retool::proto::connector::{
    BatonId, EntitlementImmutable, ExternalResourceMatch, ExternalResourceMatchAll, ExternalResourceMatchId,
    Grant, GrantExpandable, GrantImmutable, Resource, UserTrait,
};
use baton_retool::proto::{any, find_annotation, string, structure};
use prost::Name;

use crate::support::memory::Memory;
use crate::support::rows::{
    annotated, entitlement, grant, group, plain, resource, small, sync_with, user, with_trait,
};
use crate::support::scripted::Script;

/// Writes a directory with `ada`, `bob`, and `g9`, whose member is `ada`; `robot` is neither a user nor a
/// group.
async fn directory(file: &Path) {
    let script = Script::new();
    script.types(vec![with_trait("user", Trait::User), with_trait("group", Trait::Group), plain("robot")]);
    let person = |name: &str, address: &str| {
        let email = Email { address: address.to_owned(), ..Default::default() };
        let mut person =
            annotated(resource("user", name), &UserTrait { emails: vec![email], ..Default::default() });
        person.profile = Some(structure([("team", string("Sea Blue"))]));
        person
    };
    script.resources("user", vec![person("ada", "Ada@Example.com"), person("bob", "bob@example.com")]);
    let mut crew = group("g9");
    crew.profile = Some(structure([("name", string("crew"))]));
    script.resources("group", vec![crew.clone()]);
    script.resources("robot", vec![resource("robot", "r1")]);
    let member = entitlement(&crew, "member");
    script.entitlements("group/g9", vec![member.clone()]);
    script.grants("group/g9", vec![grant(&member, &user("ada"))]);
    let store = Store::open(&StoreOptions::new(file)).unwrap();
    let (outcome, store) = Syncer::new(script.channel().await, Options::default()).run(store).await;
    outcome.unwrap();
    store.unwrap().close().unwrap();
}

/// Syncs a connector that issues grants to principals of the directory.
async fn lent(grants: Vec<Grant>, entitlement_id: Option<&str>) -> (Outcome, Memory) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("directory.c1z");
    directory(&file).await;
    let script = small();
    script.types(vec![with_trait("app", Trait::App)]);
    let app = annotated(resource("app", "a1"), &baton_retool::proto::connector::AppTrait::default());
    script.resources("app", vec![app]);
    script.grants("app/a1", grants);
    let external = External { file, temp_dir: None, entitlement_id: entitlement_id.map(str::to_owned) };
    let options = Options { external: Some(external), ..Default::default() };
    let (outcome, memory) = sync_with(&script, options, Memory::default()).await;
    (outcome.unwrap(), memory)
}

/// A grant of the app to a placeholder, with an annotation that selects the principals.
fn meant<M: Name>(slug: &str, annotation: &M) -> Grant {
    let mut grant = grant(&entitlement(&resource("app", "a1"), slug), &resource("placeholder", slug));
    grant.annotations.push(any(annotation));
    grant
}

fn matching(kind: Trait, key: &str, value: &str) -> ExternalResourceMatch {
    ExternalResourceMatch { resource_type: kind.into(), key: key.to_owned(), value: value.to_owned() }
}

/// The ids of the grants on the app, without the prefix of the app.
fn held(memory: &Memory) -> Vec<String> {
    let ids = memory.grants.ids().into_iter();
    ids.filter_map(|id| id.strip_prefix("app:a1:").map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_and_marks_users_and_groups() {
    let (_, memory) = lent(vec![], None).await;
    assert_eq!(memory.types.ids(), ["app", "group", "user"]);
    assert_eq!(memory.resources.ids(), ["app/a1", "group/g9", "user/ada", "user/bob"]);
    let marked = |resource: &Resource| find_annotation::<BatonId>(&resource.annotations).is_some();
    assert!(marked(memory.resources.get("user/ada").unwrap()));
    assert!(!marked(memory.resources.get("app/a1").unwrap()));
    let member = memory.entitlements.get("group:g9:member").unwrap();
    assert!(find_annotation::<EntitlementImmutable>(&member.annotations).is_some());
    let ada = memory.grants.get("group:g9:member:user:ada").unwrap();
    assert!(find_annotation::<GrantImmutable>(&ada.annotations).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn issues_each_grant_to_the_matching_principals() {
    let all = ExternalResourceMatchAll { resource_type: Trait::User.into() };
    let one = |id: &str| ExternalResourceMatchId { id: id.to_owned() };
    let (_, memory) = lent(
        vec![
            meant("all", &all),
            meant("one", &one("bob")),
            meant("missing", &one("eve")),
            meant("mail", &matching(Trait::User, "email", "ADA@example.com")),
            meant("team", &matching(Trait::User, "team", "sea blue")),
            meant("nobody", &matching(Trait::User, "team", "red")),
            meant("wrong", &matching(Trait::App, "team", "sea blue")),
        ],
        None,
    )
    .await;
    assert_eq!(
        held(&memory),
        ["all:user:ada", "all:user:bob", "mail:user:ada", "one:user:bob", "team:user:ada", "team:user:bob"]
    );
    let mail = memory.grants.get("app:a1:mail:user:ada").unwrap();
    assert_eq!(mail.principal.as_ref().unwrap().display_name, "ada by name");
    assert!(memory.finished.unwrap().contains(r#""has_external_resource_grants":true"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_matched_group_expands_its_own_entitlements() {
    let expandable = GrantExpandable {
        entitlement_ids: vec![
            "bid:e:placeholder/crew:member".to_owned(),
            "bid:e:placeholder/crew:nothing".to_owned(),
        ],
        shallow: true,
        ..Default::default()
    };
    let mut crew = meant("crew", &matching(Trait::Group, "name", "CREW"));
    crew.annotations.push(any(&expandable));
    let (_, memory) = lent(vec![crew], None).await;
    let held = memory.grants.get("app:a1:crew:group:g9").unwrap();
    let found = find_annotation::<GrantExpandable>(&held.annotations).unwrap().unwrap();
    assert_eq!(found.entitlement_ids, ["group:g9:member"]);
    assert!(found.shallow);
    assert!(memory.expanded);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_only_the_holders_of_the_selected_entitlement() {
    let all = ExternalResourceMatchAll { resource_type: Trait::User.into() };
    let (_, memory) = lent(vec![meant("all", &all)], Some("group:g9:member")).await;
    assert_eq!(memory.resources.ids(), ["app/a1", "user/ada"]);
    assert_eq!(held(&memory), ["all:user:ada"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_file_ends_the_sync_before_it_starts() {
    let script = small();
    let external = External { file: "/no/such/file.c1z".into(), temp_dir: None, entitlement_id: None };
    let options = Options { external: Some(external), ..Default::default() };
    let (outcome, memory) = sync_with(&script, options, Memory::default()).await;
    let error = outcome.unwrap_err().to_string();
    assert!(
        error.starts_with("the external file cannot be used") && error.contains("/no/such/file.c1z"),
        "{error}"
    );
    assert!(memory.kind.is_none());
}
