//! `RateLimiterService`: agents ask it before every call and go ahead on an empty status (protocol,
//! "Services"). Nothing is limited here.

use tonic::{Request, Response, Status};

use super::Service;
use crate::proto::ratelimit::rate_limit_description::Status as LimitStatus;
use crate::proto::ratelimit::rate_limiter_service_server::RateLimiterService;
use crate::proto::ratelimit::{DoRequest, DoResponse, RateLimitDescription, ReportRequest, ReportResponse};

#[tonic::async_trait]
impl RateLimiterService for Service {
    async fn r#do(&self, request: Request<DoRequest>) -> Result<Response<DoResponse>, Status> {
        Ok(Response::new(DoResponse {
            request_token: request.into_inner().request_token,
            description: Some(RateLimitDescription {
                status: LimitStatus::Empty.into(),
                ..Default::default()
            }),
        }))
    }

    async fn report(&self, _: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        Ok(Response::new(ReportResponse::default()))
    }
}
