//! A full sync: reads everything into a file and uploads the file.

use std::fs::File;
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::agent::c1z::{self, Store, StoreOptions, Workspace};
use crate::agent::service::context::Context;
use crate::agent::service::debug_log::DebugLog;
use crate::agent::service::heartbeat::{self, Heartbeats, NotBegun};
use crate::agent::service::outcome::{Failure, Outcome};
use crate::agent::service::tasks::ended::Ended;
use crate::agent::service::upload::{UploadError, upload};
use crate::agent::sync::{Error, Options, Syncer, Target};
use crate::numbers::log_seconds;
use crate::private_text::reveal;
use crate::proto::connector::Resource;
use crate::proto::connectorapi::task::SyncFullTask;
use crate::telemetry::debug_log::Writing;

/// The name of the file, which is in its own folder.
const FILE: &str = "sync.c1z";

/// The reason why there is no file to upload.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("{0}")]
    Read(#[from] Error),
    #[error("{0}")]
    Write(#[from] c1z::Error),
    #[error("{0}")]
    Broken(String),
}

/// Reads everything and uploads it. Heartbeats continue until the result is reported.
pub(super) async fn full(
    context: &Context,
    task_id: &str,
    task: SyncFullTask,
    debug: Option<&Writing>,
) -> Ended {
    let stop = context.stop.child_token();
    let heartbeats = match Heartbeats::begin(&context.api, task_id, stop.clone()).await {
        Ok(heartbeats) => heartbeats,
        Err(NotBegun::Stopped) => return Failure::cancelled().into(),
        Err(error) => return Outcome::Unreported(error.to_string()).into(),
    };
    let work = async {
        let (file, _folder) = read(context, task_id, task, stop.clone()).await.map_err(failure)?;
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(Failure::cancelled()),
            uploaded = send(context, task_id, &file, debug) => uploaded,
        }
    };
    let outcome = match (work.await, heartbeats.ended()) {
        (Ok(()), _) => Outcome::done(),
        (Err(_), Some(heartbeat::Ended::Missed)) => Failure::plain("task failed heartbeat").into(),
        (Err(failure), _) => failure.into(),
    };
    Ended { outcome, until_reported: Some(heartbeats) }
}

/// Reads everything into a file. The folder of the file is removed when the workspace is dropped.
async fn read(
    context: &Context,
    task_id: &str,
    task: SyncFullTask,
    stop: CancellationToken,
) -> Result<(PathBuf, Workspace), SyncError> {
    if !task.storage_engine.is_empty() && task.storage_engine != "sqlite" {
        tracing::debug!(
            task_id,
            engine = task.storage_engine,
            "the requested storage engine is not supported; the file is written with sqlite"
        );
    }
    let asked_for = task.targeted_sync_resources.len();
    let by_setting = task.sync_resource_type_ids.is_empty();
    let options =
        Options { skip_full_sync: context.sync.skip_full_sync, ..options(&context.sync.options, task) };
    if asked_for > 0 && options.targets.is_empty() {
        return Err(SyncError::Broken("none of the resources to sync has an id".to_owned()));
    }
    if options.wants_no_target() {
        // An empty sync would say that the resources do not exist.
        let types = if by_setting { "--sync-resource-types" } else { "the types of the task" };
        return Err(SyncError::Broken(format!("{types} leave out all resources of this targeted sync")));
    }
    let temp_dir = context.sync.temp_dir.clone();
    let opened = blocking(move || {
        let folder = Workspace::create(temp_dir.as_deref())?;
        let options = StoreOptions { temp_dir, ..StoreOptions::new(folder.file(FILE)) };
        Ok((Store::open(&options)?, folder))
    });
    let (store, folder) = opened.await?;
    let syncer = Syncer::new(context.connector.clone(), options).stopped_by(stop);
    let (outcome, store) = syncer.run(store).await;
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            // Removing large files takes a while.
            blocking(move || {
                drop((store, folder));
                Ok(())
            })
            .await?;
            return Err(error.into());
        }
    };
    let store = store.ok_or_else(|| SyncError::Broken("the storage stopped unexpectedly".to_owned()))?;
    let saved = blocking(move || Ok(store.close()?)).await?;
    let saved = saved.ok_or_else(|| SyncError::Broken("the sync produced nothing to upload".to_owned()))?;
    tracing::info!(
        task_id,
        sync_id = outcome.sync_id,
        seconds = log_seconds(outcome.elapsed),
        calls = outcome.calls,
        warnings = outcome.warnings,
        grants = saved.grants,
        size = saved.bytes,
        "sync complete"
    );
    Ok((saved.path, folder))
}

