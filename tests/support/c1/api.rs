//! The API: offers tasks and accepts their reports.

use std::sync::Arc;
use std::time::Duration;

use baton_retool::proto::connectorapi::baton_service_server::{BatonService, BatonServiceServer};
use baton_retool::proto::connectorapi::baton_service_upload_asset_request::Msg;
use baton_retool::proto::connectorapi::{
    BatonServiceFinishTaskRequest, BatonServiceFinishTaskResponse, BatonServiceGetTaskRequest,
    BatonServiceGetTaskResponse, BatonServiceGetTasksRequest, BatonServiceGetTasksResponse,
    BatonServiceHeartbeatRequest, BatonServiceHeartbeatResponse, BatonServiceHelloRequest,
    BatonServiceHelloResponse, BatonServiceUploadAssetRequest, BatonServiceUploadAssetResponse,
    StartDebuggingRequest, StartDebuggingResponse, Task,
};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status, Streaming};

use super::plan::SCRIPTED;
use super::{Call, Method, Shared, State, Upload};

/// The size of every piece of an upload, except the last.
const PIECE: usize = 512 * 1024;

pub(super) fn service(shared: Arc<Shared>) -> BatonServiceServer<Api> {
    BatonServiceServer::new(Api(shared))
}

pub(super) struct Api(Arc<Shared>);

impl Api {
    /// Records a call and checks what all calls have in common; then it may fail.
    fn begin<T>(
        &self,
        method: Method,
        request: &Request<T>,
        task_id: &str,
        host: &str,
    ) -> Result<(), Status> {
        self.note(method, request, task_id, host, None)
    }

