//! Handwritten and random organizations, for cases that are missing in the seed.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::client::Client;
use super::postgres::Database;

/// Sets defaults for columns that do not matter to a test, and turns off triggers and foreign keys: tests
/// also need rows that Retool would refuse.
const RELAXED: &str = r#"
    ALTER TABLE organizations ALTER "createdAt" SET DEFAULT now(), ALTER "updatedAt" SET DEFAULT now();
    ALTER TABLE users ALTER "createdAt" SET DEFAULT now(), ALTER "updatedAt" SET DEFAULT now();
    ALTER TABLE groups ALTER "createdAt" SET DEFAULT now(), ALTER "updatedAt" SET DEFAULT now(),
        ALTER name SET DEFAULT gen_random_uuid()::text, ALTER "unpublishedReleaseAccess" SET DEFAULT false;
    ALTER TABLE user_groups ALTER "createdAt" SET DEFAULT now(), ALTER "updatedAt" SET DEFAULT now();
    ALTER TABLE folders ALTER "createdAt" SET DEFAULT now(), ALTER "updatedAt" SET DEFAULT now(),
        ALTER "folderType" SET DEFAULT 'app';
    ALTER TABLE pages ALTER "createdAt" SET DEFAULT now(), ALTER "updatedAt" SET DEFAULT now(),
        ALTER name SET DEFAULT gen_random_uuid()::text, ALTER "folderId" SET DEFAULT 1;
    ALTER TABLE group_pages ALTER "createdAt" SET DEFAULT now(), ALTER "updatedAt" SET DEFAULT now();
    ALTER TABLE group_folder_defaults ALTER "createdAt" SET DEFAULT now();
    ALTER TABLE resource_folders ALTER "createdAt" SET DEFAULT now(), ALTER "updatedAt" SET DEFAULT now(),
        ALTER name SET DEFAULT gen_random_uuid()::text, ALTER "systemFolder" SET DEFAULT false;
    ALTER TABLE resources ALTER "createdAt" SET DEFAULT now(), ALTER "updatedAt" SET DEFAULT now(),
        ALTER name SET DEFAULT gen_random_uuid()::text, ALTER type SET DEFAULT 'postgresql';
    ALTER TABLE group_resources ALTER "createdAt" SET DEFAULT now(), ALTER "updatedAt" SET DEFAULT now();
    ALTER TABLE group_resource_folder_defaults
        ALTER "createdAt" SET DEFAULT now(), ALTER "updatedAt" SET DEFAULT now();
"#;

/// Precedes statements that write rows which Retool's triggers or Postgres's foreign keys would refuse.
pub(crate) const UNCHECKED: &str = "SET session_replication_role = replica;";

/// Two organizations, Acme (1) and Globex (2), each with a folder 1 for pages, and these rows.
pub(crate) async fn with_rows(rows: &str) -> Database {
    let database = Database::empty_schema().await;
    database
        .execute(&format!(
            r#"{RELAXED} {UNCHECKED}
            INSERT INTO organizations (id, name) VALUES (1, 'Acme'), (2, 'Globex');
            INSERT INTO folders (id, "organizationId") VALUES (1, 1);
            {rows}"#
        ))
        .await;
    database
}

/// Like [`with_rows`], with a server. The client must be dropped before the database.
pub(crate) async fn served(rows: &str, flags: &[&str]) -> (Database, Client) {
    let database = with_rows(rows).await;
    let client = Client::serving(&database, flags).await;
    (database, client)
}

/// A database with every kind of possible content; the same seed gives the same content.
pub(crate) async fn random(seed: u64) -> Database {
    with_rows(&random_rows(&mut StdRng::seed_from_u64(seed))).await
}

