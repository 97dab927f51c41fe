//! Finds an account in the database and through Retool's REST API.

use std::time::Duration;

use backon::Retryable;
use tokio::time::timeout;

use crate::connector::audit::Record;
use crate::connector::context::Context;
use crate::connector::error::Error;
use crate::repeats::Verdict;
use crate::retool::api::Api;
use crate::retool::api::error::ApiError;
use crate::retool::api::rate_limit::RateLimit;
use crate::retool::api::user::{ApiUser, NewUser};
use crate::retool::id::OrganizationId;
use crate::retool::tables::users::User;
use crate::retool::tables::{Page, Users, organizations, users};

/// Waits between attempts to find a new account in the database: about five seconds in total.
const READ_BACK: [Duration; 7] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(1000),
    Duration::from_millis(1500),
    Duration::from_millis(1600),
];
/// Timeout of these attempts, including the database's response times.
const LONGEST_READ_BACK: Duration = Duration::from_secs(6);
/// Limit of the pages that a look-up reads. A Retool that ignores the filter lists all users.
const MAX_PAGES: usize = 20;

/// The new account in the database; `None` if it does not appear in time. A slow database counts as one that does
/// not show the account.
pub(super) async fn read_back(
    context: &Context,
    made: Option<&ApiUser>,
    new: &NewUser,
    record: &Record,
) -> Option<User> {
    // `Err(None)` means that the account has not appeared yet.
    let look = || async { row_of(context, made, new, false).await.map_err(Some)?.ok_or(None) };
    let warn = |missing: &Option<Error>| {
        if let Some(error) = missing
            && let Verdict::Log { left_out } = record.judge_warning("read_back")
        {
            tracing::warn!(%error, left_out, "could not look up the new account");
        }
    };
    let looked = look.retry(READ_BACK.into_iter()).notify(|missing, _| warn(missing));
    timeout(LONGEST_READ_BACK, looked).await.ok()?.inspect_err(warn).ok()
}

/// The row of the account that the API returned, or of the account with the address.
async fn row_of(
    context: &Context,
    known: Option<&ApiUser>,
    new: &NewUser,
    taken: bool,
) -> Result<Option<User>, Error> {
    let database = &context.database;
    Ok(match known.map(|known| (&known.sid, known.legacy_id)) {
        Some((Some(sid), _)) => {
            users::get_by_sid(database, sid.as_str()).await?.filter(|row| has_address(row, &new.email))
        }
        Some((None, Some(id))) => {
            users::get(database, id, Users::All).await?.filter(|row| has_address(row, &new.email))
        }
        // The API covers one organization only. In another organization, the address belongs to another user,
        // unless Retool reports the address as taken and exactly one user has it.
        Some((None, None)) | None if taken || only_organization(context).await?.is_some() => {
            users::get_by_email(database, &new.email).await?
        }
        Some((None, None)) | None => None,
    })
}

fn has_address(row: &User, email: &str) -> bool {
    row.email.as_ref().is_some_and(|own| own.to_lowercase() == email.to_lowercase())
}

/// Whether the response describes an account with the requested address, or does not show its address. An
/// account with another address is not the new one, whatever its ids are.
pub(super) fn is_for(made: &ApiUser, new: &NewUser) -> bool {
    made.email.is_none() || made.has_email(&new.email)
}

/// The organization, if there is exactly one.
async fn only_organization(context: &Context) -> Result<Option<OrganizationId>, Error> {
    Ok(match organizations::list(&context.database, Page { from: 0, limit: 2 }).await?.as_slice() {
        [only] => Some(only.id),
        _ => None,
    })
}

/// Where an account was found.
pub(super) enum Found {
    InDatabase(User),
    /// Only in Retool's response.
    InAnswer(User),
}

impl Found {
    pub(super) fn user(&self) -> &User {
        match self {
            Self::InDatabase(user) | Self::InAnswer(user) => user,
        }
    }

    fn into_user(self) -> User {
        match self {
            Self::InDatabase(user) | Self::InAnswer(user) => user,
        }
    }
}

/// The account from Retool's response, while the database does not show it. `None` if the response has no
/// number, because the account would have no id.
///
/// # Errors
/// [`Error::DifferentRetools`] if another user has that number in the database; [`Error::Database`].
pub(super) async fn provisional(context: &Context, made: &ApiUser) -> Result<Option<Found>, Error> {
    let Some(id) = made.legacy_id else { return Ok(None) };
    match users::get(&context.database, id, Users::All).await? {
        // The database shows it now.
        Some(row) if made.email.as_deref().is_some_and(|email| has_address(&row, email)) => {
            return Ok(Some(Found::InDatabase(row)));
        }
        Some(_) => return Err(Error::DifferentRetools),
        None => {}
    }
    // With one organization, the account belongs to it. With several, the API does not report which.
    let organization = only_organization(context).await.ok().flatten();
    Ok(Some(Found::InAnswer(User {
        id,
        organization,
        email: made.email.clone(),
        first_name: made.first_name.clone(),
        last_name: made.last_name.clone(),
        user_name: None,
        enabled: made.active.unwrap_or(true),
        last_logged_in: None,
        created_at: made.created_at,
        last_active: made.last_active,
        user_type: made.user_type.clone(),
    })))
}

/// The account with this address, if the API finds one. The result must match the address, ignoring case,
/// regardless of how the API compares.
pub(super) async fn find(
    api: &Api,
    new: &NewUser,
    rate_limit: &mut RateLimit,
) -> Result<Option<ApiUser>, ApiError> {
    let lower = new.email.to_lowercase();
    let spellings = [Some(new.email.as_str()), Some(lower.as_str()).filter(|lower| *lower != new.email)];
    for spelling in spellings.into_iter().flatten() {
        let mut next = None;
        for _ in 0..MAX_PAGES {
            let answer = api.user_with_email(spelling, next.as_deref()).await.inspect_err(|error| {
                *rate_limit = error.rate_limit;
            })?;
            *rate_limit = answer.rate_limit;
            if answer.value.user.is_some() {
                return Ok(answer.value.user);
            }
            next = answer.value.next;
            if next.is_none() {
                break;
            }
        }
    }
    Ok(None)
}

/// The existing account in the database, found by the API or by its address. `taken` is true if Retool has
/// reported the address as taken.
pub(super) async fn existing(
    context: &Context,
    found: Option<ApiUser>,
    new: &NewUser,
    taken: bool,
) -> Result<Option<User>, Error> {
    match (row_of(context, found.as_ref(), new, taken).await?, found) {
        (Some(row), _) => Ok(Some(row)),
        (None, Some(found)) => Ok(provisional(context, &found).await?.map(Found::into_user)),
        (None, None) => Ok(None),
    }
}