    fn note<T>(
        &self,
        method: Method,
        request: &Request<T>,
        task_id: &str,
        host: &str,
        asked: Option<(u32, Vec<String>)>,
    ) -> Result<(), Status> {
        let mut state = self.0.lock();
        state.calls.push(Call { method, task_id: task_id.to_owned(), at: Instant::now(), asked });
        let header = |name: &str| {
            request.metadata().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let agent = header("user-agent");
        if !agent.starts_with("tall-tree-1 baton-sdk/v0.25.0 ") {
            state.faults.push(format!("{method:?}: the user agent is {agent:?}"));
        }
        let authorization = header("authorization");
        let known = authorization.split_once(' ').is_some_and(|(kind, token)| {
            let expected = match state.plan.token_type.to_lowercase().as_str() {
                "bearer" | "" => "Bearer",
                "mac" => "MAC",
                "basic" => "Basic",
                _ => state.plan.token_type.as_str(),
            };
            kind == expected && state.tokens.iter().any(|given| given == token)
        });
        if !known {
            state.faults.push(format!("{method:?}: no token that was given out"));
        }
        if host != state.plan.host {
            state.faults.push(format!("{method:?}: the host is {host:?}"));
        }
        let failure = state.plan.failure(method);
        drop(state);
        self.0.changed.notify_waiters();
        failure.map_or(Ok(()), Err)
    }

    /// If the plan requires it, waits for the end of these tasks, and then a little longer.
    async fn be_late(&self, open: Vec<String>) {
        if !self.0.lock().plan.answers_late || open.is_empty() {
            return;
        }
        self.0.until(|state| open.iter().all(|id| state.finished.contains_key(id)).then_some(())).await;
        // The delay of the answer; no check depends on it.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The offered tasks that are not finished.
fn open(state: &State) -> Vec<String> {
    state.offered.iter().filter(|id| !state.finished.contains_key(*id)).cloned().collect()
}

fn duration(given: Option<std::time::Duration>) -> Option<prost_types::Duration> {
    given.map(|given| prost_types::Duration::try_from(given).unwrap())
}

/// The next task. If the plan insists, every unfinished task is offered again.
fn next(state: &mut State, known: &[String]) -> Option<Task> {
    let insists = state.plan.insists;
    let open =
        |task: &Task, state: &State| !known.contains(&task.id) && !state.finished.contains_key(&task.id);
    let at = (0..state.queue.len()).find(|at| !insists || open(&state.queue[*at], state))?;
    let task = state.queue.remove(at)?;
    if insists {
        state.queue.push_back(task.clone());
    }
    state.offered.insert(task.id.clone());
    Some(task)
}

#[tonic::async_trait]
impl BatonService for Api {
    async fn hello(
        &self,
        request: Request<BatonServiceHelloRequest>,
    ) -> Result<Response<BatonServiceHelloResponse>, Status> {
        let hello = request.get_ref().clone();
        self.begin(Method::Hello, &request, &hello.task_id, &hello.host_id)?;
        self.0.lock().hellos.push(hello);
        self.0.changed.notify_waiters();
        Ok(Response::new(BatonServiceHelloResponse::default()))
    }

    async fn get_task(
        &self,
        request: Request<BatonServiceGetTaskRequest>,
    ) -> Result<Response<BatonServiceGetTaskResponse>, Status> {
        self.begin(Method::GetTask, &request, "", &request.get_ref().host_id)?;
        self.0.until(|state| (!state.plan.holds_polls).then_some(())).await;
        let (task, next_poll, open) = {
            let mut state = self.0.lock();
            let open = open(&state);
            (next(&mut state, &[]), duration(state.plan.next_poll), open)
        };
        self.be_late(open).await;
        Ok(Response::new(BatonServiceGetTaskResponse { task, next_poll, ..Default::default() }))
    }

    async fn get_tasks(
        &self,
        request: Request<BatonServiceGetTasksRequest>,
    ) -> Result<Response<BatonServiceGetTasksResponse>, Status> {
        let asked = request.get_ref().clone();
        let noted = Some((asked.page_size, asked.known_task_ids.clone()));
        self.note(Method::GetTasks, &request, "", &asked.host_id, noted)?;
        let mut tasks = Vec::new();
        let (next_poll, open) = {
            let mut state = self.0.lock();
            let open = open(&state);
            let mut known = asked.known_task_ids;
            while tasks.len() < asked.page_size as usize {
                let Some(task) = next(&mut state, &known) else { break };
                known.push(task.id.clone());
                tasks.push(task);
            }
            (duration(state.plan.next_poll), open)
        };
        self.be_late(open).await;
        Ok(Response::new(BatonServiceGetTasksResponse { tasks, next_poll, ..Default::default() }))
    }

    async fn heartbeat(
        &self,
        request: Request<BatonServiceHeartbeatRequest>,
    ) -> Result<Response<BatonServiceHeartbeatResponse>, Status> {
        let beat = request.get_ref();
        self.begin(Method::Heartbeat, &request, &beat.task_id, &beat.host_id)?;
        let state = self.0.lock();
        let of_task = |call: &&Call| call.method == Method::Heartbeat && call.task_id == beat.task_id;
        let number = state.calls.iter().filter(of_task).count();
        Ok(Response::new(BatonServiceHeartbeatResponse {
            next_heartbeat: duration(state.plan.next_heartbeat),
            cancelled: state.plan.cancels_at.is_some_and(|at| number >= at),
            ..Default::default()
        }))
    }

    async fn finish_task(
        &self,
        request: Request<BatonServiceFinishTaskRequest>,
    ) -> Result<Response<BatonServiceFinishTaskResponse>, Status> {
        let finished = request.get_ref().clone();
        self.begin(Method::FinishTask, &request, &finished.task_id, &finished.host_id)?;
        let mut state = self.0.lock();
        let id = finished.task_id.clone();
        if !state.offered.contains(&id) {
            state.faults.push(format!("{id} was never assigned"));
        }
        state.queue.retain(|task| task.id != id);
        if let Some(first) = state.finished.get(&id) {
            // A repeated report is equal to the first one; a task that ran twice has a different report.
            if !state.disturbed || *first != finished {
                state.faults.push(format!("{id} was finished twice"));
            }
            // The answer to the first report was lost with its connection.
            return Err(Status::not_found(SCRIPTED));
        }
        state.finished.insert(id, finished);
        let is_lost = state.plan.loses_reports > 0;
        if is_lost {
            state.plan.loses_reports -= 1;
            state.disturbed = true;
            state.serving.drain(..).for_each(|connection| connection.abort());
        }
        let is_hidden = state.plan.hides_reports > 0;
        if is_hidden {
            state.plan.hides_reports -= 1;
            state.disturbed = true;
        }
        drop(state);
        self.0.changed.notify_waiters();
        if is_hidden {
            return Err(Status::unavailable(SCRIPTED));
        }
        if is_lost {
            return Err(Status::aborted(SCRIPTED));
        }
        Ok(Response::new(BatonServiceFinishTaskResponse::default()))
    }

    async fn upload_asset(
        &self,
        request: Request<Streaming<BatonServiceUploadAssetRequest>>,
    ) -> Result<Response<BatonServiceUploadAssetResponse>, Status> {
        let (metadata, extensions, mut pieces) = request.into_parts();
        let Some(Msg::Metadata(first)) = pieces.message().await?.and_then(|first| first.msg) else {
            self.0.fault("an upload does not begin with its metadata");
            return Err(Status::invalid_argument(SCRIPTED));
        };
        let head = Request::from_parts(metadata, extensions, ());
        self.begin(Method::Upload, &head, &first.task_id, &first.host_id)?;
        let breaks_off = self.0.lock().plan.upload_ends.pop_front();
        let mut upload = Upload { task_id: first.task_id, bytes: Vec::new(), pieces: Vec::new() };
        let mut checksum = None;
        while let Some(piece) = pieces.message().await? {
            let so_far = upload.pieces.len();
            self.0
                .until(|state| state.plan.holds_uploads_at.is_none_or(|at| so_far < at).then_some(()))
                .await;
            if breaks_off.is_some_and(|at| upload.pieces.len() >= at) {
                return Err(Status::new(Code::Internal, SCRIPTED));
            }
            let enough = &mut self.0.lock().plan.upload_is_enough_at;
            if enough.take_if(|at| upload.pieces.len() >= *at).is_some() {
                return Ok(Response::new(BatonServiceUploadAssetResponse::default()));
            }
            match piece.msg {
                Some(Msg::Data(piece)) if checksum.is_none() => {
                    upload.pieces.push(piece.data.len());
                    upload.bytes.extend(piece.data);
                }
                Some(Msg::Eof(end)) if checksum.is_none() => checksum = Some(end.sha256_checksum),
                _ => self.0.fault("the parts of an upload are out of order"),
            }
        }
        // An upload that its client cancels ends like a complete one.
        if checksum.is_none() {
            return Err(Status::cancelled(SCRIPTED));
        }
        if checksum != Some(Sha256::digest(&upload.bytes).to_vec()) {
            self.0.fault("the checksum of an upload is wrong, or missing");
        }
        if upload.pieces.iter().rev().skip(1).any(|size| *size != PIECE) {
            self.0.fault(format!("the pieces of an upload are {:?}", upload.pieces));
        }
        self.0.lock().uploads.push(upload);
        self.0.changed.notify_waiters();
        Ok(Response::new(BatonServiceUploadAssetResponse::default()))
    }

    async fn start_debugging(
        &self,
        _: Request<StartDebuggingRequest>,
    ) -> Result<Response<StartDebuggingResponse>, Status> {
        self.0.fault("StartDebugging was called");
        Err(Status::unimplemented(SCRIPTED))
    }
}
