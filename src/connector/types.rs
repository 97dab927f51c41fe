//! The resource types of this connector, one file each.

pub(crate) mod group;
pub(crate) mod organization;
pub(crate) mod page;
pub(crate) mod resource;
pub(crate) mod user;

use crate::connector::resource_type::ResourceSyncer;
use crate::connector::types::group::Groups;
use crate::connector::types::organization::Organizations;
use crate::connector::types::page::Pages;
use crate::connector::types::resource::Resources;
use crate::connector::types::user::Users;
use crate::retool::privileges::Scope;

/// The resource types that are read in this scope, in the order in which they are listed
/// (decision type-order).
pub(crate) fn of_scope(scope: Scope) -> Vec<Box<dyn ResourceSyncer>> {
    let types: [(bool, Box<dyn ResourceSyncer>); 5] = [
        (true, Box::new(Organizations)),
        (true, Box::new(Users)),
        (true, Box::new(Groups)),
        (!scope.skip_pages, Box::new(Pages)),
        (!scope.skip_resources, Box::new(Resources)),
    ];
    types.into_iter().filter_map(|(read, syncer)| read.then_some(syncer)).collect()
}
