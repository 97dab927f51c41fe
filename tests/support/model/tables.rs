//! The model as tables: its initial state, and its state in the database.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tokio_postgres::Client;

use super::retool::{default, join, quoted, row};
use super::{Group, Level, Model, Page, User, WORDS, former_name, managed_name};

/// All tables that change, as one document.
const READ: &str = "
    SELECT json_build_object(
        'users', (SELECT json_agg(t) FROM users t), 'groups', (SELECT json_agg(t) FROM groups t),
        'pages', (SELECT json_agg(t) FROM pages t), 'user_groups', (SELECT json_agg(t) FROM user_groups t),
        'group_pages', (SELECT json_agg(t) FROM group_pages t),
        'group_folder_defaults', (SELECT json_agg(t) FROM group_folder_defaults t))::text";

const EMPTY: &str = r#"
    DELETE FROM group_resources; DELETE FROM group_resource_folder_defaults; DELETE FROM group_folder_defaults; DELETE FROM group_pages; DELETE FROM user_groups; DELETE FROM pages;
    DELETE FROM groups; DELETE FROM users; DELETE FROM folders; DELETE FROM organizations;
    INSERT INTO organizations (id, name, "createdAt", "updatedAt")
        VALUES (1, 'Acme', now(), now()), (2, 'Globex', now(), now());
    INSERT INTO folders (id, "organizationId", "folderType", "createdAt", "updatedAt")
        VALUES (1, 1, 'app', now(), now()), (2, 1, 'app', now(), now()), (3, 2, 'app', now(), now());
    SELECT setval('groups_id_seq', 100);
"#;

impl Model {
    /// Two organizations with one case of each kind that the rules distinguish.
    pub(crate) fn organizations() -> Self {
        let mut model = Self::default();
        for (key, organization, enabled) in [
            (1, Some(1), true),
            (2, Some(1), true),
            (3, Some(1), true),
            (4, Some(1), false),
            (5, Some(2), true),
            (6, None, true),
            (7, None, true),
        ] {
            model.users.insert(key, User { organization, enabled });
        }
        for (key, organization, name, archived, rights) in [
            (1, Some(1), "All Users".to_owned(), false, &[][..]),
            (2, Some(1), "admin".to_owned(), false, &[("userListAccess", "true")]),
            (3, Some(1), "editor".to_owned(), false, &[("universalAccess", "read")]),
            (4, Some(1), "plain".to_owned(), false, &[]),
            (5, Some(1), "former".to_owned(), true, &[]),
            (6, Some(2), "admin".to_owned(), false, &[]),
            (7, None, "admin".to_owned(), false, &[]),
            // Groups as the Go connector created them, with the rights that Retool gives a new group.
            (
                8,
                Some(1),
                former_name(11, 1),
                false,
                &[("unpublishedReleaseAccess", "true"), ("accountDetailsAccess", "true")],
            ),
            (9, Some(1), managed_name(2, 3), false, &[]),
            (10, None, "plain".to_owned(), false, &[]),
        ] {
            let rights = rights.iter().map(|(column, value)| ((*column).to_owned(), (*value).to_owned()));
            model.groups.insert(key, Group { organization, name, archived, rights: rights.collect() });
        }
        for (key, organization, folder, deleted) in [
            (1, Some(1), 1, false),
            (2, Some(1), 2, false),
            (3, Some(1), 1, true),
            (4, Some(2), 3, false),
            (5, None, 1, false),
            (11, Some(1), 2, false),
        ] {
            model.pages.insert(key, Page { organization, folder, name: format!("app {key}"), deleted });
        }
        for (group, user, admin) in [
            (1, 1, false),
            (1, 2, false),
            (1, 4, true),
            (2, 1, false),
            (2, 4, false),
            (4, 2, true),
            (4, 3, false),
            (5, 3, false),
            (6, 5, false),
            (7, 6, false),
            (7, 7, false),
            (8, 2, false),
            (9, 3, false),
        ] {
            model.members.insert((group, user), admin);
        }
        model.rows =
            [((3, 1), 3), ((4, 1), 1), ((4, 11), 2), ((5, 1), 3), ((6, 4), 2), ((8, 11), 1), ((9, 2), 3)]
                .into();
        model.defaults = [((4, 1), 2), ((3, 2), 2), ((4, 2), 0)].into();
        model
    }