/// Rows of every table; references can point anywhere, also to other organizations and to missing rows.
fn random_rows(random: &mut StdRng) -> String {
    const LEVELS: [&str; 5] = ["'read'", "'write'", "'own'", "'banana'", "''"];
    const UNIVERSAL: [&str; 6] = ["'none'", "'none'", "'none'", "'read'", "'write'", "'own'"];
    const ORGANIZATIONS: [&str; 6] = ["1", "1", "1", "2", "2", "NULL"];
    const SOMETIMES: [&str; 5] = ["NULL", "NULL", "NULL", "NULL", "now()"];
    const RARELY: [&str; 4] = ["false", "false", "false", "true"];
    const COUNT: i32 = 9;

    let mut sql = String::new();
    let mut insert = |table: &str, columns: &str, rows: &mut dyn FnMut() -> String, count: i32| {
        for _ in 0..count {
            let row = rows();
            sql.push_str(&format!(
                "INSERT INTO {table} ({columns}) VALUES ({row}) ON CONFLICT DO NOTHING;\n"
            ));
        }
    };
    macro_rules! pick {
        ($choices:expr) => {
            $choices[random.random_range(0..$choices.len())]
        };
    }
    macro_rules! reference {
        () => {
            match random.random_range(0..=COUNT + 1) {
                0 => "NULL".to_owned(),
                id => id.to_string(),
            }
        };
    }
    let mut id = 0;
    let mut next = || {
        id = id % COUNT + 1;
        id
    };
    insert(
        "users",
        r#"id, "organizationId", enabled"#,
        &mut || format!("{}, {}, NOT {}", next(), pick!(ORGANIZATIONS), pick!(RARELY)),
        COUNT,
    );
    insert(
        "groups",
        r#"id, "organizationId", "archivedAt", "universalAccess", "universalResourceAccess",
           "universalQueryLibraryAccess", "userListAccess", "auditLogAccess", "unpublishedReleaseAccess""#,
        &mut || {
            let query_library = pick!(UNIVERSAL[..5]);
            format!(
                "{}, {}, {}, {}, {}, {query_library}, {}, {}, {}",
                next(),
                pick!(ORGANIZATIONS),
                pick!(SOMETIMES),
                pick!(UNIVERSAL),
                pick!(UNIVERSAL),
                pick!(RARELY),
                pick!(RARELY),
                pick!(RARELY)
            )
        },
        COUNT,
    );
    insert(
        "user_groups",
        r#""userId", "groupId", "isAdmin""#,
        &mut || format!("{}, {}, {}", reference!(), reference!(), pick!(RARELY)),
        4 * COUNT,
    );
    insert(
        "pages",
        r#"id, "organizationId", "folderId", "deletedAt""#,
        &mut || {
            let folder = random.random_range(1..=3);
            format!("{}, {}, {folder}, {}", next(), pick!(ORGANIZATIONS), pick!(SOMETIMES))
        },
        COUNT,
    );
    insert(
        "group_pages",
        r#""groupId", "pageId", "accessLevel""#,
        &mut || format!("{}, {}, {}", reference!(), reference!(), pick!(LEVELS)),
        4 * COUNT,
    );
    insert(
        "group_folder_defaults",
        r#""groupId", "folderId", "accessLevel""#,
        &mut || {
            let (group, folder) = (random.random_range(1..=COUNT), random.random_range(1..=3));
            format!("{group}, {folder}, {}", pick!(LEVELS))
        },
        COUNT,
    );
    insert(
        "resources",
        r#"id, "organizationId", "resourceFolderId""#,
        &mut || {
            let folder = ["NULL", "1", "2"][random.random_range(0..3)];
            format!("{}, {}, {folder}", next(), pick!(ORGANIZATIONS[..5]))
        },
        COUNT,
    );
    insert(
        "group_resources",
        r#""groupId", "resourceId", "resourceIdForEnv", "accessLevel""#,
        &mut || {
            let resource = if pick!(RARELY) == "true" { "NULL".to_owned() } else { reference!() };
            let environment = if pick!(RARELY) == "true" { reference!() } else { "NULL".to_owned() };
            format!("{}, {resource}, {environment}, {}", reference!(), pick!(LEVELS))
        },
        4 * COUNT,
    );
    insert(
        "group_resource_folder_defaults",
        r#""groupId", "resourceFolderId", "accessLevel""#,
        &mut || {
            let (group, folder) = (random.random_range(1..=COUNT), random.random_range(1..=2));
            format!("{group}, {folder}, {}", pick!(LEVELS))
        },
        COUNT,
    );
    sql
}
