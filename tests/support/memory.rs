//! A storage for syncs in memory that tests can inspect, with all checkpoints.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use baton_retool::agent::c1z::Expanded;
use baton_retool::agent::sync::{Kind, Page, Started, Storage, StorageError};
use baton_retool::proto::connector::{Entitlement, Grant, Resource, ResourceId, ResourceType};

use tokio_util::sync::CancellationToken;

use super::scripted::name;

/// The id of every sync.
pub(crate) const SYNC_ID: &str = "0ujtsYcgvSTl8PAuAdqWYSMnLOv";

/// A storage for one sync.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) kind: Option<Kind>,
    pub(crate) types: Rows<ResourceType>,
    pub(crate) resources: Rows<Resource>,
    pub(crate) entitlements: Rows<Entitlement>,
    pub(crate) grants: Rows<Grant>,
    pub(crate) checkpoints: Vec<String>,
    pub(crate) collected: bool,
    pub(crate) expanded: bool,
    pub(crate) finished: Option<String>,
    /// The token of the sync to continue; `None` for a new sync.
    pub(crate) unfinished: Option<String>,
    /// The number of rows per page; 0 for all.
    pub(crate) page: usize,
    /// A token that is cancelled in the middle of the expansion.
    pub(crate) cancelled_in_expansion: Option<CancellationToken>,
    /// The error of writing grants, if any.
    pub(crate) broken: Option<&'static str>,
}

/// Rows in the order of their arrival, each with its id.
#[derive(Debug)]
pub(crate) struct Rows<T> {
    rows: Vec<(String, T)>,
    at: BTreeMap<String, usize>,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), at: BTreeMap::new() }
    }
}

impl<T: Clone> Rows<T> {
    fn put(&mut self, id: String, row: T) {
        match self.at.get(&id) {
            Some(&index) => self.rows[index].1 = row,
            None => {
                self.at.insert(id.clone(), self.rows.len());
                self.rows.push((id, row));
            }
        }
    }

    fn remove(&mut self, id: &str) {
        self.rows.retain(|(there, _)| there != id);
        self.at = self.rows.iter().enumerate().map(|(index, (id, _))| (id.clone(), index)).collect();
    }

    pub(crate) fn get(&self, id: &str) -> Option<&T> {
        self.at.get(id).map(|&index| &self.rows[index].1)
    }

    /// Their ids, sorted.
    pub(crate) fn ids(&self) -> Vec<&str> {
        self.at.keys().map(String::as_str).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    fn page(&self, cursor: &str, size: usize, wanted: impl Fn(&T) -> bool) -> Result<Page<T>, StorageError> {
        let from: usize = if cursor.is_empty() { 0 } else { cursor.parse().map_err(StorageError::new)? };
        let size = if size == 0 { usize::MAX } else { size };
        let to = from.saturating_add(size).min(self.rows.len());
        let rows = self.rows[from.min(to)..to].iter().map(|(_, row)| row).filter(|row| wanted(row)).cloned();
        let next = if to < self.rows.len() { to.to_string() } else { String::new() };
        Ok(Page { rows: rows.collect(), next })
    }
}

impl Memory {
    /// A storage with a sync to continue.
    pub(crate) fn resuming(token: &str) -> Self {
        Self { unfinished: Some(token.to_owned()), ..Self::default() }
    }

    /// The last checkpoint, decoded.
    pub(crate) fn checkpoint(&self) -> serde_json::Value {
        serde_json::from_str(self.checkpoints.last().expect("there was a checkpoint")).unwrap()
    }
}

impl Storage for Memory {
    fn start(&mut self, kind: Kind, resumes: &dyn Fn(&str) -> bool) -> Result<Started, StorageError> {
        self.kind = Some(kind);
        let unfinished = self.unfinished.take().filter(|token| resumes(token));
        let resumed = unfinished.is_some();
        Ok(Started {
            sync_id: SYNC_ID.to_owned(),
            token: unfinished.unwrap_or_default(),
            started_at: "2026-01-02 03:04:05".to_owned(),
            resumed,
        })
    }

    fn put_resource_types(&mut self, resource_types: &[ResourceType]) -> Result<(), StorageError> {
        resource_types.iter().for_each(|one| self.types.put(one.id.clone(), one.clone()));
        Ok(())
    }

    fn put_resources(&mut self, resources: &[Resource]) -> Result<(), StorageError> {
        resources.iter().for_each(|one| self.resources.put(name(one.id.as_ref()), one.clone()));
        Ok(())
    }

    fn put_entitlements(&mut self, entitlements: &[Entitlement]) -> Result<(), StorageError> {
        entitlements.iter().for_each(|one| self.entitlements.put(one.id.clone(), one.clone()));
        Ok(())
    }

    fn put_grants(&mut self, grants: Vec<Grant>) -> Result<(), StorageError> {
        if let Some(broken) = self.broken {
            return Err(StorageError::new(broken));
        }
        grants.into_iter().for_each(|one| self.grants.put(one.id.clone(), one));
        Ok(())
    }

    fn delete_grants(&mut self, ids: &[String]) -> Result<(), StorageError> {
        ids.iter().for_each(|id| self.grants.remove(id));
        Ok(())
    }

    fn resource_types(&mut self) -> Result<Vec<ResourceType>, StorageError> {
        Ok(self.types.rows.iter().map(|(_, one)| one.clone()).collect())
    }

    fn resource(&mut self, id: &ResourceId) -> Result<Option<Resource>, StorageError> {
        Ok(self.resources.get(&name(Some(id))).cloned())
    }

    fn resources(
        &mut self,
        resource_type: Option<&str>,
        cursor: &str,
    ) -> Result<Page<Resource>, StorageError> {
        self.resources.page(cursor, self.page, |one| {
            resource_type.is_none_or(|of| one.id.as_ref().is_some_and(|id| id.resource_type == of))
        })
    }

    fn entitlements(&mut self, cursor: &str) -> Result<Page<Entitlement>, StorageError> {
        self.entitlements.page(cursor, self.page, |_| true)
    }

    fn has_entitlement(&mut self, id: &str) -> Result<bool, StorageError> {
        Ok(self.entitlements.get(id).is_some())
    }

    fn grants(&mut self, cursor: &str) -> Result<Page<Grant>, StorageError> {
        self.grants.page(cursor, self.page, |_| true)
    }

    fn checkpoint(&mut self, token: &str) -> Result<(), StorageError> {
        self.checkpoints.push(token.to_owned());
        Ok(())
    }

    fn collected(&mut self) -> Result<(), StorageError> {
        self.collected = true;
        Ok(())
    }

    fn expand(
        &mut self,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Option<Expanded>, StorageError> {
        if let Some(stop) = &self.cancelled_in_expansion {
            stop.cancel();
        }
        if progress(1, 2).is_break() {
            return Ok(None);
        }
        self.expanded = true;
        Ok(Some(Expanded::default()))
    }

    fn finish(&mut self, token: &str) -> Result<(), StorageError> {
        self.finished = Some(token.to_owned());
        Ok(())
    }
}
