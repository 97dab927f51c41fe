//! Implements the storage of a sync with a c1z file.

use std::ops::ControlFlow;

use crate::agent::c1z::{self, Error, Expanded, Order, RowId, Store, SyncKind};
use crate::agent::sync::storage::{Kind, Page, Started, Storage, StorageError};
use crate::proto::connector::{Entitlement, Grant, Resource, ResourceId, ResourceType};

/// How many rows a page has, as in the agents of the Go SDK.
const PAGE: usize = 10_000;

impl Storage for Store {
    fn start(&mut self, kind: Kind, resumes: &dyn Fn(&str) -> bool) -> Result<Started, StorageError> {
        let kind = match kind {
            Kind::Full => SyncKind::Full,
            Kind::Partial => SyncKind::Partial,
            Kind::ResourcesOnly => SyncKind::ResourcesOnly,
        };
        let c1z::Started { sync_id, token, started_at, resumed } = self.start_or_resume(kind, resumes)?;
        Ok(Started { sync_id, token, started_at, resumed })
    }

    fn put_resource_types(&mut self, resource_types: &[ResourceType]) -> Result<(), StorageError> {
        Ok(Store::put_resource_types(self, resource_types)?)
    }

    fn put_resources(&mut self, resources: &[Resource]) -> Result<(), StorageError> {
        Ok(Store::put_resources(self, resources)?)
    }

    fn put_entitlements(&mut self, entitlements: &[Entitlement]) -> Result<(), StorageError> {
        Ok(Store::put_entitlements(self, entitlements)?)
    }

    fn put_grants(&mut self, grants: Vec<Grant>) -> Result<(), StorageError> {
        Ok(Store::put_grants(self, grants)?)
    }

    fn delete_grants(&mut self, ids: &[String]) -> Result<(), StorageError> {
        Ok(self.remove_grants(ids)?)
    }

    fn resource_types(&mut self) -> Result<Vec<ResourceType>, StorageError> {
        Ok(Store::resource_types(self)?)
    }

    fn resource(&mut self, id: &ResourceId) -> Result<Option<Resource>, StorageError> {
        Ok(Store::resource(self, id)?)
    }

    fn resources(
        &mut self,
        resource_type: Option<&str>,
        cursor: &str,
    ) -> Result<Page<Resource>, StorageError> {
        let page = Store::resources(self, Order::Ascending, row(cursor)?, PAGE)?;
        let mut rows = page.rows;
        if let Some(of) = resource_type {
            rows.retain(|resource| resource.id.as_ref().is_some_and(|id| id.resource_type == of));
        }
        Ok(Page { rows, next: written(page.next) })
    }

    fn entitlements(&mut self, cursor: &str) -> Result<Page<Entitlement>, StorageError> {
        let page = Store::entitlements(self, row(cursor)?, PAGE)?;
        Ok(Page { rows: page.rows, next: written(page.next) })
    }

    fn has_entitlement(&mut self, id: &str) -> Result<bool, StorageError> {
        Ok(Store::has_entitlement(self, id)?)
    }

    fn grants(&mut self, cursor: &str) -> Result<Page<Grant>, StorageError> {
        let page = Store::grants(self, row(cursor)?, PAGE)?;
        Ok(Page { rows: page.rows, next: written(page.next) })
    }

    fn checkpoint(&mut self, token: &str) -> Result<(), StorageError> {
        Ok(Store::checkpoint(self, token)?)
    }

    fn collected(&mut self) -> Result<(), StorageError> {
        Ok(self.reach_expansion()?)
    }

    fn expand(
        &mut self,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Option<Expanded>, StorageError> {
        Ok(Store::expand(self, progress)?)
    }

    fn finish(&mut self, token: &str) -> Result<(), StorageError> {
        Ok(Store::finish(self, token)?)
    }
}

impl From<Error> for StorageError {
    fn from(error: Error) -> Self {
        Self::new(error)
    }
}

/// The row after which a page begins. A cursor names the first row that may be on the page.
fn row(cursor: &str) -> Result<Option<RowId>, StorageError> {
    if cursor.is_empty() {
        return Ok(None);
    }
    let number: i64 = cursor.parse().map_err(StorageError::new)?;
    Ok(Some(RowId::from_number(number.saturating_sub(1))))
}

fn written(next: Option<RowId>) -> String {
    next.map(|row| row.number().saturating_add(1).to_string()).unwrap_or_default()
}
