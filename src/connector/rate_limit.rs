//! What Retool's REST API says of its limits, in baton's words.

use crate::proto::any;
use crate::proto::ratelimit::RateLimitDescription;
use crate::proto::ratelimit::rate_limit_description::Status;
use crate::proto::timestamp;
use crate::retool::api::rate_limit::{RateLimit, Standing};
use prost_types::Any;

/// What agents pace themselves by.
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

/// The same, as an answer carries it.
pub(crate) fn annotation(limit: &RateLimit) -> Any {
    any(&description(limit))
}
