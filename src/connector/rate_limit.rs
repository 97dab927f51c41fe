//! Converts rate limits of Retool's REST API to baton's messages.

use crate::proto::any;
use crate::proto::ratelimit::RateLimitDescription;
use crate::proto::ratelimit::rate_limit_description::Status;
use crate::proto::timestamp;
use crate::retool::api::rate_limit::{RateLimit, Standing};
use prost_types::Any;

/// The rate limits by which agents pace themselves.
pub(crate) fn description(limit: &RateLimit) -> RateLimitDescription {
    let status = match limit.standing {
        Standing::Unknown => Status::Unspecified,
        Standing::Open => Status::Ok,
        Standing::Exceeded => Status::Overlimit,
    };
    RateLimitDescription {
        status: status.into(),
        limit: limit.limit,
        remaining: limit.remaining,
        reset_at: limit.reset_at.map(timestamp),
        ..Default::default()
    }
}

/// The rate limits as an annotation.
pub(crate) fn annotation(limit: &RateLimit) -> Any {
    any(&description(limit))
}
