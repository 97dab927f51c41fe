//! Sample organizations to store, and helpers to inspect the resulting files.

use std::error::Error as StdError;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use prost_types::Any;
use rusqlite::Connection;

use crate::agent::c1z::container::{self, DecodeLimits};
use crate::agent::c1z::{Saved, Store, StoreOptions, SyncKind};
use crate::proto::any;
use crate::proto::connector::{Entitlement, Grant, GrantExpandable, Resource, ResourceId, ResourceType};

pub(super) type Outcome = Result<(), Box<dyn StdError>>;

pub(super) const TOKEN: &str = r#"{"current_action_id":7,"needs_expansion":true,"version":1}"#;

/// The data that a connector would return.
#[derive(Debug, Clone, Default)]
pub(super) struct Organization {
    pub(super) types: Vec<ResourceType>,
    pub(super) resources: Vec<Resource>,
    pub(super) entitlements: Vec<Entitlement>,
    pub(super) grants: Vec<Grant>,
}

impl Organization {
    /// Users, groups and pages; each group has a member entitlement, and each page has a use entitlement.
    pub(super) fn new(users: usize, groups: usize, pages: usize) -> Self {
        let types = ["user", "group", "page"].map(|id| ResourceType {
            id: id.to_owned(),
            display_name: id.to_owned(),
            ..Default::default()
        });
        let mut made = Self { types: types.to_vec(), ..Self::default() };
        for (kind, letter, count) in [("user", 'u', users), ("group", 'g', groups), ("page", 'p', pages)] {
            made.resources.extend((1..=count).map(|number| resource(kind, &format!("{letter}{number}"))));
        }
        for owner in &made.resources {
            match owner.id.as_ref().map(|id| id.resource_type.as_str()) {
                Some("group") => made.entitlements.push(entitlement(owner, "member")),
                Some("page") => made.entitlements.push(entitlement(owner, "use")),
                _ => {}
            }
        }
        made
    }

    /// Grants the entitlement of a resource such as `g1` or `p1` to a principal such as `u1` or `g2`.
    pub(super) fn grant(&mut self, of: &str, to: &str, annotations: Vec<Any>) {
        let entitlement = self.entitlements.iter().find(|one| id(one.resource.as_ref()) == of).cloned();
        let principal = self.resources.iter().find(|one| id(Some(one)) == to);
        let principal = principal.map(|one| Resource { id: one.id.clone(), ..Default::default() });
        let grant = grant(entitlement.unwrap_or_default(), principal.unwrap_or_default(), annotations);
        self.grants.push(grant);
    }

    /// A nested group, a page that both groups reach, direct and derived holders: all kinds of grants.
    pub(super) fn nested() -> Self {
        let mut made = Self::new(6, 3, 2);
        for (of, to) in [("g2", "u2"), ("g2", "u3"), ("g1", "u1"), ("g1", "u2"), ("p1", "u1"), ("g3", "u4")] {
            made.grant(of, to, Vec::new());
        }
        made.grant("g1", "g2", vec![hands_on(&["group:g2:member"], false, &[])]);
        made.grant("p1", "g1", vec![hands_on(&["group:g1:member"], false, &[])]);
        made.grant("p1", "g3", vec![hands_on(&["group:g3:member"], false, &[])]);
        made.grant("p2", "g1", vec![hands_on(&["group:g1:member"], true, &["user"])]);
        made
    }

    /// Users in groups that hold pages: many grants, most of them derived.
    pub(super) fn wide(users: usize, groups: usize, pages: usize) -> Self {
        let mut made = Self::new(users, groups, pages);
        for user in 1..=users {
            for group in (1..=groups).filter(|group| (user * 7 + group * 13) % 3 == 0) {
                made.grant(&format!("g{group}"), &format!("u{user}"), Vec::new());
            }
        }
        for page in 1..=pages {
            for group in (1..=groups).filter(|group| (page + group) % 2 == 0) {
                let source = format!("group:g{group}:member");
                let annotation =
                    hands_on(&[&source], page % 3 == 0, if page % 4 == 0 { &["user"] } else { &[] });
                made.grant(&format!("p{page}"), &format!("g{group}"), vec![annotation]);
            }
        }
        made
    }

