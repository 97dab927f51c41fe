//! Managed groups: Retool gives access to pages to groups only, so a single user gets it through a group
//! that is made for one page and level and does nothing else (decision 7.5).

use crate::retool::access::AccessLevel;
use crate::retool::id::PageId;

/// The name of the managed group of a page and level. It survives a rename of the page (D2, D19).
pub(crate) fn name(page: PageId, level: AccessLevel) -> String {
    format!("baton:page:{page}:{}", level.as_str())
}

/// Whether the group `g` does nothing but give its members access to one page, by SQL. What would be
/// taken from them with their membership is then no more than that.
macro_rules! nothing_but_a_page {
    ($page:literal) => {
        concat!(
            r#"
       g."universalAccess" = 'none' AND g."universalResourceAccess" = 'none'
   AND g."universalQueryLibraryAccess" = 'none'
   AND NOT coalesce(g."userListAccess", false) AND NOT coalesce(g."auditLogAccess", false)
   AND NOT EXISTS (SELECT FROM group_pages more WHERE more."groupId" = g.id AND more."pageId" <> "#,
            $page,
            r#")
   AND NOT EXISTS (SELECT FROM group_folder_defaults more WHERE more."groupId" = g.id)
   {?more:group_resources.groupId AND NOT EXISTS (SELECT FROM group_resources more WHERE more."groupId" = g.id)}
   {?more:group_resource_folder_defaults.groupId AND NOT EXISTS
       (SELECT FROM group_resource_folder_defaults more WHERE more."groupId" = g.id)}
"#
        )
    };
}
pub(crate) use nothing_but_a_page;

/// Whether the group `g` is a managed group by its row `gp` in `group_pages`, by SQL.
///
/// The former program named its groups after a memory address, the page's key, `-group-`, the page's
/// name and the level (D2); such a group counts too.
macro_rules! is_managed {
    () => {
        concat!(
            r#"
       gp."accessLevel" IN ('read', 'write', 'own')
   AND (g.name = 'baton:page:' || gp."pageId" || ':' || gp."accessLevel"
        OR g.name ~ ('^(0x)?[0-9a-f]+' || gp."pageId" || '-group-.*-' || gp."accessLevel" || '$'))
   AND"#,
            crate::retool::tables::managed_groups::nothing_but_a_page!(r#"gp."pageId""#)
        )
    };
}
pub(crate) use is_managed;
