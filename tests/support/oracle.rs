//! The expected listings of the server, computed slowly from the tables by nested loops over all rows.

use std::collections::BTreeSet;

use tokio_postgres::{Client, Row};

use super::client::Fact;

/// The current content of the tables.
pub(crate) struct Oracle {
    skip_disabled_users: bool,
    organizations: Vec<i32>,
    users: Vec<User>,
    groups: Vec<Group>,
    memberships: Vec<Membership>,
    pages: Vec<Item>,
    page_rules: Vec<Rule>,
    folder_rules: Vec<Rule>,
    resources: Vec<Item>,
    resource_rules: Vec<Rule>,
    resource_folder_rules: Vec<Rule>,
}

struct User {
    id: i32,
    organization: Option<i32>,
    enabled: bool,
}

struct Group {
    id: i32,
    organization: Option<i32>,
    archived: bool,
    universal: Option<Level>,
    universal_resource: Option<Level>,
    universal_query_library: Option<Level>,
    user_list: bool,
    audit_log: bool,
    unpublished_release: bool,
}

struct Membership {
    user: Option<i32>,
    group: Option<i32>,
    admin: bool,
}

/// A page or a resource.
struct Item {
    id: i32,
    organization: Option<i32>,
    folder: Option<i32>,
    deleted: bool,
}

/// The access that one row gives a group on an item or a folder, by either of the two columns that can name
/// it.
struct Rule {
    group: Option<i32>,
    names: [Option<i32>; 2],
    level: Option<Level>,
}

impl Oracle {
    /// Reads every table completely.
    pub(crate) async fn read(client: &Client, skip_disabled_users: bool) -> Self {
        let table = async |name: &str| client.query(&format!("SELECT * FROM {name}"), &[]).await.unwrap();
        let rules = |rows: Vec<Row>, item: &str, other: Option<&str>| -> Vec<Rule> {
            let rule = |row: &Row| Rule {
                group: row.get("groupId"),
                names: [row.get(item), other.and_then(|other| row.get(other))],
                level: level(row, "accessLevel"),
            };
            rows.iter().map(rule).collect()
        };
        Self {
            skip_disabled_users,
            organizations: table("organizations").await.iter().map(|row| row.get("id")).collect(),
            users: table("users").await.iter().map(user).collect(),
            groups: table("groups").await.iter().map(group).collect(),
            memberships: table("user_groups").await.iter().map(membership).collect(),
            pages: table("pages").await.iter().map(page).collect(),
            page_rules: rules(table("group_pages").await, "pageId", None),
            folder_rules: rules(table("group_folder_defaults").await, "folderId", None),
            resources: table("resources").await.iter().map(resource).collect(),
            resource_rules: rules(table("group_resources").await, "resourceId", Some("resourceIdForEnv")),
            resource_folder_rules: rules(
                table("group_resource_folder_defaults").await,
                "resourceFolderId",
                None,
            ),
        }
    }

    /// Every resource as `type/id below parent`, sorted.
    pub(crate) fn resources(&self) -> Vec<String> {
        let mut resources = Vec::new();
        let mut add = |type_id: &str, letter: char, id: i32, organization: Option<i32>| {
            let parent = organization.map(|id| format!("org/o{id}")).unwrap_or_default();
            resources.push(format!("{type_id}/{letter}{id} below {parent}"));
        };
        for id in &self.organizations {
            add("org", 'o', *id, None);
        }
        for user in self.users() {
            add("user", 'u', user.id, user.organization);
        }
        for group in self.groups() {
            add("group", 'g', group.id, group.organization);
        }
        for page in self.pages() {
            add("page", 'p', page.id, page.organization);
        }
        for resource in &self.resources {
            add("resource", 'r', resource.id, resource.organization);
        }
        resources.sort();
        resources
    }

    /// Every grant, by grant id.
    pub(crate) fn grants(&self) -> Vec<Fact> {
        let mut facts = BTreeSet::new();
        for organization in &self.organizations {
            self.organization_grants(*organization, &mut facts);
        }
        for group in self.groups() {
            self.group_grants(group, &mut facts);
        }
        for page in self.pages() {
            self.page_grants(page, &mut facts);
        }
        for resource in &self.resources {
            self.resource_grants(resource, &mut facts);
        }
        facts.into_iter().collect()
    }

    fn organization_grants(&self, organization: i32, facts: &mut BTreeSet<Fact>) {
        let mut add = |suffix: String, user: &User| {
            let entitlement = format!("entitlement:o{organization}:{suffix}");
            facts.insert(direct(format!("grant:{entitlement}:u{}", user.id), entitlement, user));
        };
        for user in self.users() {
            if user.organization == Some(organization) {
                add("member".to_owned(), user);
            }
        }
        for group in self.groups().filter(|group| group.organization == Some(organization)) {
            for (user, _) in self.members(group) {
                for (family, level) in [
                    ("universal", group.universal),
                    ("universalResource", group.universal_resource),
                    ("universalQueryLibrary", group.universal_query_library),
                ] {
                    if let Some(level) = level {
                        add(format!("{family}:{}", level.as_str()), user);
                    }
                }
                for (flag, held) in [
                    ("userList", group.user_list),
                    ("auditLog", group.audit_log),
                    ("unpublishedRelease", group.unpublished_release),
                ] {
                    if held {
                        add(flag.to_owned(), user);
                    }
                }
            }
        }
    }

    fn group_grants(&self, group: &Group, facts: &mut BTreeSet<Fact>) {
        for (user, admin) in self.members(group) {
            let entitlement = format!("group:g{}:{}", group.id, if admin { "admin" } else { "member" });
            facts.insert(direct(format!("{entitlement}:user:u{}", user.id), entitlement, user));
        }
    }

