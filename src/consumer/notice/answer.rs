//! From a request to a notice, and what is answered.

use crate::naming::notice::{InvalidNotice, Notice, PATH};
use bytes::Buf as _;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;
use tokio::time;

/// Names and numbers at their longest make 1.2 KB.
pub(super) const BODY_BYTES_MAX: usize = 4 * 1024;
/// A notice is one packet from a neighbour, who has its own end to attend to.
pub(super) const BODY_WITHIN: Duration = Duration::from_secs(2);

/// Why a request does nothing.
#[derive(Debug)]
pub(super) enum Problem {
    Elsewhere,
    Method,
    Crowd,
    Late,
    Broken,
    Long,
    Invalid(InvalidNotice),
    /// Whether the instance is unknown or the secret wrong is nobody's business.
    Unproven,
}

/// Reads the notice in `request`.
pub(super) async fn read<B: Body>(request: Request<B>) -> Result<Notice, Problem> {
    if request.method() != Method::POST {
        return Err(Problem::Method);
    }
    let body = time::timeout(BODY_WITHIN, collect(request.into_body())).await;
    let body = body.map_err(|_| Problem::Late)??;
    Notice::from_json(&body).map_err(Problem::Invalid)
}

async fn collect<B: Body>(body: B) -> Result<Vec<u8>, Problem> {
    let (mut body, mut read) = (pin!(body), Vec::new());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|_| Problem::Broken)?;
        let Ok(mut data) = frame.into_data() else { continue }; // Trailers say nothing here.
        if data.remaining() > BODY_BYTES_MAX - read.len() {
            return Err(Problem::Long);
        }
        while data.has_remaining() {
            let length = data.chunk().len();
            read.extend_from_slice(data.chunk());
            data.advance(length);
        }
    }
    Ok(read)
}

/// The answer to a notice that counts.
pub(super) fn done() -> Response<String> {
    let mut answer = Response::new(String::new());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}

impl From<Problem> for Response<String> {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Elsewhere => refusal(StatusCode::NOT_FOUND, &format!("here is POST {PATH}")),
            Problem::Method => {
                let refusal = refusal(StatusCode::METHOD_NOT_ALLOWED, "a notice is sent with POST");
                with(refusal, ALLOW, "POST")
            }
            Problem::Crowd => {
                let refusal = refusal(StatusCode::SERVICE_UNAVAILABLE, "too many notices at once");
                with(refusal, RETRY_AFTER, "1")
            }
            Problem::Late => refusal(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
            Problem::Broken => refusal(StatusCode::BAD_REQUEST, "the body broke off"),
            Problem::Long => refusal(StatusCode::PAYLOAD_TOO_LARGE, "a notice is shorter than that"),
            Problem::Invalid(invalid) => refusal(StatusCode::BAD_REQUEST, &invalid.to_string()),
            Problem::Unproven => refusal(StatusCode::FORBIDDEN, "no instance that is listed has sent this"),
        }
    }
}

fn refusal(status: StatusCode, error: &str) -> Response<String> {
    let mut answer = Response::new(serde_json::json!({ "error": error }).to_string());
    *answer.status_mut() = status;
    with(answer, CONTENT_TYPE, "application/json")
}

fn with(mut answer: Response<String>, name: HeaderName, value: &'static str) -> Response<String> {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
    answer
}
