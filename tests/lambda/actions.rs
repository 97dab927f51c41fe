//! Actions, which must end before the answer: the process is frozen afterwards.

use std::time::Duration;

use baton_retool::proto::connector::{
    BatonActionStatus, GetActionStatusRequest, GetActionStatusResponse, InvokeActionRequest,
    InvokeActionResponse,
};
use baton_retool::proto::{string, structure};
use prost_types::Value;
use prost_types::value::Kind;
use serde_json::json;

use crate::reload::types;
use crate::support::hosted::Config;
use crate::support::hosted::caller::Form;
use crate::support::hosted::stage::{Parts, Stage};
use crate::support::postgres::Database;
use crate::support::retool_api::{Reply, RetoolApi, TOKEN};

#[tokio::test(flavor = "multi_thread")]
async fn an_action_ends_before_its_answer_and_its_run_outlasts_a_reload() {
    let database = Database::small().await;
    let api = RetoolApi::start(&database);
    let settings = |skip_pages: bool| {
        json!({
            "connection-string": database.url(), "skip-pages": skip_pages,
            "retool-api-base-url": api.base_url(), "retool-api-token": TOKEN,
        })
    };
    let parts = Parts::new(&database.url()).await;
    parts.hosted.serve("cv-1", Config::of("cv-1", settings(false)));
    let stage: Stage = parts.run();
    // Longer than an answer waits on a port if the request does not say.
    api.next("PATCH", Reply::Late(Duration::from_millis(1500), Box::new(Reply::Usual)));
    let user = structure([("resource_type_id", string("user")), ("resource_id", string("u5"))]);
    let user = Value { kind: Some(Kind::StructValue(user)) };
    let request = InvokeActionRequest {
        name: "disable_user".to_owned(),
        args: Some(structure([("user_id", user)])),
        ..Default::default()
    };
    let started: InvokeActionResponse =
        stage.call("ActionService/InvokeAction", &request, Form::Frame).await.message();
    assert_eq!(started.status(), BatonActionStatus::Complete, "{started:?}");

    stage.parts.hosted.add("cv-2", Config::of("cv-2", settings(true)));
    assert_eq!(types(&stage, "cv-2").await, 4);
    let request = GetActionStatusRequest { id: started.id, ..Default::default() };
    let found: GetActionStatusResponse =
        stage.call("ActionService/GetActionStatus", &request, Form::Frame).await.message();
    assert_eq!(found.status(), BatonActionStatus::Complete, "{found:?}");
}