    fn page_grants(&self, page: &Item, facts: &mut BTreeSet<Fact>) {
        for group in self.groups().filter(|group| group.organization == page.organization) {
            let access = access(group, group.universal, page, &self.page_rules, &self.folder_rules);
            let Some(highest) = access.effective() else { continue };
            for level in highest.and_below() {
                for family in ["group", "user"] {
                    let entitlement = format!("page:p{}:{family}:{}", page.id, level.as_str());
                    facts.insert(Fact {
                        id: format!("{entitlement}:group:g{}", group.id),
                        entitlement,
                        principal: format!("group/g{}", group.id),
                        expands: vec![
                            format!("group:g{}:member", group.id),
                            format!("group:g{}:admin", group.id),
                        ],
                        // Access that does not come from the page's own row cannot be revoked there.
                        immutable: access.row.flatten() < Some(level),
                    });
                }
            }
        }
    }

    fn resource_grants(&self, resource: &Item, facts: &mut BTreeSet<Fact>) {
        for group in self.groups().filter(|group| group.organization == resource.organization) {
            let access = access(
                group,
                group.universal_resource,
                resource,
                &self.resource_rules,
                &self.resource_folder_rules,
            );
            let Some(highest) = access.effective() else { continue };
            for level in highest.and_below() {
                for (user, _) in self.members(group) {
                    let entitlement = format!("entitlement:r{}:{}", resource.id, level.as_str());
                    facts.insert(direct(format!("grant:{entitlement}:u{}", user.id), entitlement, user));
                }
            }
        }
    }

    fn users(&self) -> impl Iterator<Item = &User> {
        self.users.iter().filter(|user| user.enabled || !self.skip_disabled_users)
    }

    fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(|group| !group.archived)
    }

    fn pages(&self) -> impl Iterator<Item = &Item> {
        self.pages.iter().filter(|page| page.organization.is_some() && !page.deleted)
    }

    /// The listed users of the group in any organization, and whether each manages it.
    fn members<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = (&'a User, bool)> {
        self.memberships.iter().filter(|membership| membership.group == Some(group.id)).flat_map(
            move |membership| {
                self.users()
                    .filter(|user| membership.user == Some(user.id))
                    .map(|user| (user, membership.admin))
            },
        )
    }
}

/// The access levels, weakest first: a higher level includes every lower one.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Level {
    Read,
    Write,
    Own,
}

impl Level {
    const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Own];

    fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Own => "own",
        }
    }

    fn and_below(self) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |level| *level <= self)
    }
}

/// The sources of a group's access to an item.
struct Access {
    universal: Option<Level>,
    /// The row that names the item, with its level.
    row: Option<Option<Level>>,
    folder: Option<Level>,
}

impl Access {
    /// A row on the item replaces the folder's default, and universal access only raises the level.
    fn effective(&self) -> Option<Level> {
        self.universal.max(self.row.unwrap_or(self.folder))
    }
}

fn access(
    group: &Group,
    universal: Option<Level>,
    item: &Item,
    item_rules: &[Rule],
    folder_rules: &[Rule],
) -> Access {
    let best = |rules: &[Rule], of: Option<i32>| -> Option<Option<Level>> {
        rules
            .iter()
            .filter(|rule| of.is_some() && rule.group == Some(group.id) && rule.names.contains(&of))
            .map(|rule| rule.level)
            .max()
    };
    Access {
        universal,
        row: best(item_rules, Some(item.id)),
        folder: best(folder_rules, item.folder).flatten(),
    }
}

fn direct(id: String, entitlement: String, user: &User) -> Fact {
    let principal = format!("user/u{}", user.id);
    Fact { id, entitlement, principal, expands: Vec::new(), immutable: false }
}

fn level(row: &Row, column: &str) -> Option<Level> {
    row.get::<_, Option<&str>>(column)
        .and_then(|word| Level::ALL.into_iter().find(|level| level.as_str() == word))
}

fn is_set(row: &Row, column: &str) -> bool {
    // Accepts any type: only the presence of a value matters.
    struct Anything;
    impl<'a> tokio_postgres::types::FromSql<'a> for Anything {
        fn from_sql(
            _: &tokio_postgres::types::Type,
            _: &'a [u8],
        ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
            Ok(Self)
        }
        fn accepts(_: &tokio_postgres::types::Type) -> bool {
            true
        }
    }
    row.get::<_, Option<Anything>>(column).is_some()
}

fn user(row: &Row) -> User {
    User {
        id: row.get("id"),
        organization: row.get("organizationId"),
        enabled: row.get::<_, Option<bool>>("enabled") == Some(true),
    }
}

fn group(row: &Row) -> Group {
    let flag = |column: &str| row.get::<_, Option<bool>>(column) == Some(true);
    Group {
        id: row.get("id"),
        organization: row.get("organizationId"),
        archived: is_set(row, "archivedAt"),
        universal: level(row, "universalAccess"),
        universal_resource: level(row, "universalResourceAccess"),
        universal_query_library: level(row, "universalQueryLibraryAccess"),
        user_list: flag("userListAccess"),
        audit_log: flag("auditLogAccess"),
        unpublished_release: flag("unpublishedReleaseAccess"),
    }
}

fn membership(row: &Row) -> Membership {
    Membership {
        user: row.get("userId"),
        group: row.get("groupId"),
        admin: row.get::<_, Option<bool>>("isAdmin") == Some(true),
    }
}

fn page(row: &Row) -> Item {
    Item {
        id: row.get("id"),
        organization: row.get("organizationId"),
        folder: row.get("folderId"),
        deleted: is_set(row, "deletedAt"),
    }
}

fn resource(row: &Row) -> Item {
    Item {
        id: row.get("id"),
        organization: row.get("organizationId"),
        folder: row.get("resourceFolderId"),
        deleted: false,
    }
}
