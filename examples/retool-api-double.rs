//! A double of the user calls of Retool's REST API that works on Retool's tables. `make demo` starts it, so
//! that accounts can be created, disabled and enabled without a Retool. It is for trials on a throwaway
//! database and trusts every client with the token.
//!
//! Settings: `DATABASE_URL` (a role that may write `users`), `RETOOL_API_TOKEN`, and the address to listen on
//! as the first argument. It prints its base URL once it listens.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_postgres::{Client, NoTls, Row};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

struct Double {
    database: Client,
    authorization: String,
}

/// Longest body of a request, in bytes.
const LONGEST_BODY: usize = 64 * 1024;

const USER: &str = r#"
SELECT json_build_object(
           'id', sid, 'legacy_id', id, 'email', email, 'active', enabled,
           'first_name', "firstName", 'last_name', "lastName", 'user_type', "userType",
           'created_at', to_char("createdAt" AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
           'last_active', "lastActive", 'metadata', metadata, 'is_admin', false)::text AS account
FROM users
WHERE ($1::text IS NULL OR sid = $1) AND ($2::text IS NULL OR email = $2)
ORDER BY id
LIMIT $3
"#;

const CREATE: &str = r#"
INSERT INTO users (email, "firstName", "lastName", "userType", "organizationId", "createdAt", "updatedAt")
SELECT $1::text, $2::text, $3::text, coalesce($4::text, 'default'), (SELECT min(id) FROM organizations), now(), now()
WHERE NOT EXISTS (SELECT FROM users WHERE lower(email) = lower($1::text))
RETURNING sid
"#;

const SET_ACTIVE: &str = r#"UPDATE users SET enabled = $2, "updatedAt" = now() WHERE sid = $1"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), AnyError> {
    let listen = std::env::args().nth(1).ok_or("give the address to listen on, such as 127.0.0.1:3000")?;
    let variable = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let (database, connection) = tokio_postgres::connect(&variable("DATABASE_URL")?, NoTls).await?;
    let authorization = format!("Bearer {}", variable("RETOOL_API_TOKEN")?);
    let double = Arc::new(Double { database, authorization });
    let users = Router::new()
        .route("/api/v2/users", get(list).post(create))
        .route("/api/v2/users/{sid}", get(one).patch(change))
        .layer(from_fn_with_state(Arc::clone(&double), authorize))
        .with_state(double);
    let listener =
        TcpListener::bind(&listen).await.map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    announce(&format!("http://{}", listener.local_addr()?))?;
    tokio::select! {
        served = axum::serve(listener, users) => Ok(served?),
        ended = connection => Ok(ended?),
    }
}

fn announce(url: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{url}")?;
    stdout.flush()
}

async fn authorize(State(double): State<Arc<Double>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes());
    if given == Some(double.authorization.as_bytes()) {
        let mut response = next.run(request).await;
        // Retool reports its rate limit. The double has none, so the numbers never change.
        for (name, value) in [("x-ratelimit-limit", "45"), ("x-ratelimit-remaining", "44")] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    } else {
        refuse(StatusCode::UNAUTHORIZED, "Invalid access token")
    }
}

async fn list(State(double): State<Arc<Double>>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let given = |key: &str| {
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.into_owned())
    };
    let most = given("limit").and_then(|limit| limit.parse::<i64>().ok()).unwrap_or(100).clamp(1, 100);
    let users = double.users(None, given("email").as_deref(), most).await;
    answer(users.map(|users| {
        let count = users.len();
        json!({"success": true, "data": users, "total_count": count, "next_token": null, "has_more": false})
    }))
}

async fn one(State(double): State<Arc<Double>>, Path(sid): Path<String>) -> Response {
    double.account(&sid).await
}

async fn create(State(double): State<Arc<Double>>, body: Body) -> Response {
    let Some(body) = read(body).await else { return refuse(StatusCode::BAD_REQUEST, "Invalid request") };
    let text = |key: &str| body[key].as_str();
    let (Some(email), Some(first), Some(last)) = (text("email"), text("first_name"), text("last_name"))
    else {
        return refuse(StatusCode::BAD_REQUEST, "email, first_name and last_name are required");
    };
    let made = double.database.query_opt(CREATE, &[&email, &first, &last, &text("user_type")]).await;
    match made.and_then(|row| row.map(|row| row.try_get::<_, String>("sid")).transpose()) {
        Ok(Some(sid)) => double.account(&sid).await,
        Ok(None) => refuse(StatusCode::CONFLICT, "A user with this email already exists"),
        Err(error) => answer(Err(error)),
    }
}

async fn change(State(double): State<Arc<Double>>, Path(sid): Path<String>, body: Body) -> Response {
    let operation = read(body).await.map(|body| body["operations"][0].clone()).unwrap_or_default();
    let (true, Some(active)) = (operation["path"] == "/active", operation["value"].as_bool()) else {
        return refuse(StatusCode::BAD_REQUEST, "only /active can be replaced");
    };
    match double.database.execute(SET_ACTIVE, &[&sid, &active]).await {
        Ok(_) => double.account(&sid).await,
        Err(error) => answer(Err(error)),
    }
}

impl Double {
    async fn users(
        &self,
        sid: Option<&str>,
        email: Option<&str>,
        most: i64,
    ) -> Result<Vec<Value>, tokio_postgres::Error> {
        let account = |row: &Row| {
            let text: String = row.try_get("account")?;
            Ok(serde_json::from_str(&text).unwrap_or_default())
        };
        self.database.query(USER, &[&sid, &email, &most]).await?.iter().map(account).collect()
    }

    async fn account(&self, sid: &str) -> Response {
        match self.users(Some(sid), None, 1).await {
            Ok(users) => match users.first() {
                Some(user) => answer(Ok(json!({"success": true, "data": user}))),
                None => refuse(StatusCode::NOT_FOUND, "User not found"),
            },
            Err(error) => answer(Err(error)),
        }
    }
}

async fn read(body: Body) -> Option<Value> {
    serde_json::from_slice(&to_bytes(body, LONGEST_BODY).await.ok()?).ok()
}

fn answer(document: Result<Value, tokio_postgres::Error>) -> Response {
    match document {
        Ok(document) => with_status(StatusCode::OK, &document),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn refuse(status: StatusCode, message: &str) -> Response {
    with_status(status, &json!({"success": false, "message": message}))
}

fn with_status(status: StatusCode, document: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], document.to_string()).into_response()
}
