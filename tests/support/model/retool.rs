//! Changes that other users make in Retool, in the model and as SQL.

use super::{Level, Model, WORDS, Which, former_name, managed_name};

/// A change by another user. A change of a missing object has no effect.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Join {
        group: Which,
        user: i32,
        admin: bool,
    },
    Leave {
        group: Which,
        user: i32,
    },
    /// The group's own row on a page; 0 removes the row.
    Row {
        group: Which,
        page: i32,
        level: Level,
    },
    /// The default of a folder; `None` removes it.
    Default {
        group: Which,
        folder: i32,
        level: Option<Level>,
    },
    Archive {
        group: Which,
        archived: bool,
    },
    Rename {
        group: Which,
        name: Name,
    },
    /// A column that ends in `Access`, with a value.
    Right {
        group: Which,
        column: &'static str,
        value: &'static str,
    },
    Delete {
        page: i32,
        deleted: bool,
    },
    Move {
        page: i32,
        folder: i32,
    },
    RenamePage {
        page: i32,
    },
    Enable {
        user: i32,
        enabled: bool,
    },
}

/// The new name of a group.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Name {
    /// A name without a meaning.
    Plain,
    AllUsers,
    Admin,
    Managed(i32, Level),
    Former(i32, Level),
}

impl Model {
    /// Makes the change in the model, and returns the SQL for the database.
    pub(crate) fn change(&mut self, change: &Change) -> String {
        match *change {
            Change::Join { group, user, admin } => {
                let group = self.key(group);
                if !self.groups.contains_key(&group) || !self.users.contains_key(&user) {
                    return String::new();
                }
                self.members.insert((group, user), admin);
                join(group, user, admin)
            }
            Change::Leave { group, user } => {
                let group = self.key(group);
                self.members.remove(&(group, user));
                format!(r#"DELETE FROM user_groups WHERE "groupId" = {group} AND "userId" = {user};"#)
            }
            Change::Row { group, page, level } => {
                let group = self.key(group);
                if level == 0 {
                    self.rows.remove(&(group, page));
                    return format!(
                        r#"DELETE FROM group_pages WHERE "groupId" = {group} AND "pageId" = {page};"#
                    );
                }
                if !self.groups.contains_key(&group) || !self.pages.contains_key(&page) {
                    return String::new();
                }
                self.rows.insert((group, page), level);
                row(group, page, level)
            }
            Change::Default { group, folder, level: None } => {
                let group = self.key(group);
                self.defaults.remove(&(group, folder));
                format!(
                    r#"DELETE FROM group_folder_defaults WHERE "groupId" = {group} AND "folderId" = {folder};"#
                )
            }
            Change::Default { group, folder, level: Some(level) } => {
                let group = self.key(group);
                if !self.groups.contains_key(&group) {
                    return String::new();
                }
                self.defaults.insert((group, folder), level);
                default(group, folder, level)
            }
            Change::Archive { group, archived } => {
                let key = self.key(group);
                let Some(group) = self.groups.get_mut(&key) else { return String::new() };
                group.archived = archived;
                set("groups", key, "archivedAt", if archived { "now()" } else { "NULL" })
            }
            Change::Rename { group, name } => self.rename(self.key(group), name),
            Change::Right { group, column, value } => {
                let key = self.key(group);
                let Some(group) = self.groups.get_mut(&key) else { return String::new() };
                match value {
                    "none" | "false" => drop(group.rights.remove(column)),
                    _ => drop(group.rights.insert(column.to_owned(), value.to_owned())),
                }
                set("groups", key, column, &format!("'{value}'"))
            }
            Change::Delete { page: key, deleted } => {
                let Some(page) = self.pages.get_mut(&key) else { return String::new() };
                page.deleted = deleted;
                set("pages", key, "deletedAt", if deleted { "now()" } else { "NULL" })
            }
            Change::Move { page: key, folder } => {
                let Some(page) = self.pages.get_mut(&key) else { return String::new() };
                page.folder = folder;
                set("pages", key, "folderId", &folder.to_string())
            }
            Change::RenamePage { page: key } => {
                let Some(page) = self.pages.get_mut(&key) else { return String::new() };
                page.name.push('\'');
                set("pages", key, "name", &quoted(&page.name))
            }
            Change::Enable { user: key, enabled } => {
                let Some(user) = self.users.get_mut(&key) else { return String::new() };
                user.enabled = enabled;
                set("users", key, "enabled", &enabled.to_string())
            }
        }
    }

    /// Renames a group. Two groups of an organization must have different names.
    fn rename(&mut self, key: i32, name: Name) -> String {
        let name = match name {
            Name::Plain => format!("group {key}"),
            Name::AllUsers => "All Users".to_owned(),
            Name::Admin => "admin".to_owned(),
            Name::Managed(page, level) => managed_name(page, level),
            Name::Former(page, level) => former_name(page, level),
        };
        let Some(organization) = self.groups.get(&key).map(|group| group.organization) else {
            return String::new();
        };
        if organization.is_some_and(|organization| self.named(organization, &name).is_some()) {
            return String::new();
        }
        let sql = set("groups", key, "name", &quoted(&name));
        self.groups.entry(key).and_modify(|group| group.name = name);
        sql
    }
}

pub(super) fn join(group: i32, user: i32, admin: bool) -> String {
    format!(
        r#"INSERT INTO user_groups ("groupId", "userId", "isAdmin", "createdAt", "updatedAt")
           VALUES ({group}, {user}, {admin}, now(), now())
           ON CONFLICT ("userId", "groupId") DO UPDATE SET "isAdmin" = EXCLUDED."isAdmin";"#
    )
}

pub(super) fn row(group: i32, page: i32, level: Level) -> String {
    format!(
        r#"INSERT INTO group_pages ("groupId", "pageId", "accessLevel", "createdAt", "updatedAt")
           VALUES ({group}, {page}, '{}', now(), now())
           ON CONFLICT ("groupId", "pageId") DO UPDATE SET "accessLevel" = EXCLUDED."accessLevel";"#,
        WORDS[level]
    )
}

pub(super) fn default(group: i32, folder: i32, level: Level) -> String {
    format!(
        r#"INSERT INTO group_folder_defaults ("groupId", "folderId", "accessLevel", "createdAt")
           VALUES ({group}, {folder}, '{}', now())
           ON CONFLICT ("groupId", "folderId") DO UPDATE SET "accessLevel" = EXCLUDED."accessLevel";"#,
        WORDS[level]
    )
}

fn set(table: &str, key: i32, column: &str, value: &str) -> String {
    format!(r#"UPDATE {table} SET "{column}" = {value} WHERE id = {key};"#)
}

pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
