//! The parsed request of Grant or Revoke.

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
    /// The entitlement's id; `None` if it is not the id of a grantable entitlement.
    pub(crate) entitlement_id: Option<EntitlementId>,
    entitlement: &'a Entitlement,
    principal: &'a ResourceId,
}

impl<'a> ChangeRequest<'a> {
    /// Reads a request. `entitlement_id` is the parsed id of the entitlement.
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

    /// The error for an entitlement that the resource does not have. `known` lists the entitlements that it
    /// has, with `<id>` for the id of the resource.
    pub(crate) fn unknown_entitlement<T: Identity>(&self, known: &str) -> Error {
        let given = self.entitlement.id.as_str().into();
        let resource = format!("{} {}", self.on.id.resource_type, self.on.id.resource).into();
        let known = match ids::parse::<T>(self.on.id) {
            Ok(_) => known.replace("<id>", &self.on.id.resource),
            Err(_) => known.to_owned(),
        };
        Error::Argument {
            field: "entitlement.id",
            problem: ArgumentProblem::UnknownEntitlement { given, resource, known },
        }
    }

    /// Verifies that the entitlement is on the resource in the request, and that the request's slug, if any,
    /// is the entitlement's slug (decision right-target).
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

    /// Verifies that the id of a grant, if any, matches its entitlement and principal. Otherwise another
    /// grant than the caller intends could be revoked.
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

    /// Whether the principal has this type.
    pub(crate) fn is_for(&self, kind: ResourceKind) -> bool {
        self.principal.resource_type == kind.type_id()
    }

    /// The principal, which must be of type `T`.
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
