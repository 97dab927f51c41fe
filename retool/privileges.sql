-- What the connector's role may do in Retool's database, and nothing besides.
-- Run it as the owner of the tables, with psql, as often as you like:
--
--   psql -d hammerhead_production -f privileges.sql                          sync only
--   psql -d hammerhead_production -v groups=1 -f privileges.sql              and change group members
--   psql -d hammerhead_production -v groups=1 -v pages=1 -f privileges.sql   and change access to pages
--
-- Another name for the role: -v role=name. A new role has no password, so give it one afterwards
-- with \password. Leaving a variable out takes nothing away that was granted before.
\set ON_ERROR_STOP on
\if :{?role} \else \set role baton \endif
\if :{?groups} \else \set groups 0 \endif
\if :{?pages} \else \set pages 0 \endif

SELECT format('CREATE ROLE %I LOGIN', :'role')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec

BEGIN;

-- Reach the tables at all, also where the rights that everybody has by default were withdrawn.
GRANT CONNECT ON DATABASE :"DBNAME" TO :"role";
GRANT USAGE ON SCHEMA public TO :"role";

-- Organizations, and who is in them. The sid names an account to Retool's REST API.
GRANT SELECT (id, name) ON organizations TO :"role";
GRANT SELECT (id, sid, email, "firstName", "lastName", "userName", "profilePhotoUrl", enabled, "lastLoggedIn",
              "organizationId") ON users TO :"role";
-- Optional: the created time, the last activity and the kind of an account in its profile.
GRANT SELECT ("createdAt", "lastActive", "userType") ON users TO :"role";

-- Groups: their rights over everything, and whether they are archived and so grant nothing.
GRANT SELECT (id, name, "organizationId", "archivedAt", "universalAccess", "universalResourceAccess",
              "universalQueryLibraryAccess", "userListAccess", "auditLogAccess", "unpublishedReleaseAccess")
    ON groups TO :"role";
GRANT SELECT ON user_groups TO :"role";

-- Apps, and which group has which level on them, directly or through their folder.
GRANT SELECT (id, name, description, "organizationId", "folderId", "photoUrl", "deletedAt") ON pages TO :"role";
GRANT SELECT ON group_pages, group_folder_defaults TO :"role";

-- The same for resources. Their options, which hold credentials, stay out of reach.
GRANT SELECT (id, name, "displayName", type, "organizationId", "environmentId", "resourceFolderId")
    ON resources TO :"role";
GRANT SELECT ON group_resources, group_resource_folder_defaults TO :"role";

\if :groups
-- Put users into groups, make them group admins, take them out.
GRANT INSERT, DELETE ON user_groups TO :"role";
GRANT UPDATE ("isAdmin", "updatedAt") ON user_groups TO :"role";
GRANT USAGE ON SEQUENCE user_groups_id_seq TO :"role";
\endif

\if :pages
-- Give groups access to apps, change its level, take it away.
GRANT INSERT, DELETE ON group_pages TO :"role";
GRANT UPDATE ("accessLevel", "updatedAt") ON group_pages TO :"role";
GRANT USAGE ON SEQUENCE group_pages_id_seq TO :"role";
-- Retool gives access to groups only. For a single user the connector therefore makes a group of
-- its own for that app and level, and puts the user into it, which needs groups=1 as well.
GRANT INSERT (name, "organizationId", "createdAt", "updatedAt", "unpublishedReleaseAccess", "accountDetailsAccess")
    ON groups TO :"role";
GRANT USAGE ON SEQUENCE groups_id_seq TO :"role";
\endif

COMMIT;