    /// SQL that makes the tables equal to the model, whatever they contain, with triggers off.
    pub(crate) fn to_sql(&self) -> String {
        let mut sql = EMPTY.to_owned();
        for (key, user) in &self.users {
            sql.push_str(&format!(
                r#"INSERT INTO users (id, "organizationId", enabled, "createdAt", "updatedAt")
                   VALUES ({key}, {}, {}, now(), now());"#,
                or_null(user.organization),
                user.enabled
            ));
        }
        for (key, group) in &self.groups {
            let mut rights =
                BTreeMap::from([("unpublishedReleaseAccess", "false"), ("accountDetailsAccess", "false")]);
            rights.extend(group.rights.iter().map(|(column, value)| (column.as_str(), value.as_str())));
            let columns: String = rights.keys().map(|column| format!(r#", "{column}""#)).collect();
            let values: String = rights.values().map(|value| format!(", '{value}'")).collect();
            sql.push_str(&format!(
                r#"INSERT INTO groups (id, "organizationId", name, "archivedAt", "createdAt", "updatedAt"{columns})
                   VALUES ({key}, {}, {}, {}, now(), now(){values});"#,
                or_null(group.organization),
                quoted(&group.name),
                if group.archived { "now()" } else { "NULL" }
            ));
        }
        for (key, page) in &self.pages {
            sql.push_str(&format!(
                r#"INSERT INTO pages (id, "organizationId", "folderId", name, "deletedAt", "createdAt", "updatedAt")
                   VALUES ({key}, {}, {}, {}, {}, now(), now());"#,
                or_null(page.organization),
                page.folder,
                quoted(&page.name),
                if page.deleted { "now()" } else { "NULL" }
            ));
        }
        sql.extend(self.members.iter().map(|((group, user), admin)| join(*group, *user, *admin)));
        sql.extend(self.rows.iter().map(|((group, page), level)| row(*group, *page, *level)));
        sql.extend(self.defaults.iter().map(|((group, folder), level)| default(*group, *folder, *level)));
        sql
    }

    /// Reads the tables. A duplicate pair would violate a unique key.
    pub(crate) async fn read(client: &Client) -> Self {
        let text: String = client.query_one(READ, &[]).await.unwrap().get(0);
        let tables: Value = serde_json::from_str(&text).unwrap();
        let rows = |name: &str| tables[name].as_array().cloned().unwrap_or_default();
        let mut model = Self::default();
        for row in rows("users") {
            let user =
                User { organization: key_or_none(&row, "organizationId"), enabled: row["enabled"] == true };
            model.users.insert(key(&row, "id"), user);
        }
        for row in rows("groups") {
            let columns = row.as_object().unwrap().iter();
            let rights =
                columns.filter(|(column, _)| column.ends_with("Access")).filter_map(|(column, value)| {
                    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    let gives = !["none", "false", "null"].contains(&value.as_str());
                    gives.then(|| (column.clone(), value))
                });
            let group = Group {
                organization: key_or_none(&row, "organizationId"),
                name: text_of(&row, "name"),
                archived: !row["archivedAt"].is_null(),
                rights: rights.collect(),
            };
            model.groups.insert(key(&row, "id"), group);
        }
        for row in rows("pages") {
            let page = Page {
                organization: key_or_none(&row, "organizationId"),
                folder: key(&row, "folderId"),
                name: text_of(&row, "name"),
                deleted: !row["deletedAt"].is_null(),
            };
            model.pages.insert(key(&row, "id"), page);
        }
        for row in rows("user_groups") {
            model.members.insert((key(&row, "groupId"), key(&row, "userId")), row["isAdmin"] == true);
        }
        for row in rows("group_pages") {
            model.rows.insert((key(&row, "groupId"), key(&row, "pageId")), level(&row));
        }
        for row in rows("group_folder_defaults") {
            model.defaults.insert((key(&row, "groupId"), key(&row, "folderId")), level(&row));
        }
        model
    }

    /// Sets the keys of new groups to their keys in the database.
    pub(crate) fn settle(&mut self, found: &Self) {
        let made: Vec<i32> = self.groups.keys().copied().filter(|key| *key < 0).collect();
        for made in made {
            let group = self.groups[&made].clone();
            let mut new = found.groups.iter().filter(|(key, _)| !self.groups.contains_key(key));
            let key = new.find(|(_, known)| **known == group).map(|(key, _)| *key);
            let Some(key) = key else { continue };
            self.groups.remove(&made);
            self.groups.insert(key, group);
            let renamed = |of: i32| if of == made { key } else { of };
            self.members = take_all(&mut self.members, renamed);
            self.rows = take_all(&mut self.rows, renamed);
        }
    }

    /// The differences of the database; empty if there are none.
    pub(crate) fn differences(&self, found: &Self) -> Vec<String> {
        let (wanted, found) = (self.lines(), found.lines());
        let missing = wanted.difference(&found).map(|line| format!("missing {line}"));
        let unexpected = found.difference(&wanted).map(|line| format!("unexpected {line}"));
        missing.chain(unexpected).collect()
    }

    fn lines(&self) -> BTreeSet<String> {
        let mut lines = BTreeSet::new();
        lines.extend(self.users.iter().map(|(key, user)| format!("user {key}: {user:?}")));
        lines.extend(self.groups.iter().map(|(key, group)| format!("group {key}: {group:?}")));
        lines.extend(self.pages.iter().map(|(key, page)| format!("page {key}: {page:?}")));
        lines.extend(self.members.iter().map(|((group, user), admin)| {
            format!("user {user} in group {group}{}", if *admin { " as its admin" } else { "" })
        }));
        lines.extend(
            self.rows
                .iter()
                .map(|((group, page), level)| format!("group {group} has {} on page {page}", WORDS[*level])),
        );
        lines.extend(self.defaults.iter().map(|((group, folder), level)| {
            format!("group {group} has {} on folder {folder}", WORDS[*level])
        }));
        lines
    }

    /// The keys of all groups and of all pages.
    pub(crate) fn keys(&self) -> (Vec<i32>, Vec<i32>) {
        (self.groups.keys().copied().collect(), self.pages.keys().copied().collect())
    }
}

fn take_all<T>(map: &mut BTreeMap<(i32, i32), T>, renamed: impl Fn(i32) -> i32) -> BTreeMap<(i32, i32), T> {
    std::mem::take(map).into_iter().map(|((group, of), value)| ((renamed(group), of), value)).collect()
}

fn or_null(key: Option<i32>) -> String {
    key.map_or("NULL".to_owned(), |key| key.to_string())
}

fn key(row: &Value, column: &str) -> i32 {
    key_or_none(row, column).unwrap_or_else(|| panic!("no {column} in {row}"))
}

fn key_or_none(row: &Value, column: &str) -> Option<i32> {
    row[column].as_i64().map(|key| i32::try_from(key).unwrap())
}

fn text_of(row: &Value, column: &str) -> String {
    row[column].as_str().unwrap().to_owned()
}

fn level(row: &Value) -> Level {
    let word = row["accessLevel"].as_str().unwrap();
    WORDS.iter().position(|known| *known == word).unwrap_or_else(|| panic!("no level: {row}"))
}
