//! A resource embedded in a request.

use crate::connector::error::Error;
use crate::proto::connector::{Resource, ResourceId};

/// A resource from a request, with its id.
pub(crate) struct Identified<'a> {
    pub(crate) resource: &'a Resource,
    pub(crate) id: &'a ResourceId,
}

impl<'a> Identified<'a> {
    /// Reads the resource of a request.
    ///
    /// # Errors
    /// [`Error::Missing`]
    pub(crate) fn of(resource: Option<&'a Resource>) -> Result<Self, Error> {
        let resource = resource.ok_or(Error::Missing { field: "resource" })?;
        let id = resource.id.as_ref().ok_or(Error::Missing { field: "resource.id" })?;
        Ok(Self { resource, id })
    }
}
