//! The default behavior of Retool, as far as it is known.

use std::sync::atomic::Ordering;

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::{Answer, Filter, LegacyId, Manners, Reply, Seen, State};
use crate::support::cluster::connect;

const USER: &str = r#"
    SELECT json_build_object('id', sid, 'legacy_id', id, 'email', email, 'active', enabled,
        'created_at', to_char("createdAt" AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'last_active', "lastActive", 'first_name', "firstName", 'last_name', "lastName", 'metadata', metadata,
        'is_admin', false, 'user_type', "userType", 'two_factor_auth_enabled', false)::text
    FROM users"#;

/// Executes a request and answers it.
pub(super) async fn usual(client: &Client, state: &State, seen: &Seen) -> Answer {
    let manners = state.manners.lock().unwrap().clone();
    let reply = match (seen.method.as_str(), seen.path.strip_prefix("/users/")) {
        ("POST", None) => create(client, state, &manners, &seen.body).await,
        ("GET", None) => list(client, &manners, &seen.query).await,
        ("GET", Some(sid)) => one(client, &manners, sid).await,
        (_, Some(sid)) => {
            let active = seen.body["operations"][0]["value"].as_bool().unwrap();
            let change = r#"UPDATE users SET enabled = $1, "updatedAt" = now() WHERE sid = $2"#;
            state.changes.fetch_add(1, Ordering::Relaxed);
            client.execute(change, &[&active, &sid]).await.unwrap();
            one(client, &manners, sid).await
        }
        _ => Reply::refusal(404, "Not found"),
    };
    let Reply::Answer(mut answer) = reply else { panic!("a duplicate is answered with an answer") };
    answer.headers.extend(manners.headers);
    answer
}

async fn create(client: &Client, state: &State, manners: &Manners, body: &Value) -> Reply {
    let text = |key: &str| body[key].as_str();
    let taken = r#"SELECT FROM users WHERE lower(email) = lower($1) AND "organizationId" = 1"#;
    if !client.query(taken, &[&text("email")]).await.unwrap().is_empty() {
        return manners.duplicate.clone();
    }
    // The number and the sid are generated first, because the row may be inserted later, or never.
    let drawn = "SELECT nextval('users_id_seq')::int4, 'user_' || replace(gen_random_uuid()::text, '-', '')";
    let drawn = client.query_one(drawn, &[]).await.unwrap();
    let (id, sid): (i32, String) = (drawn.get(0), drawn.get(1));
    let insert = r#"
        INSERT INTO users (id, sid, email, "firstName", "lastName", "userType", "organizationId", "createdAt", "updatedAt")
        VALUES ($1, $2, $3, $4, $5, coalesce($6, 'default'), 1, now(), now())"#;
    let values: Vec<Option<String>> =
        ["email", "first_name", "last_name", "user_type"].map(|key| text(key).map(str::to_owned)).into();
    let row = (id, sid.clone(), values);
    state.changes.fetch_add(1, Ordering::Relaxed);
    match manners.shows_after {
        Some(Duration::ZERO) => {
            let (id, sid, values) = &row;
            let done =
                client.execute(insert, &[id, sid, &values[0], &values[1], &values[2], &values[3]]).await;
            match done {
                Ok(_) => {}
                Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                    return manners.duplicate.clone();
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        Some(wait) => {
            let database = state.database.clone();
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                let client = connect(&database).await.unwrap();
                let (id, sid, values) = &row;
                client
                    .execute(insert, &[id, sid, &values[0], &values[1], &values[2], &values[3]])
                    .await
                    .unwrap();
            });
        }
        None => {}
    }
    let user = json!({
        "id": sid, "legacy_id": id, "email": text("email"), "active": true,
        "created_at": "2026-03-01T12:00:00.000Z", "last_active": null, "first_name": text("first_name"),
        "last_name": text("last_name"), "metadata": {}, "is_admin": false,
        "user_type": text("user_type").unwrap_or("default"), "two_factor_auth_enabled": false,
    });
    Reply::json(200, json!({"success": true, "data": spelled(user, manners)}))
}

async fn one(client: &Client, manners: &Manners, sid: &str) -> Reply {
    let rows = client.query(&format!("{USER} WHERE sid = $1"), &[&sid]).await.unwrap();
    match rows.first() {
        Some(row) => {
            let user = serde_json::from_str(row.get(0)).unwrap();
            Reply::json(200, json!({"success": true, "data": spelled(user, manners)}))
        }
        None => Reply::refusal(404, "User not found"),
    }
}

async fn list(client: &Client, manners: &Manners, query: &HashMap<String, String>) -> Reply {
    let rows = client.query(&format!(r#"{USER} WHERE "organizationId" = 1 ORDER BY id"#), &[]).await.unwrap();
    let users = rows.iter().map(|row| spelled(serde_json::from_str(row.get(0)).unwrap(), manners));
    let wanted = query.get("email");
    let fits = |user: &Value| {
        let (Some(wanted), Some(email)) = (wanted, user["email"].as_str()) else { return wanted.is_none() };
        match manners.filter {
            Filter::Exact => email == wanted,
            Filter::AnyCase => email.eq_ignore_ascii_case(wanted),
            Filter::Ignored(_) => true,
        }
    };
    let users: Vec<Value> = users.filter(fits).collect();
    let page = match (manners.filter, query.get("limit")) {
        (Filter::Ignored(page), _) => page,
        (_, Some(limit)) => limit.parse().unwrap(),
        _ => users.len(),
    };
    let start: usize = query.get("next_token").map_or(0, |token| token.parse().unwrap());
    let end = (start + page).min(users.len());
    let next = (end < users.len()).then(|| end.to_string());
    Reply::json(
        200,
        json!({
            "success": true, "data": users[start.min(end)..end], "total_count": users.len(),
            "next_token": next, "has_more": next.is_some(),
        }),
    )
}

fn spelled(mut user: Value, manners: &Manners) -> Value {
    match manners.legacy_id {
        LegacyId::Number => {}
        LegacyId::Text => user["legacy_id"] = user["legacy_id"].to_string().into(),
        LegacyId::Missing => drop(user.as_object_mut().unwrap().remove("legacy_id")),
    }
    user
}