    /// Stores all rows, in pages of 100.
    pub(super) fn put(&self, store: &mut Store) -> Result<(), crate::agent::c1z::Error> {
        store.put_resource_types(&self.types)?;
        for page in self.resources.chunks(100) {
            store.put_resources(page)?;
        }
        for page in self.entitlements.chunks(100) {
            store.put_entitlements(page)?;
        }
        for page in self.grants.chunks(100) {
            store.put_grants(page.to_vec())?;
        }
        Ok(())
    }

    /// Writes a complete sync to a file.
    pub(super) fn sync(&self, path: &Path) -> Result<Saved, Box<dyn StdError>> {
        let mut store = open(path)?;
        store.start(SyncKind::Full)?;
        self.put(&mut store)?;
        store.expand(&mut |_, _| ControlFlow::Continue(()))?;
        store.finish(TOKEN)?;
        Ok(store.close()?.ok_or("no file was written")?)
    }
}

/// Opens a store whose temporary files are next to the file.
pub(super) fn open(path: &Path) -> Result<Store, crate::agent::c1z::Error> {
    Store::open(&StoreOptions { temp_dir: path.parent().map(Path::to_owned), ..StoreOptions::new(path) })
}

pub(super) fn resource(kind: &str, id: &str) -> Resource {
    Resource {
        id: Some(ResourceId { resource_type: kind.into(), resource: id.into(), baton_resource: false }),
        display_name: format!("The {kind} {id}"),
        ..Default::default()
    }
}

pub(super) fn entitlement(owner: &Resource, slug: &str) -> Entitlement {
    let owner_id = owner.id.clone().unwrap_or_default();
    Entitlement {
        resource: Some(owner.clone()),
        id: format!("{}:{}:{slug}", owner_id.resource_type, owner_id.resource),
        display_name: format!("{slug} of {}", owner.display_name),
        slug: slug.to_owned(),
        ..Default::default()
    }
}

pub(super) fn grant(entitlement: Entitlement, principal: Resource, annotations: Vec<Any>) -> Grant {
    let holder = principal.id.clone().unwrap_or_default();
    Grant {
        id: format!("{}:{}:{}", entitlement.id, holder.resource_type, holder.resource),
        entitlement: Some(entitlement),
        principal: Some(principal),
        annotations,
        sources: None,
    }
}

pub(super) fn hands_on(entitlements: &[&str], shallow: bool, kinds: &[&str]) -> Any {
    any(&GrantExpandable {
        entitlement_ids: entitlements.iter().map(|id| (*id).to_owned()).collect(),
        shallow,
        resource_type_ids: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
    })
}

fn id(resource: Option<&Resource>) -> &str {
    resource.and_then(|one| one.id.as_ref()).map_or("", |id| &id.resource)
}

/// Unpacks the database of a file next to it and opens it.
pub(super) fn database(path: &Path) -> Result<Connection, Box<dyn StdError>> {
    let unpacked = path.with_extension("unpacked.db");
    container::unpack(path, &unpacked, DecodeLimits::default())?;
    Ok(Connection::open(unpacked)?)
}

/// The result of the database's integrity check.
pub(super) fn integrity(database: &Connection) -> rusqlite::Result<Vec<String>> {
    database.prepare("PRAGMA integrity_check")?.query_map([], |row| row.get(0))?.collect()
}

/// Runs a query whose rows are texts.
pub(super) fn rows(database: &Connection, query: &str) -> rusqlite::Result<Vec<String>> {
    database.prepare(query)?.query_map([], |row| row.get(0))?.collect()
}

pub(super) fn number(database: &Connection, query: &str) -> rusqlite::Result<i64> {
    database.query_row(query, [], |row| row.get(0))
}

/// Copies one of the files written by Go agents.
pub(super) fn golden(name: &str, folder: &Path) -> Result<PathBuf, std::io::Error> {
    let copy = folder.join(name);
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/c1z").join(name), &copy)?;
    Ok(copy)
}
