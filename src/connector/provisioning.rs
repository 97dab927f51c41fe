//! Granting and revoking: what every resource type has in common.

use std::time::{Duration, Instant};

use prost::Name;
use prost_types::Any;

use crate::connector::audit::{Caller, Done, Outcome, Record, dry_run};
use crate::connector::database_message::database_message;
use crate::connector::error::{ArgumentProblem, Error};
use crate::connector::ids::{self, Identity, ResourceKind, Spelled, group_entitlement, page_entitlement};
use crate::connector::{Connector, Context, Identified, ResourceSyncer};
use crate::postgres::error::PostgresError;
use crate::proto::any;
use crate::proto::connector::{
    Entitlement, Grant, GrantAlreadyExists, GrantAlreadyRevoked, Resource, ResourceId,
};
use crate::retool::error::DatabaseError;
use crate::retool::id::{GroupId, UserId};
use crate::retool::tables::memberships::Changed;

/// Why there is nothing to grant on some resource types, as the end of a sentence.
pub(super) const NOTHING_TO_GRANT: &str = "what can be granted here are entitlements on groups and pages; access to other resources follows from groups";

/// A request to grant or revoke.
pub(crate) struct Asked<'a> {
    pub(super) on: Identified<'a>,
    pub(super) entitlement: &'a Entitlement,
    pub(super) principal: &'a ResourceId,
}

/// The answer to a Grant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Granted {
    pub(super) done: Done,
    /// What the next listing shows of it; nothing when the principal has it by something else, which is
    /// listed in its own place.
    pub(super) grants: Vec<Grant>,
    pub(super) annotations: Vec<Any>,
}

/// The answer to a Revoke.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Revoked {
    pub(super) done: Done,
    pub(super) annotations: Vec<Any>,
}

/// Waits between the attempts of a change that was not made because the database was away or somebody else
/// was in the way: agents do not try again by themselves, the connector has always done it for them
/// (spec, child process 9). Trying again is safe, since each attempt looks at what there is.
const RETRIES: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// No attempt begins later than this.
const LONGEST: Duration = Duration::from_secs(16);

/// Runs a change until it ends in something that another try cannot mend, or some 15 seconds have passed.
/// What an attempt has made whose end nobody saw, the next one finds made already; so it counts as changed. When
/// something else stands in its way by then, the answer is still that the change may have been made.
macro_rules! persistently {
    ($attempt:expr) => {{
        let mut waits = RETRIES.iter();
        let mut uncertain = None;
        let last = Instant::now() + LONGEST;
        loop {
            match ($attempt, waits.next()) {
                (Err(Error::Database(error)), Some(wait))
                    if is_passing(&error) && Instant::now() + *wait < last =>
                {
                    tracing::warn!(
                        error = database_message(&error),
                        wait_ms = wait.as_millis(),
                        "a change was not made; trying again"
                    );
                    if matches!(error, DatabaseError::Postgres(PostgresError::Uncertain { .. })) {
                        uncertain.get_or_insert(error);
                    }
                    tokio::time::sleep(*wait).await;
                }
                (Ok(mut made), _) => {
                    if uncertain.is_some() && made.done.outcome == Outcome::Unchanged {
                        made.done = Done { outcome: Outcome::Changed, before: "unknown", ..made.done };
                        made.annotations.retain(|said| !is_already(said));
                    }
                    break Ok(made);
                }
                (Err(error), _) => break Err(uncertain.map_or(error, Error::Database)),
            }
        }
    }};
}

/// Whether the annotation says that nothing had to be done.
fn is_already(annotation: &Any) -> bool {
    [GrantAlreadyExists::full_name(), GrantAlreadyRevoked::full_name()]
        .iter()
        .any(|name| annotation.type_url.ends_with(name.as_str()))
}

