//! A request to grant or revoke, read once.

use crate::connector::error::{ArgumentProblem, Error};
use crate::connector::identified::Identified;
use crate::connector::ids::{self, EntitlementId};
use crate::connector::resource_kind::{Identity, ResourceKind};
use crate::proto::connector::{Entitlement, Grant, Resource, ResourceId};

use prost_types::Any;

/// A request to grant or revoke an entitlement.
pub(crate) struct ChangeRequest<'a> {
    /// The resource that the entitlement is on.
    pub(crate) on: Identified<'a>,
    /// The entitlement's id; `None` when it is none of an entitlement that can be granted.
    pub(crate) entitlement_id: Option<EntitlementId>,
    entitlement: &'a Entitlement,
    principal: &'a ResourceId,
}

impl<'a> ChangeRequest<'a> {
    /// Reads a request. `entitlement_id` is what the entitlement's id says.
    ///
    /// # Errors
    /// [`Error::Missing`]
    pub(crate) fn new(
        entitlement: Option<&'a Entitlement>,
        entitlement_id: Option<EntitlementId>,
        principal: Option<&'a Resource>,
    ) -> Result<Self, Error> {
        let entitlement = entitlement.ok_or(Error::Missing { field: "entitlement" })?;
        let on = Identified::of(entitlement.resource.as_ref())?;
        let principal = principal.ok_or(Error::Missing { field: "principal" })?;
        let principal = principal.id.as_ref().ok_or(Error::Missing { field: "principal.id" })?;
        Ok(Self { on, entitlement_id, entitlement, principal })
    }

    /// The error for an entitlement that the resource does not have; `known` are those that it has, with `<id>` for
    /// the id of the resource.
    pub(crate) fn unknown_entitlement<T: Identity>(&self, known: &str) -> Error {
        let given = self.entitlement.id.as_str().into();
        let known = match ids::parse::<T>(self.on.id) {
            Ok(_) => known.replace("<id>", &self.on.id.resource),
            Err(_) => known.to_owned(),
        };
        Error::Argument {
            field: "entitlement.id",
            problem: ArgumentProblem::UnknownEntitlement { given, known },
        }
    }

    /// Makes sure that the entitlement lies on the resource that comes with it, and that a slug that comes
    /// with it is its own.
    ///
    /// # Errors
    /// [`Error::Argument`], [`Error::MalformedId`]
    pub(crate) fn cross_check<T: Identity>(&self, key: T, slug: &str) -> Result<(), Error> {
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

    /// Makes sure that the id of a grant, where it has one, is that of its entitlement and principal: one that names
    /// something else would be revoked without being what the caller means.
    ///
    /// # Errors
    /// [`Error::Argument`]
    pub(crate) fn check_grant_id(&self, given: &str) -> Result<(), Error> {
        let Some(entitlement) = self.entitlement_id else { return Ok(()) };
        let expected = entitlement.grant_id(&entitlement.to_string(), self.principal);
        if given.is_empty() || given == expected {
            return Ok(());
        }
        let problem = ArgumentProblem::OtherGrant { given: given.into(), expected: expected.into() };
        Err(Error::Argument { field: "grant.id", problem })
    }

    /// Whether the principal is of that type.
    pub(crate) fn is_for(&self, kind: ResourceKind) -> bool {
        self.principal.resource_type == kind.type_id()
    }

    /// The principal, which has to be of type `T`.
    ///
    /// # Errors
    /// [`Error::Argument`], [`Error::MalformedId`]
    pub(crate) fn principal<T: Identity>(&self) -> Result<T, Error> {
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

    /// The grant of `entitlement` to the principal, as a listing of the resource shows it.
    pub(crate) fn grant(&self, entitlement: EntitlementId, annotations: Vec<Any>) -> Grant {
        let entitlement_id = entitlement.to_string();
        Grant {
            id: entitlement.grant_id(&entitlement_id, self.principal),
            entitlement: Some(Entitlement {
                id: entitlement_id,
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
