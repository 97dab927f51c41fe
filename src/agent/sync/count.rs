//! A storage that counts rows and discards them, to measure a connector and the cost of reading it.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use svix_ksuid::{Ksuid, KsuidLike};
use tonic::transport::Channel;

use crate::agent::c1z::Expanded;
use crate::agent::sync::storage::{Kind, Page, Started, Storage, StorageError};
use crate::agent::sync::{Counts, Error, Options, Outcome, Syncer};
use crate::proto::connector::{Entitlement, Grant, Resource, ResourceId, ResourceType};

/// How many resources a page has.
const PAGE: usize = 10_000;

/// The result of a walk.
#[derive(Debug, Clone, Default)]
pub struct Walk {
    /// The resource types in the connector's order, with their counts.
    pub types: Vec<(ResourceType, Counts)>,
    /// How many calls were made.
    pub calls: u64,
    /// How long it took, from before Validate to after Cleanup.
    pub elapsed: Duration,
    /// How long Validate took.
    pub validate: Duration,
    /// The largest response in bytes.
    pub largest_answer: usize,
}

/// Receives every row of a walk. Its methods are called on another thread than the walk's.
pub trait Visitor: Send + 'static {
    /// Called for each listed resource.
    fn resource(&mut self, _resource: &Resource) {}
    /// Called for each listed entitlement.
    fn entitlement(&mut self, _entitlement: &Entitlement) {}
    /// Called for each listed grant.
    fn grant(&mut self, _grant: &Grant) {}
    /// Called after each response with the counts up to now.
    fn progress(&mut self, _phase: &'static str, _met: Counts) {}
}

/// A visitor that does nothing, for walks that only count.
#[derive(Debug, Clone, Copy, Default)]
pub struct CountOnly;

impl Visitor for CountOnly {}

/// Reads everything once and returns the counts and the visitor.
///
/// # Errors
/// The errors of a sync.
pub async fn walk<V: Visitor>(channel: Channel, visitor: V) -> Result<(Walk, V), Error> {
    let options = Options { measure_answers: true, ..Options::default() };
    let (outcome, tally) = Syncer::new(channel, options).run(Tally::new(visitor)).await;
    let Outcome { types: counts, calls, elapsed, validate, largest_answer, .. } = outcome?;
    let tally = tally.ok_or(Error::StorageLost)?;
    let counts: HashMap<String, Counts> = counts.into_iter().collect();
    let with_counts = |one: ResourceType| {
        let counts = counts.get(&one.id).copied().unwrap_or_default();
        (one, counts)
    };
    let types = tally.types.into_iter().map(with_counts).collect();
    Ok((Walk { types, calls, elapsed, validate, largest_answer }, tally.visitor))
}

/// Keeps the resource types and resources, which a sync reads again, and passes every row to a visitor.
#[derive(Debug)]
struct Tally<V> {
    types: Vec<ResourceType>,
    resources: Vec<Arc<Resource>>,
    at: HashMap<(String, String), usize>,
    met: Counts,
    visitor: V,
}

impl<V> Tally<V> {
    fn new(visitor: V) -> Self {
        Self { types: Vec::new(), resources: Vec::new(), at: HashMap::new(), met: Counts::default(), visitor }
    }
}

fn key(id: &ResourceId) -> (String, String) {
    (id.resource_type.clone(), id.resource.clone())
}

fn nothing<T>() -> Page<T> {
    Page { rows: Vec::new(), next: String::new() }
}

impl<V: Visitor> Storage for Tally<V> {
    fn start(&mut self, _: Kind, _: &dyn Fn(&str) -> bool) -> Result<Started, StorageError> {
        Ok(Started {
            sync_id: Ksuid::new(None::<time::OffsetDateTime>, None).to_string(),
            token: String::new(),
            started_at: String::new(),
            resumed: false,
        })
    }

    fn put_resource_types(&mut self, resource_types: &[ResourceType]) -> Result<(), StorageError> {
        for one in resource_types {
            match self.types.iter_mut().find(|there| there.id == one.id) {
                Some(there) => there.clone_from(one),
                None => self.types.push(one.clone()),
            }
        }
        Ok(())
    }

    fn put_resources(&mut self, resources: &[Resource]) -> Result<(), StorageError> {
        self.met.resources += resources.len() as u64;
        for resource in resources {
            self.visitor.resource(resource);
            let key = key(&resource.id.clone().unwrap_or_default());
            let index = *self.at.entry(key).or_insert(self.resources.len());
            match self.resources.get_mut(index) {
                Some(there) => *there = Arc::new(resource.clone()),
                None => self.resources.push(Arc::new(resource.clone())),
            }
        }
        self.visitor.progress("resources", self.met);
        Ok(())
    }

    fn put_entitlements(&mut self, entitlements: &[Entitlement]) -> Result<(), StorageError> {
        self.met.entitlements += entitlements.len() as u64;
        entitlements.iter().for_each(|entitlement| self.visitor.entitlement(entitlement));
        self.visitor.progress("entitlements", self.met);
        Ok(())
    }

    fn put_grants(&mut self, grants: Vec<Grant>) -> Result<(), StorageError> {
        self.met.grants += grants.len() as u64;
        grants.iter().for_each(|grant| self.visitor.grant(grant));
        self.visitor.progress("grants", self.met);
        Ok(())
    }

    fn delete_grants(&mut self, _: &[String]) -> Result<(), StorageError> {
        Ok(())
    }

    fn resource_types(&mut self) -> Result<Vec<ResourceType>, StorageError> {
        Ok(self.types.clone())
    }

    fn resource(&mut self, id: &ResourceId) -> Result<Option<Resource>, StorageError> {
        let resource = self.at.get(&key(id)).and_then(|&index| self.resources.get(index));
        Ok(resource.map(|resource| Resource::clone(resource)))
    }

    fn resources(
        &mut self,
        resource_type: Option<&str>,
        cursor: &str,
    ) -> Result<Page<Resource>, StorageError> {
        let from: usize = if cursor.is_empty() { 0 } else { cursor.parse().map_err(StorageError::new)? };
        let to = from.saturating_add(PAGE).min(self.resources.len());
        let wanted = |resource: &Resource| {
            resource_type.is_none_or(|of| resource.id.as_ref().is_some_and(|id| id.resource_type == of))
        };
        let page = self.resources.get(from..to).unwrap_or_default();
        let rows = page.iter().filter(|resource| wanted(resource)).map(|resource| Resource::clone(resource));
        let next = if to < self.resources.len() { to.to_string() } else { String::new() };
        Ok(Page { rows: rows.collect(), next })
    }

    fn entitlements(&mut self, _: &str) -> Result<Page<Entitlement>, StorageError> {
        Ok(nothing())
    }

    fn has_entitlement(&mut self, _: &str) -> Result<bool, StorageError> {
        Ok(false)
    }

    fn grants(&mut self, _: &str) -> Result<Page<Grant>, StorageError> {
        Ok(nothing())
    }

    fn checkpoint(&mut self, _: &str) -> Result<(), StorageError> {
        Ok(())
    }

    fn collected(&mut self) -> Result<(), StorageError> {
        Ok(())
    }

    fn expand(
        &mut self,
        _: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Option<Expanded>, StorageError> {
        Ok(Some(Expanded::default()))
    }

    fn finish(&mut self, _: &str) -> Result<(), StorageError> {
        Ok(())
    }
}
