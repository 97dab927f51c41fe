//! `RateLimiterService`: agents call it before every other call, proceed on an empty status, and report the
//! result of the call.

use tonic::{Request, Response, Status};

use crate::proto::ratelimit::rate_limit_description::Status as LimitStatus;
use crate::proto::ratelimit::rate_limiter_service_server::RateLimiterService;
use crate::proto::ratelimit::{DoRequest, DoResponse, RateLimitDescription, ReportRequest, ReportResponse};
use crate::server::services::Services;

#[tonic::async_trait]
impl RateLimiterService for Services {
    async fn r#do(&self, request: Request<DoRequest>) -> Result<Response<DoResponse>, Status> {
        self.limiter.turn().await;
        Ok(Response::new(DoResponse {
            request_token: request.into_inner().request_token,
            description: Some(RateLimitDescription {
                status: LimitStatus::Empty.into(),
                ..Default::default()
            }),
        }))
    }

    async fn report(&self, request: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        if let Some(description) = &request.get_ref().description {
            self.limiter.reported(description).await;
        }
        Ok(Response::new(ReportResponse::default()))
    }
}