/// Uploads the file and, if there is one, the debug log after it.
async fn send(context: &Context, task_id: &str, file: &Path, debug: Option<&Writing>) -> Result<(), Failure> {
    let failed = |error: UploadError| match &error {
        UploadError::Api(api) => match api.code() {
            Some(code) => Failure::of_status(&tonic::Status::new(code, reveal(&error))),
            None => Failure::plain(error.to_string()),
        },
        UploadError::File(_) | UploadError::Early => Failure::plain(error.to_string()),
    };
    let opened = File::open(file).map_err(|error| failed(error.into()))?;
    let bytes = upload(&context.api, task_id, &opened).await.map_err(failed)?;
    tracing::info!(task_id, size = bytes, "upload complete");
    if let Some(log) = DebugLog::left_in(context.sync.temp_dir.as_deref()) {
        match upload(&context.api, task_id, log.file()).await {
            // A log that cannot be read is no reason to discard the sync.
            Err(UploadError::File(error)) => {
                tracing::warn!(task_id, path = %log.path().display(), %error, "cannot read a debug log");
            }
            Err(error) => return Err(failed(error)),
            Ok(_) => {
                if let Some(writing) = debug {
                    log.remove_if_of(writing);
                }
            }
        }
    }
    Ok(())
}

/// The options of the task, and the settings for everything that the task does not specify.
fn options(settings: &Options, task: SyncFullTask) -> Options {
    let SyncFullTask {
        skip_expand_grants,
        skip_entitlements_and_grants,
        targeted_sync_resources,
        sync_resource_type_ids,
        skip_grants,
        ..
    } = task;
    let resource_types = if sync_resource_type_ids.is_empty() {
        settings.resource_types.clone()
    } else {
        sync_resource_type_ids
    };
    Options {
        workers: settings.workers,
        source: settings.source.clone(),
        external: settings.external.clone(),
        skip_full_sync: false,
        resource_types,
        targets: targeted_sync_resources.into_iter().filter_map(target).collect(),
        skip_entitlements_and_grants,
        skip_grants,
        skip_expansion: skip_expand_grants,
        measure_answers: false,
    }
}

fn target(resource: Resource) -> Option<Target> {
    Some(Target { resource: resource.id?, parent: resource.parent_resource_id })
}

/// The failure of a sync. The error of a call keeps its code.
fn failure(error: SyncError) -> Failure {
    match &error {
        SyncError::Read(Error::Stopped) => Failure::cancelled(),
        SyncError::Read(Error::UnknownResourceType(name, _)) => {
            Failure::plain(format!("invalid resource type '{name}' in filter: {}", reveal(&error)))
        }
        SyncError::Read(read) => match read.status() {
            Some(status) => Failure::of_call(status),
            None => logged(&error),
        },
        SyncError::Write(_) | SyncError::Broken(_) => logged(&error),
    }
}

fn logged(error: &SyncError) -> Failure {
    tracing::error!(%error, "the sync failed");
    Failure::plain(reveal(error))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SyncError> + Send + 'static,
) -> Result<T, SyncError> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(SyncError::Broken(error.to_string())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::agent::sync::{Subject, Workers};
    use crate::proto::connector::ResourceId;

    #[test]
    fn the_task_sets_the_scope_and_the_settings_the_workers() {
        let settings = Options {
            workers: Workers::Count(3),
            resource_types: vec!["user".to_owned()],
            skip_entitlements_and_grants: true,
            skip_grants: true,
            ..Default::default()
        };
        let plain = options(&settings, SyncFullTask::default());
        assert_eq!((plain.workers, plain.resource_types), (Workers::Count(3), vec!["user".to_owned()]));
        // These are options of a one-shot sync.
        assert!(!plain.skip_entitlements_and_grants && !plain.skip_grants && plain.targets.is_empty());
        let id =
            ResourceId { resource_type: "group".to_owned(), resource: "g1".to_owned(), ..Default::default() };
        let task = SyncFullTask {
            skip_expand_grants: true,
            skip_entitlements_and_grants: true,
            skip_grants: true,
            targeted_sync_resources: vec![
                Resource { id: Some(id.clone()), ..Default::default() },
                Resource::default(),
            ],
            sync_resource_type_ids: vec!["group".to_owned()],
            ..Default::default()
        };
        let asked = options(&settings, task);
        assert!(asked.skip_expansion && asked.skip_entitlements_and_grants && asked.skip_grants);
        assert_eq!(asked.resource_types, ["group"]);
        assert_eq!(asked.targets, [Target { resource: id, parent: None }]);
    }

    #[test]
    fn a_failed_call_keeps_its_code() {
        let status = Box::new(tonic::Status::internal("broken"));
        let call = Error::Call { method: "ListGrants", target: Subject::resource("page", "p1"), status };
        let failed = failure(call.into());
        assert_eq!((failed.code(), failed.is_final()), (Code::Internal, false));
        assert_eq!(failure(Error::Stopped.into()), Failure::cancelled());
        let other = failure(Error::UnknownResourceType("nope".to_owned(), "user".to_owned()).into());
        assert_eq!(other.code(), Code::Unknown);
    }
}
