//! Checks whether the connector works with its configuration.

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use backon::Retryable;
use prost_types::Any;

use crate::connector::database_message::database_message;
use crate::connector::error::Error;
use crate::connector::{Connector, rate_limit};
use crate::postgres::error::RetryClass;
use crate::repeats::{Repeats, Verdict};
use crate::retool::api::error::Problem;
use crate::retool::diagnosis::crossing_memberships;
use crate::retool::privileges::Privileges;

/// Waits between the attempts of [`Connector::validate`], because an agent calls it once and does not retry.
const VALIDATE_WAITS: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(3),
    Duration::from_secs(4),
    Duration::from_secs(5),
];

/// Limits repeated log lines, because callers can validate without limit.
static LINES: LazyLock<Repeats> = LazyLock::new(|| Repeats::new(20));

impl Connector {
    /// Validates the configuration for an agent, which calls it once and does not retry. It therefore waits up to
    /// 15 seconds for an outage to end. Then it calls the REST API once, if configured, and returns its rate
    /// limits as an annotation. A sync does not need that API, so most of its failures are only logged as
    /// warnings (decision rest-in-validate).
    ///
    /// # Errors
    /// [`Error::Database`], also if changes are on and none can be made; and [`Error::Rest`] if changes are
    /// on and the API refuses the token.
    pub(crate) async fn validate(&self) -> Result<Vec<Any>, Error> {
        let privileges = self.validate_database().await?;
        let Some(api) = &self.context.api else {
            // With the REST API, a role without privileges for changes can still allow changes of accounts (decision
            // useless-provisioning).
            if self.provisioning {
                privileges.require_any_change()?;
            }
            return Ok(Vec::new());
        };
        match api.probe().await {
            Ok(rate_limit) => Ok(vec![rate_limit::annotation(&rate_limit)]),
            Err(error) => {
                let refused = matches!(error.problem, Problem::Refused { status: 401 | 403, .. });
                if self.provisioning && refused {
                    return Err(error.into());
                }
                let error = Error::from(error);
                if let Verdict::Log { left_out } = LINES.judge("rest", None) {
                    tracing::warn!(%error, left_out, "Retool's REST API, which accounts need, cannot be used; the token needs the scope users:read");
                }
                Ok(Vec::new())
            }
        }
    }

    /// Counts memberships across organizations, once per process and in the background, because it reads
    /// every membership.
    fn count_crossing_memberships(&self) {
        if self.context.counted_crossing.swap(true, Ordering::Relaxed) {
            return;
        }
        let database = Arc::clone(&self.context.database);
        tokio::spawn(async move {
            match crossing_memberships(&database).await {
                Ok(0) => {}
                Ok(memberships) => tracing::warn!(
                    memberships,
                    "users of one organization are members of groups of another; these memberships are listed, but Grant does not create them"
                ),
                Err(error) => {
                    let error = database_message(&error);
                    tracing::debug!(error, "could not count memberships across organizations");
                }
            }
        });
    }

    async fn validate_database(&self) -> Result<Arc<Privileges>, Error> {
        let check = || self.context.database.check_whole();
        let checked = check
            .retry(VALIDATE_WAITS.into_iter())
            .when(|error| error.retry_class() == RetryClass::Outage)
            .notify(|error, wait| {
                if let Verdict::Log { left_out } = LINES.judge("database", None) {
                    let error = database_message(error);
                    let wait_seconds = wait.as_secs();
                    tracing::warn!(error, wait_seconds, left_out, "the database does not answer; retrying");
                }
            });
        let privileges = checked.await?;
        self.count_crossing_memberships();
        Ok(privileges)
    }
}