impl Connector {
    /// Gives the entitlement to the principal: the grants that now exist, and annotations that say whether
    /// anything had to be done.
    ///
    /// # Errors
    /// [`Error::ProvisioningDisabled`], [`Error::NotImplemented`], [`Error::Missing`],
    /// [`Error::MalformedId`], [`Error::Argument`], [`Error::UnknownResourceType`], [`Error::Refused`],
    /// [`Error::Database`]
    pub async fn grant(
        &self,
        caller: &Caller,
        entitlement: Option<&Entitlement>,
        principal: Option<&Resource>,
    ) -> Result<(Vec<Grant>, Vec<Any>), Error> {
        let record = Record::begin("grant", caller, target(entitlement), holder(principal));
        let granted = async {
            self.gate()?;
            let (syncer, asked) = self.asked(entitlement, principal)?;
            persistently!(syncer.grant(&self.context, &asked).await)
        };
        match granted.await {
            Ok(Granted { done, grants, annotations }) => {
                record.done(&done);
                Ok((grants, annotations))
            }
            Err(error) => {
                record.failed(&error);
                Err(error)
            }
        }
    }

    /// Takes the grant away; the annotations say whether anything had to be done.
    ///
    /// # Errors
    /// As [`Connector::grant`].
    pub async fn revoke(&self, caller: &Caller, grant: Option<&Grant>) -> Result<Vec<Any>, Error> {
        let (entitlement, principal) =
            grant.map(|grant| (grant.entitlement.as_ref(), grant.principal.as_ref())).unwrap_or_default();
        let record = Record::begin("revoke", caller, target(entitlement), holder(principal));
        let revoked = async {
            self.gate()?;
            let grant = grant.ok_or(Error::Missing { field: "grant" })?;
            let (syncer, asked) = self.asked(grant.entitlement.as_ref(), grant.principal.as_ref())?;
            persistently!(syncer.revoke(&self.context, &asked).await)
        };
        match revoked.await {
            Ok(Revoked { done, annotations }) => {
                record.done(&done);
                Ok(annotations)
            }
            Err(error) => {
                record.failed(&error);
                Err(error)
            }
        }
    }

    fn asked<'a>(
        &self,
        entitlement: Option<&'a Entitlement>,
        principal: Option<&'a Resource>,
    ) -> Result<(&dyn ResourceSyncer, Asked<'a>), Error> {
        let entitlement = entitlement.ok_or(Error::Missing { field: "entitlement" })?;
        let on = Identified::of(entitlement.resource.as_ref())?;
        let principal = principal.ok_or(Error::Missing { field: "principal" })?;
        let principal = principal.id.as_ref().ok_or(Error::Missing { field: "principal.id" })?;
        if ResourceKind::from_type_id(&on.id.resource_type).is_none() {
            return Err(Error::NotImplemented { what: NOTHING_TO_GRANT });
        }
        let syncer = self.syncer(&on.id.resource_type)?;
        Ok((syncer, Asked { on, entitlement, principal }))
    }
}

/// The entitlement as the record names it, also of a change that is refused; empty when it is none of ours.
fn target(entitlement: Option<&Entitlement>) -> String {
    let Some(Entitlement { id, .. }) = entitlement else { return String::new() };
    let of_group = ids::parse_group_entitlement(id).map(|(group, role)| group_entitlement(group, role));
    let of_page =
        || ids::parse_page_entitlement(id).map(|(page, family, level)| page_entitlement(page, family, level));
    of_group.or_else(|_| of_page()).unwrap_or_default()
}

/// The principal as the record names it.
fn holder(principal: Option<&Resource>) -> String {
    let Some(id) = principal.and_then(|principal| principal.id.as_ref()) else { return String::new() };
    match ResourceKind::from_type_id(&id.resource_type) {
        Some(ResourceKind::User) => ids::parse::<UserId>(id).map(|user| Spelled(user).to_string()),
        Some(ResourceKind::Group) => ids::parse::<GroupId>(id).map(|group| Spelled(group).to_string()),
        _ => return String::new(),
    }
    .unwrap_or_default()
}

fn is_passing(error: &DatabaseError) -> bool {
    matches!(
        error,
        DatabaseError::Postgres(
            PostgresError::Connect { .. }
                | PostgresError::StillConnecting { .. }
                | PostgresError::Interrupted { .. }
                | PostgresError::Uncertain { .. }
        )
    )
}

// ===== impl Asked =====

impl Asked<'_> {
    /// Makes sure that the entitlement lies on the resource that comes with it, and that a slug that comes
    /// with it is its own (D9).
    pub(super) fn cross_check<T: Identity + PartialEq>(&self, key: T, slug: &str) -> Result<(), Error> {
        if ids::parse::<T>(self.on.id)? != key {
            let problem = ArgumentProblem::OtherResource {
                entitlement: self.entitlement.id.as_str().into(),
                resource: self.on.id.resource.as_str().into(),
            };
            return Err(Error::Argument { field: "entitlement.id", problem });
        }
        if !self.entitlement.slug.is_empty() && self.entitlement.slug != slug {
            let problem = ArgumentProblem::WrongSlug {
                given: self.entitlement.slug.as_str().into(),
                entitlement: self.entitlement.id.as_str().into(),
                slug: slug.to_owned(),
            };
            return Err(Error::Argument { field: "entitlement.slug", problem });
        }
        Ok(())
    }

    /// Whether the principal is of that type.
    pub(super) fn is_for(&self, kind: ResourceKind) -> bool {
        self.principal.resource_type == kind.type_id()
    }

    /// The principal, which has to be of type `T` (D7).
    pub(super) fn principal<T: Identity>(&self) -> Result<T, Error> {
        if !self.is_for(T::KIND) {
            let problem = ArgumentProblem::WrongPrincipal {
                entitlement: self.entitlement.id.as_str().into(),
                given: self.principal.resource_type.as_str().into(),
                expected: T::KIND.type_id(),
            };
            return Err(Error::Argument { field: "principal.id", problem });
        }
        ids::parse(self.principal)
    }

    /// The grant of the entitlement to the principal, as a listing of the resource shows it.
    pub(super) fn grant(&self, id: String, annotations: Vec<Any>) -> Grant {
        Grant {
            id,
            entitlement: Some(Entitlement {
                id: self.entitlement.id.clone(),
                resource: Some(self.on.resource.clone()),
                ..Default::default()
            }),
            principal: Some(Resource {
                id: Some(ResourceId {
                    resource_type: self.principal.resource_type.clone(),
                    resource: self.principal.resource.clone(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            annotations,
            ..Default::default()
        }
    }
}

// ===== impl Context =====

impl Context {
    /// The answer to a Grant that ended like this.
    pub(super) fn granted<T: PartialEq>(
        &self,
        changed: &Changed<T>,
        words: (&'static str, &'static str),
        grants: Vec<Grant>,
    ) -> Granted {
        let mut annotations = Vec::new();
        if !changed.is_change() {
            annotations.push(any(&GrantAlreadyExists {}));
        }
        let done = self.done(changed, words, &mut annotations);
        Granted { done, grants, annotations }
    }

    /// The answer to a Revoke that ended like this.
    pub(super) fn revoked<T: PartialEq>(
        &self,
        changed: &Changed<T>,
        words: (&'static str, &'static str),
    ) -> Revoked {
        let mut annotations = Vec::new();
        if !changed.is_change() {
            annotations.push(any(&GrantAlreadyRevoked {}));
        }
        let done = self.done(changed, words, &mut annotations);
        Revoked { done, annotations }
    }

    fn done<T: PartialEq>(
        &self,
        changed: &Changed<T>,
        (before, after): (&'static str, &'static str),
        annotations: &mut Vec<Any>,
    ) -> Done {
        if self.dry_run {
            let would = match (changed.is_change(), before == after) {
                (false, _) => "change nothing".to_owned(),
                (true, false) => format!("change the principal's access from {before} to {after}"),
                (true, true) => {
                    format!("take one way away; the principal's {after} access remains by others")
                }
            };
            annotations.push(dry_run(&would));
        }
        let outcome = match (changed.is_change(), self.dry_run) {
            (false, _) => Outcome::Unchanged,
            (true, false) => Outcome::Changed,
            (true, true) => Outcome::DryRun,
        };
        Done { outcome, before, after }
    }
}
